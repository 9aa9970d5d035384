//! What a phase may cost: the formulas of `src/monitor/SCALE.md`, with what they leave room for.

use reserve::terms::limits::{COMPARE_PRINTS_MAX, LINK_BUFFER_BYTES, TABLE_SETS_MAX};

use super::figures::Phase;
use super::layout::CHUNK_BYTES;

/// Signs of life and what keepers ask each other about their room: bytes a second of each pair of Boxes.
const PAIR_BYTES_PER_SECOND: u64 = 14;
/// Beginning a session: handshake, hellos, news of heads.
const SESSION_BYTES: u64 = 8 << 10;
/// A question of a comparison and its answer, besides fingerprints or marks.
const QUESTION_BYTES: u64 = 1 << 10;
/// A store with so few chunks tells marks at once.
const LISTED_AT_ONCE: u64 = 2048;
/// Fingerprints of one question.
const PRINTS_MAX: u64 = COMPARE_PRINTS_MAX as u64;
/// What naming, asking for and bringing one chunk takes besides the chunk.
const MOVED_BYTES: u64 = 1 << 10;
/// Changes of the roster that one loss makes, told by everybody to everybody.
const ROSTERS: u64 = 3;
/// What a running service takes besides what grows with chunks and other Boxes.
const SERVICE_BYTES: u64 = 6 << 20;
/// What one more Box costs besides the buffers of the session with it.
const PEER_BYTES: u64 = 64 << 10;

/// A question of a comparison: marks of what two keepers have in common where there is little, else fingerprints of ranges.
fn question_bytes(phase: &Phase) -> u64 {
    let chunks = phase.chunks.most;
    // Of what a keeper has, two of the others have a copy each; half as much again, since no two have equally much.
    let common = chunks * 2 * 3 / (2 * phase.boxes.saturating_sub(2).max(1));
    let numbers = match chunks <= LISTED_AT_ONCE {
        true => common.min(chunks),
        false => chunks.div_ceil(16).next_power_of_two().min(PRINTS_MAX),
    };
    QUESTION_BYTES + 8 * numbers
}

/// Bytes on the wire of all Boxes together that a phase may take.
pub fn wire_max(phase: &Phase) -> u64 {
    let pairs = phase.boxes * phase.boxes.saturating_sub(1) / 2;
    let seconds = phase.took.as_secs() + 1;
    let moved = phase.compared.taken + phase.brought;
    let rosters = match phase.name {
        "meeting" | "loss" => ROSTERS * 2 * pairs * phase.roster_bytes,
        _ => 0,
    };
    pairs * (seconds * PAIR_BYTES_PER_SECOND + SESSION_BYTES)
        + phase.compared.questions * question_bytes(phase)
        + moved * (CHUNK_BYTES as u64 + MOVED_BYTES)
        + rosters
}

/// Different sets of authors and holders that the chunks of one Box may have: nobody, and one or two of the others, of whom so many
/// were lost in this run.
pub fn sets_max(phase: &Phase, lost: u64) -> u64 {
    let others = phase.boxes.saturating_sub(1) + lost;
    let pairs = others * others.saturating_sub(1) / 2;
    (1 + others + pairs).min(TABLE_SETS_MAX as u64)
}

/// Bytes that one Box may take while it runs more than while it is off.
pub fn memory_max(phase: &Phase) -> u64 {
    let peers = phase.boxes.saturating_sub(1);
    phase.table_bytes + SERVICE_BYTES + peers * (2 * LINK_BUFFER_BYTES as u64 + PEER_BYTES)
}

/// What was more than it may be.
pub fn exceeded(phases: &[Phase]) -> Vec<String> {
    let mut told = Vec::new();
    let off = phases.iter().find(|phase| phase.name == "off");
    for phase in phases.iter().filter(|phase| phase.name != "off") {
        let name = phase.name;
        let mut check = |what: &str, is: u64, most: u64| {
            if is > most {
                told.push(format!("{name}: {is} {what}, at most {most} are expected"));
            }
        };
        check("bytes on the wire", phase.wire_all, wire_max(phase));
        let lost = u64::from(name == "loss");
        check("sets", phase.sets.most, sets_max(phase, lost));
        if let Some(off) = off.filter(|_| name == "start") {
            let grown = phase.heap_bytes.saturating_sub(off.heap_bytes);
            let of_each = grown / phase.boxes.max(1);
            check("bytes of memory a Box", of_each, memory_max(phase));
        }
    }
    told
}
