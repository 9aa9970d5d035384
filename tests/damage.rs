//! A thousand places of two keepers' stores rot at once, other ones on each, and one reading of everything on each finds and heals them.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    reason = "a story looks at the machine itself"
)]

mod stage;

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use reserve::format::segment::{FrameHeader, FrameType};
use reserve::terms::ChunkId;
use reserve::terms::limits::{
    BLOCK_BYTES, FRAME_ALIGN_BYTES, FRAME_HEADER_BYTES, SMALL_FILE_BYTES_MAX,
};
use serde_json::Value;
use stage::trio::Trio;
use stage::{BoxProcess, noise};

/// With a chunk each: more than a segment holds.
const FILES: usize = 1_050;
const DAMAGES_MIN: usize = 1_000;

/// What stands in a segment.
struct Frame {
    header: FrameHeader,
    offset: u64,
    /// The third byte of a record says what it is: data, page, node or manifest.
    kind: u8,
}

fn segments(keeper: &BoxProcess) -> Vec<PathBuf> {
    let files = fs::read_dir(keeper.dir.join("store")).unwrap();
    let mut paths: Vec<_> = files.map(|file| file.unwrap().path()).collect();
    paths.retain(|path| path.to_str().unwrap().contains("/seg-"));
    paths.sort();
    paths
}

fn frames(segment: &Path) -> Vec<Frame> {
    let file = File::open(segment).unwrap();
    let len = file.metadata().unwrap().len();
    let mut found = Vec::new();
    let mut offset = BLOCK_BYTES as u64;
    let mut bytes = [0; FRAME_HEADER_BYTES + 3];
    while offset + bytes.len() as u64 <= len {
        file.read_exact_at(&mut bytes, offset).unwrap();
        let Ok(header) = FrameHeader::decode(&bytes[..FRAME_HEADER_BYTES]) else {
            offset += FRAME_ALIGN_BYTES;
            continue;
        };
        let kind = bytes[FRAME_HEADER_BYTES + 2];
        let stride = header.stride_bytes();
        found.push(Frame {
            header,
            offset,
            kind,
        });
        offset += stride;
    }
    found
}

/// One bit of a file.
fn flip(path: &Path, at: u64) {
    let file = File::options().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 0x10], at).unwrap();
}

fn flip_middle(path: &Path) {
    flip(path, fs::metadata(path).unwrap().len() / 2);
}

/// What was hit.
#[derive(Default)]
struct Planted {
    bodies: usize,
    headers: usize,
    /// By what the third byte of their records says.
    kinds: BTreeSet<u8>,
}

impl Planted {
    /// Flips a bit of each record that is meant, and one in the header of each fourth.
    fn rot(&mut self, segment: &Path, is_meant: impl Fn(&ChunkId) -> bool) {
        for frame in frames(segment) {
            let FrameHeader {
                id, payload_bytes, ..
            } = frame.header;
            if frame.header.frame != FrameType::Chunk || !is_meant(&id) {
                continue;
            }
            let [a, b, ..] = id.0;
            let within = u64::from(u16::from_le_bytes([a, b])) % u64::from(payload_bytes);
            flip(segment, frame.offset + FRAME_HEADER_BYTES as u64 + within);
            self.bodies += 1;
            if self.bodies.is_multiple_of(4) {
                flip(segment, frame.offset + u64::from(a) % 96);
                self.headers += 1;
            }
            self.kinds.insert(frame.kind);
        }
    }
}

fn store_of(keeper: &BoxProcess) -> Value {
    keeper.json(&["status", "--json"])["store"].clone()
}

fn sweep(keeper: &BoxProcess) -> Value {
    let output = keeper.run(&["sweep", "--now", "--json"]);
    serde_json::from_slice(&output.stdout).unwrap()
}

fn is_even(id: &ChunkId) -> bool {
    id.0[31].is_multiple_of(2)
}

/// The last file of the journal of events.
fn newest_events(keeper: &BoxProcess) -> PathBuf {
    let files = fs::read_dir(keeper.dir.join("events")).unwrap();
    let mut paths: Vec<_> = files.map(|file| file.unwrap().path()).collect();
    paths.retain(|path| path.to_str().unwrap().contains("normal-"));
    paths.sort();
    paths.pop().unwrap()
}

