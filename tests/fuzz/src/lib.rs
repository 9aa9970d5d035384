//! What every parser of bytes from disk, wire or paper must bear: any bytes at all, without a panic, and what it accepts
//! reads back the same from its own encoding.
//!
//! The same functions run twice: under cargo-fuzz (`cargo xtask fuzz`), and over the committed corpus as the ordinary
//! test `tests/corpus.rs`, which includes this file. A new target is a function here and its line in [`TARGETS`], three
//! lines in `fuzz_targets/`, a `[[bin]]` in Cargo.toml and a few seeds in `corpus/`; that test says which is missing.

use std::fmt::Debug;

use ed25519_dalek::SigningKey;
use reserve::author::release::Forgotten;
use reserve::console::control::{
    CHUNK_HEADER_BYTES, Call, FETCH_BYTES, Fetch, Reply, chunk_header, read_chunk_header,
};
use reserve::format::compacted::Compacted;
use reserve::format::event::{self, Event};
use reserve::format::head::{Head, Manifest, SignedHead};
use reserve::format::healed::Healed;
use reserve::format::index::{Node, Page, path_is_legal, path_order};
use reserve::format::keys::{DataKeys, ReserveSecret};
use reserve::format::lived::Lived;
use reserve::format::mended::Mended;
use reserve::format::message::{Envelope, JoinGrant};
use reserve::format::opening::{FIRST_MESSAGE_BYTES_MAX, Opening};
use reserve::format::record::{self, OpenError, RecordHeader};
use reserve::format::release::{ClaimedPage, Freed, NotedRelease, Release, SignedRelease};
use reserve::format::roster::{Facts, SignedFact};
use reserve::format::segment::{
    FOOTER_ENTRY_BYTES, FooterEntry, FrameHeader, Location, SegmentHeader, Trailer,
};
use reserve::format::ticket::Ticket;
use reserve::format::unfinished::Unfinished;
use reserve::format::unmet::Unmet;
use reserve::format::verified::Verified;
use reserve::format::{Malformed, decode, decode_file, encode, encode_file, sealed_note};
use reserve::keeper::read_head_list;
use reserve::roster::{Config, FirstBoot};
use reserve::terms::limits::{CUT_BYTES_MAX, RECORD_HEADER_BYTES, SEGMENT_BYTES};
use reserve::terms::{Codec, KeyEpoch, Kind, PeerKey, ReserveId, Suite};
use x25519_dalek::{PublicKey, StaticSecret};

/// A parser's trial: it panics if the parser breaks a promise.
pub type Target = fn(&[u8]);

/// Every target by name.
pub const TARGETS: &[(&str, Target)] = &[
    ("record", record),
    ("segment", segment),
    ("index", index),
    ("snapshot", snapshot),
    ("roster", roster),
    ("ticket", ticket),
    ("opening", opening),
    ("message", message),
    ("sealed_note", sealed_note),
    ("state_file", state_file),
    ("console", console),
    ("head_list", head_list),
    ("event", event),
    ("unfinished", unfinished),
    ("release", release),
];

/// What was accepted must read back the same from its own encoding.
fn reads_back<T: PartialEq + Debug>(
    value: &T,
    bytes: &[u8],
    parse: impl Fn(&[u8]) -> Result<T, Malformed>,
) {
    assert_eq!(
        parse(bytes).as_ref(),
        Ok(value),
        "what was accepted does not read back"
    );
}

/// The note of an unfinished retrieval.
pub fn unfinished(bytes: &[u8]) {
    if let Ok(note) = Unfinished::decode(bytes) {
        reads_back(&note, &note.encode(), Unfinished::decode);
    }
}

/// Releases, as they come and signed here, so that what lies behind the signature is met too; what keepers say and note of them.
pub fn release(bytes: &[u8]) {
    if let Ok(signed) = SignedRelease::decode(bytes) {
        assert!(signed.release.prefixes().is_sorted());
        reads_back(&signed, &signed.encode(), SignedRelease::decode);
    }
    if let Ok(signed) = decode::<SignedRelease>("release", bytes) {
        let key = SigningKey::from_bytes(&[3; 32]);
        let release = Release {
            author: PeerKey(key.verifying_key().to_bytes()),
            ..signed.release
        };
        let signed = release.sign(&key);
        if let Ok(again) = SignedRelease::decode(&signed.encode()) {
            assert_eq!(again, signed);
            assert!(
                again
                    .release
                    .numbers
                    .iter()
                    .all(|(first, last)| first <= last)
            );
        }
    }
    if let Ok(page) = ClaimedPage::decode(bytes) {
        assert!(page.claims().is_sorted_by(|one, next| one.0 < next.0));
        reads_back(&page, &page.encode(), ClaimedPage::decode);
    }
    if let Ok((noted, release)) = NotedRelease::decode(bytes) {
        assert!(release.prefixes().count() * 12 == release.names.len());
        assert_eq!(NotedRelease::decode(&noted.encode()), Ok((noted, release)));
    }
    if let Ok(freed) = Freed::decode(bytes) {
        reads_back(&freed, &freed.encode(), Freed::decode);
    }
    if let Ok(lived) = Lived::decode(bytes) {
        reads_back(&lived, &lived.encode(), Lived::decode);
    }
}

/// Sealed records: as they come, and with a body that a member sealed but that unpacks to anything.
pub fn record(bytes: &[u8]) {
    let keys = DataKeys::derive(
        KeyEpoch(1),
        &ReserveSecret(std::array::from_fn(|at| at as u8)),
    );
    if let Ok(header) = RecordHeader::of(bytes) {
        assert_eq!(header.encode(), bytes[..RECORD_HEADER_BYTES]);
    }
    if let Ok((header, plain)) = record::open(&keys, bytes.to_vec()) {
        assert_eq!(header.plain_bytes as usize, plain.len());
    }
    let Some(([choice, a, b, c], body)) = bytes.split_first_chunk::<4>() else {
        return;
    };
    let plain_bytes = u32::from_le_bytes([*a, *b, *c, 0]) as usize % (CUT_BYTES_MAX + 1);
    let suite = if choice & 1 == 0 {
        Suite::ChaCha20Poly1305
    } else {
        Suite::Aes256Gcm
    };
    let codec = if choice & 2 == 0 {
        Codec::Plain
    } else {
        Codec::Zstd
    };
    let sealed = record::seal(&keys, suite, Kind::Data, codec, plain_bytes, body);
    match record::open(&keys, sealed) {
        Ok((_, plain)) => assert!(plain.len() == plain_bytes && (choice & 2 != 0 || plain == body)),
        Err(error) => assert_eq!(error, OpenError::Unpack, "what was just sealed opens"),
    }
}

/// Blocks of a keeper's segments.
pub fn segment(bytes: &[u8]) {
    if let Ok(header) = SegmentHeader::decode(bytes) {
        reads_back(&header, &header.encode(), SegmentHeader::decode);
    }
    if let Ok(frame) = FrameHeader::decode(bytes) {
        assert!(frame.stride_bytes() <= SEGMENT_BYTES);
        reads_back(&frame, &frame.encode(), FrameHeader::decode);
    }
    if let Some(entry) = bytes.first_chunk::<FOOTER_ENTRY_BYTES>()
        && let Ok(decoded) = FooterEntry::decode(entry)
    {
        assert_eq!(FooterEntry::decode(&decoded.encode()), Ok(decoded));
    }
    if let Ok(trailer) = Trailer::decode(bytes) {
        let _ = trailer.footer_bytes();
        reads_back(&trailer, &trailer.encode(), Trailer::decode);
    }
    if let Some(slot) = bytes.first_chunk::<5>() {
        let location = Location::from_bytes(*slot);
        assert_eq!(
            Location::new(location.segment(), location.offset()),
            Some(location)
        );
    }
}