#[test]
fn a_thousand_damages_on_two_keepers_are_found_and_healed_by_one_sweep_on_each() {
    let mut reserve = Trio::protected();
    for number in 0..FILES {
        let contents = noise(&format!("damage {number}"), SMALL_FILE_BYTES_MAX + 1);
        fs::write(reserve.files.join(format!("{number:05}.jpg")), contents).unwrap();
    }
    reserve.home.json(&["snapshot", "--wait", "--json"]);
    // Nobody helps them.
    reserve.home.stop();
    let (office, friend) = (&reserve.office, &reserve.friend);
    let chunks = store_of(office)["chunks"].clone();
    assert_eq!(store_of(friend)["chunks"], chunks);

    let (of_office, of_friend) = (segments(office), segments(friend));
    assert!(of_office.len() > 1 && of_friend.len() > 1, "{of_office:?}");
    let lost_segment = of_friend.last().unwrap();
    let lost: BTreeSet<_> = frames(lost_segment)
        .iter()
        .map(|frame| frame.header.id.0)
        .collect();
    let mut planted = Planted::default();
    // On each what the other has whole.
    for segment in &of_office {
        planted.rot(segment, |id| is_even(id) && !lost.contains(&id.0));
    }
    for segment in &of_friend[..of_friend.len() - 1] {
        planted.rot(segment, |id| !is_even(id) && !lost.contains(&id.0));
    }
    assert!(planted.bodies + planted.headers >= DAMAGES_MIN);
    assert!(
        planted.kinds.is_superset(&BTreeSet::from([1, 2, 4])),
        "data, pages and manifests: {:?}",
        planted.kinds
    );
    fs::remove_file(lost_segment).unwrap();
    let heads = frames(&of_office[0]);
    let head = heads
        .iter()
        .find(|frame| frame.header.frame == FrameType::Head)
        .unwrap();
    flip(&of_office[0], head.offset + FRAME_HEADER_BYTES as u64 + 9);
    // The list of contents at the end of a full segment, and the beginning of another.
    let len = fs::metadata(&of_office[0]).unwrap().len();
    flip(&of_office[0], len - 20);
    flip(&of_friend[0], 12);
    for file in ["roster", "identity"] {
        flip_middle(&office.dir.join(file));
    }
    flip_middle(&friend.dir.join("secrets"));
    flip_middle(&newest_events(friend));

    let (swept_office, swept_friend) = (sweep(office), sweep(friend));
    let found = |swept: &Value| swept["damaged_count"].as_u64().unwrap();
    let found = found(&swept_office) + found(&swept_friend);
    assert!(
        found >= planted.bodies as u64,
        "{found} of {}",
        planted.bodies
    );
    assert_eq!(
        swept_office["state_repaired"],
        serde_json::json!(["identity", "roster"])
    );
    assert_eq!(
        swept_friend["state_repaired"],
        serde_json::json!(["secrets"])
    );
    assert_eq!(swept_friend["events_damaged"], 1);
    for keeper in [office, friend] {
        keeper.until(&["status", "--json"], |status| {
            let store = &status["store"];
            store["damaged"] == 0 && store["chunks"] == chunks
        });
        keeper.until_told("state_repaired", "moment", |_| true);
    }
    assert_eq!(sweep(office)["damaged_count"], 0);
    // Its file is gone and another's first block says nothing: both are told until they are no more, and cost nothing.
    let left = sweep(friend);
    assert_eq!(left["damaged_count"], 2, "{left:#}");
    assert_eq!(left["still_damaged"], 0);
    // Both come up again with all they had, and either is enough.
    for keeper in [&mut reserve.office, &mut reserve.friend] {
        keeper.stop();
        keeper.start();
        assert_eq!(store_of(keeper)["chunks"], chunks);
    }
    let to = reserve.stage.path("from-friend");
    reserve.office.stop();
    let words = ["retrieve", "--author", "home", "--to", to.to_str().unwrap()];
    reserve.friend.succeeds(&words);
    stage::assert_same_trees(&reserve.files, &to);
    reserve.office.start();
    reserve.comes_back_from_office_alone();
}