/// Index pages and nodes of the page tree.
pub fn index(bytes: &[u8]) {
    if let Ok(page) = Page::decode(bytes) {
        assert!(page.entries.iter().all(|entry| path_is_legal(&entry.path)));
        assert!(
            page.entries
                .windows(2)
                .all(|two| path_order(&two[0].path, &two[1].path).is_le())
        );
        assert_eq!(Page::decode(&page.encode()).as_ref(), Ok(&page));
    }
    if let Ok(node) = Node::decode(bytes) {
        assert!(node.level > 0);
        reads_back(&node, &node.encode(), Node::decode);
    }
}

/// Heads and manifests; a head that nobody signed is signed here, so that what lies behind the signature is met too.
pub fn snapshot(bytes: &[u8]) {
    if let Ok(signed) = SignedHead::decode(bytes) {
        reads_back(&signed, &signed.encode(), SignedHead::decode);
    }
    if let Ok(head) = decode::<Head>("head", bytes) {
        let key = SigningKey::from_bytes(&[3; 32]);
        let head = Head {
            author: PeerKey(key.verifying_key().to_bytes()),
            ..head
        };
        let signed = SignedHead::sign(head, &key);
        reads_back(&signed, &signed.encode(), SignedHead::decode);
    }
    if let Ok(manifest) = Manifest::decode(bytes) {
        reads_back(&manifest, &manifest.encode(), Manifest::decode);
    }
}

/// Rosters; facts that nobody signed are signed here, so that what lies behind the signatures is met too.
pub fn roster(bytes: &[u8]) {
    if let Ok(facts) = Facts::decode(bytes) {
        reads_back(&facts, &facts.encode(), Facts::decode);
    }
    if let Ok(mut facts) = decode::<Facts>("roster", bytes) {
        facts.facts.truncate(16);
        let key = SigningKey::from_bytes(&[3; 32]);
        let reserve: ReserveId = facts.reserve;
        for signed in &mut facts.facts {
            let mut fact = signed.fact.clone();
            fact.signer = PeerKey(key.verifying_key().to_bytes());
            *signed = SignedFact::sign(reserve, fact, &key);
        }
        // Order and fit of the facts may still be wrong; what is accepted must be what was signed.
        if let Ok(again) = Facts::decode(&facts.encode()) {
            assert_eq!(again, facts);
        }
    }
}

/// Tickets as a person may type them; bytes that are no text are made one.
pub fn ticket(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    if let Ok(ticket) = Ticket::from_text(&text) {
        assert!(Ticket::from_text(&ticket.to_text()).is_ok_and(|again| again == ticket));
    }
    if let Ok(ticket) = decode::<Ticket>("ticket", bytes) {
        let _ = Ticket::from_text(&ticket.to_text());
    }
}

/// The first bytes of a connection.
pub fn opening(bytes: &[u8]) {
    let Some((clear, message)) = bytes.split_first_chunk::<13>() else {
        return;
    };
    if let Ok(opening) = Opening::decode(clear) {
        assert!(usize::from(opening.message_bytes) <= FIRST_MESSAGE_BYTES_MAX);
        assert_eq!(opening.clear(), *clear);
        assert!(opening.prologue().ends_with(clear));
        let _ = opening.mac(&[1; 32], &[2; 32], message);
    }
}

/// Headers of session messages, and the body of a welcome.
pub fn message(bytes: &[u8]) {
    if let Ok(envelope) = Envelope::decode(bytes) {
        reads_back(&envelope, &envelope.encode(), Envelope::decode);
    }
    if let Ok(grant) = decode::<JoinGrant>("join grant", bytes) {
        assert!(
            decode::<JoinGrant>("join grant", &encode(&grant)).is_ok_and(|again| again == grant)
        );
    }
}

/// Sealed notes: as they come, and what was sealed opens.
pub fn sealed_note(bytes: &[u8]) {
    let key = StaticSecret::from(std::array::from_fn(|at| 0x40 + at as u8));
    let _ = sealed_note::open(bytes, &key);
    let Some((one_time, secret)) = bytes.split_first_chunk::<32>() else {
        return;
    };
    let note = sealed_note::seal(*one_time, &PublicKey::from(&key).to_bytes(), secret);
    let opened = sealed_note::open(&note, &key).expect("it was sealed to this key");
    assert_eq!(opened.as_slice(), secret);
}

/// Small state files of any contents, and the bare envelope around other records.
pub fn state_file(bytes: &[u8]) {
    type State = (u32, String, Option<u64>, Vec<(u16, bool)>);
    if let Ok(state) = decode_file::<State>("state file", bytes) {
        reads_back(&state, &encode_file(&state), |again| {
            decode_file("state file", again)
        });
    }
    if let Ok(verified) = Verified::decode(bytes) {
        reads_back(&verified, &verified.encode(), Verified::decode);
    }
    if let Ok(mended) = Mended::decode(bytes) {
        reads_back(&mended, &mended.encode(), Mended::decode);
    }
    if let Ok(healed) = Healed::decode(bytes) {
        reads_back(&healed, &healed.encode(), Healed::decode);
    }
    if let Ok(unmet) = Unmet::decode(bytes) {
        reads_back(&unmet, &unmet.encode(), Unmet::decode);
    }
    if let Ok(compacted) = Compacted::decode(bytes) {
        reads_back(&compacted, &compacted.encode(), Compacted::decode);
    }
    if let Ok(forgotten) = Forgotten::decode(bytes) {
        reads_back(&forgotten, &forgotten.encode(), Forgotten::decode);
    }
    if let Ok(state) = decode::<State>("record", bytes) {
        reads_back(&state, &encode(&state), |again| decode("record", again));
    }
}

/// What people and commands say: `box.toml`, calls and answers on the control socket, chunk requests behind them.
pub fn console(bytes: &[u8]) {
    if let Some(Some(fetch)) = bytes.first_chunk::<FETCH_BYTES>().map(Fetch::decode) {
        assert_eq!(fetch.encode(), bytes[..FETCH_BYTES]);
    }
    if let Some(header) = bytes.first_chunk::<CHUNK_HEADER_BYTES>() {
        let (tag, is_chunk, length) = read_chunk_header(header);
        let again = chunk_header(tag, is_chunk, length);
        assert_eq!(read_chunk_header(&again), (tag, is_chunk, length));
    }
    let Ok(text) = str::from_utf8(bytes) else {
        return;
    };
    if let Ok(config) = Config::from_toml(text) {
        let again = Config::from_toml(&config.to_toml());
        assert!(again.is_ok_and(|again| again == config), "{text}");
    }
    // What a first boot's file says becomes a `box.toml` that reads back.
    if let Ok(first) = FirstBoot::from_toml(text, "host") {
        let again = Config::from_toml(&first.config.to_toml());
        assert!(again.is_ok_and(|again| again == first.config), "{text}");
    }
    if let Ok(call) = serde_json::from_str::<Call>(text) {
        let line = serde_json::to_string(&call).expect("plain data");
        assert!(serde_json::from_str::<Call>(&line).is_ok_and(|again| again.want == call.want));
    }
    if let Ok(reply) = serde_json::from_str::<Reply>(text) {
        let line = serde_json::to_string(&reply).expect("plain data");
        assert!(serde_json::from_str::<Reply>(&line).is_ok_and(|again| again == reply));
    }
}

/// A keeper's answer to `Heads`.
pub fn head_list(bytes: &[u8]) {
    if let Ok(heads) = read_head_list(bytes) {
        assert!(heads.len() <= 100);
        for head in heads {
            assert!(SignedHead::decode(&head.encode()).is_ok());
        }
    }
}

/// Events, and the files of the journal.
pub fn event(bytes: &[u8]) {
    if let Ok(event) = Event::decode(bytes) {
        reads_back(&event, &event.encode(), Event::decode);
    }
    let read = event::read_file(bytes);
    let mut again = event::file_start();
    for event in &read.events {
        event::append(&mut again, event);
    }
    let again = event::read_file(&again);
    assert_eq!((again.events, again.damaged), (read.events, 0));
}
