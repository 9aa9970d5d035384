//! Every limit of the house: unit last in the name, reason beside it, relations checked at compile time.

/// The least a cut may leave, except at a file's end: smaller pieces would cost more table than they save.
pub const CUT_BYTES_MIN: usize = 256 << 10;
/// What a cut aims at.
pub const CUT_BYTES_AVERAGE: usize = 1 << 20;
/// The most a chunk's plaintext may be: sealing it is the longest step the one thread may take.
pub const CUT_BYTES_MAX: usize = 2 << 20;

/// A file up to this size shares a pack with its neighbours instead of having chunks of its own.
pub const SMALL_FILE_BYTES_MAX: usize = CUT_BYTES_MIN;
/// A pack is closed before it would exceed this: the larger, the better it is compressed.
pub const PACK_BYTES_MAX: usize = 2 << 20;

/// What stands before a sealed body.
pub const RECORD_HEADER_BYTES: usize = 48;
/// What the cipher adds behind it.
pub const RECORD_SEAL_BYTES: usize = 16;
/// The longest sealed record.
pub const RECORD_BYTES_MAX: usize = RECORD_HEADER_BYTES + CUT_BYTES_MAX + RECORD_SEAL_BYTES;

/// Index entries of a page when a content cut would come earlier: keeps pages from becoming crumbs.
pub const PAGE_ENTRIES_MIN: usize = 64;
/// One entry in this many ends a page.
pub const PAGE_ENTRIES_AVERAGE: u32 = 512;
/// A page ends here at the latest.
pub const PAGE_ENTRIES_MAX: usize = 2048;
/// A page's plaintext ends here at the latest, so that a reader needs one buffer of this size.
pub const PAGE_BYTES_MAX: usize = 512 << 10;
/// Chunk references of one entry on one page; a longer file continues on the next page.
pub const ENTRY_CHUNKS_MAX: usize = 1024;
/// Children of a node of the page tree when a content cut would come earlier.
pub const NODE_CHILDREN_MIN: usize = 16;
/// One child in this many ends a node.
pub const NODE_CHILDREN_AVERAGE: u32 = 128;
/// A node ends here at the latest.
pub const NODE_CHILDREN_MAX: usize = 512;
/// How high a page tree may be: 16 children at least, so this is more pages than there are atoms to store them.
pub const TREE_HEIGHT_MAX: u8 = 16;

/// A path inside a data set; Linux itself stops at 4,096 per call, deeper trees are walked by directory handles.
pub const PATH_BYTES_MAX: usize = 64 << 10;
/// Extended attributes of one thing, names and values together: Linux lets one value be 64 KiB long, and an entry must fit into
/// a page.
pub const XATTRS_BYTES_MAX: usize = 128 << 10;
/// Extended attributes of one thing: as many as Linux can list in 64 KiB of names that mean something.
pub const XATTRS_MAX: usize = 4096;
/// Data sets of one Box.
pub const DATA_SETS_MAX: usize = 32;
/// A name a person gives to a Box, a site or a data set, in bytes.
pub const NAME_BYTES_MAX: usize = 63;
/// Boxes in a reserve, former ones included.
pub const MEMBERS_MAX: usize = 64;
/// Addresses a Box may tell of itself.
pub const ADDRESSES_MAX: usize = 8;
/// Epochs of a reserve: one more for each Box that was ever lost. Every Box is sealed the secrets of all of them.
pub const EPOCHS_MAX: usize = 32;
/// Epochs a roster may be ahead of ours: nobody can use them all up by jumping.
pub const EPOCH_JUMP_MAX: u32 = 32;
/// An encoded roster.
pub const ROSTER_BYTES_MAX: usize = 256 << 10;

/// A segment's size: closing one costs a footer, compacting one costs rewriting at most this.
pub const SEGMENT_BYTES: u64 = 256 << 20;
/// Frames start at multiples of this in a segment, so a location fits in 40 bits for 32 TiB.
pub const FRAME_ALIGN_BYTES: u64 = 32;
/// What stands before each record in a segment.
pub const FRAME_HEADER_BYTES: usize = 96;
/// A commit's start and end are multiples of this: the largest logical block in common use.
pub const BLOCK_BYTES: usize = 4096;
/// A commit is made durable after this many bytes at the latest.
pub const COMMIT_BYTES_MAX: u64 = 8 << 20;
/// How long the first waiter of a commit waits for others on a solid-state drive, in milliseconds.
pub const COMMIT_WAIT_SSD_MS: u64 = 5;
/// The same on a spinning disk.
pub const COMMIT_WAIT_DISK_MS: u64 = 30;
/// Buffers of a keeper's store, registered with the ring.
pub const STORE_BUFFERS: usize = 4;
/// The size of each of them.
pub const STORE_BUFFER_BYTES: usize = 1 << 20;
/// Space the store holds back for manifests, pages, roster and claims when data is refused: taken from the file system in advance.
pub const STORE_HELD_BACK_BYTES: u64 = 64 << 20;
/// One place in this many of the chunk table is held back for pages, nodes and manifests when data is refused.
pub const TABLE_HELD_BACK_ONE_IN: usize = 64;
/// Frames of one commit: what waits for its end is kept in memory.
pub const COMMIT_FRAMES_MAX: usize = 4096;
/// Frames of one segment: its footer is kept in memory until it is closed.
pub const SEGMENT_FRAMES_MAX: usize = 1 << 16;
/// Segment files a store keeps open for reading.
pub const STORE_FILES_MAX: usize = 32;

/// A slot of the chunk table.
pub const TABLE_SLOT_BYTES: usize = 24;
/// Chunks a keeper has room for unless told otherwise: one TiB of average chunks.
pub const TABLE_CHUNKS_DEFAULT: usize = 1_000_000;
/// The fullest a table may get, in percent; beyond it the search grows long.
pub const TABLE_LOAD_PERCENT_MAX: usize = 90;
/// Different sets of authors (or holders) that the chunks of a table may have; five Boxes make at most 32, fifty with three copies of
/// everything 1,200.
pub const TABLE_SETS_MAX: usize = 4096;
/// Of these, kept for authors: without a place for its set a claim is refused, a holder is only not known.
pub const TABLE_SETS_FOR_CLAIMS: usize = TABLE_SETS_MAX / 4;
/// Everything a keeper holds is read again within this many days, unless the reserve says otherwise.
pub const SWEEP_PERIOD_DAYS: i64 = 30;
/// Facts about damage that one start or one check tells; the rest is counted.
pub const DAMAGE_FACTS_MAX: usize = 64;
/// Damaged places of which a keeper remembers that nothing is lacking any more: 32 KiB of memory. What is beyond is told at each start.
pub const HEALED_PLACES_MAX: usize = 4096;
/// From here on a limit is nearly met, in percent of what there is; people are warned.
pub const NEARLY_FULL_PERCENT: u64 = 85;
/// Below this the warning is over. Lower than where it begins, so that it does not come and go.
pub const NEARLY_FULL_OVER_PERCENT: u64 = 80;
/// Damaged chunks that are told of one by one; more are counted.
pub const DAMAGED_TOLD_MAX: usize = 16;
/// Pairs of an author and a keeper whose confirmations a Box remembers; what is forgotten is asked again.
pub const MENDED_MAX: usize = 1024;
/// Heads a keeper remembers, of all authors: two years of hourly snapshots of each of five. One author may have as many as are left for the others.
pub const HEADS_MAX: usize = 100_000;
/// Heads of one author that bear one number and are kept: two Boxes that run with one identity make two. The rest is refused and told.
pub const HEADS_OF_ONE_NUMBER_MAX: usize = 4;
/// Choices between snapshots of one author that a roster remembers; the oldest give way.
pub const CHOICES_MAX: usize = 8;
/// For so many numbers it is followed what descends from snapshots that were not chosen: six weeks of hourly ones. Their author goes on from
/// the chosen one as soon as it hears of the choice.
pub const CHOICE_FOLLOWED_NUMBERS: u64 = 1_000;

/// Days of its own running time that a keeper lets pass before a release is effective: time to notice a thief, or that a disk is encrypted.
pub const RELEASE_DELAY_DAYS_DEFAULT: u16 = 30;
/// The least there may be: nobody notices anything on a weekend.
pub const RELEASE_DELAY_DAYS_MIN: u16 = 7;
/// The most there may be.
pub const RELEASE_DELAY_DAYS_MAX: u16 = 365;
/// A group of releases takes more of them for so many hours of the keeper's running time: enough to tell a million names.
pub const RELEASE_OPEN_HOURS: u64 = 24;
/// Names in one release: 3 ms of looking them up in the table.
pub const RELEASE_NAMES_MAX: usize = 16_384;
/// Runs of numbers of snapshots in one release, and in all that wait of one author.
pub const RELEASE_RUNS_MAX: usize = 4096;
/// Claims on one page of what an author claims.
pub const CLAIMED_PAGE_MAX: usize = 16_384;

/// The longest Noise message, set by the Noise specification.
pub const NOISE_MESSAGE_BYTES_MAX: usize = 65_535;
/// The longest body of a session message: one sealed record, or an encoded roster or list.
pub const BODY_BYTES_MAX: usize = RECORD_BYTES_MAX;
/// The longest header of a session message.
pub const MESSAGE_BYTES_MAX: usize = 48 << 10;
/// Names in one question to a keeper.
pub const ASK_IDS_MAX: usize = 1024;
/// Fingerprints, or marks, in one question of a comparison: 32 KiB of them.
pub const COMPARE_PRINTS_MAX: usize = 4096;
/// Names in one answer of a comparison; each costs the answering keeper a read of its disk.
pub const COMPARE_NAMES_MAX: usize = 512;
/// Bodies that may be on their way in, of all peers together.
pub const RECEIVE_POOL_BYTES: usize = 7 << 20;
/// What one peer may send before it gets credit again.
pub const RECEIVE_CREDIT_BYTES: u32 = 5 << 20;
/// Sealed bytes an author holds that no keeper has acknowledged yet.
pub const SEND_WINDOW_BYTES: usize = 4 << 20;
/// Requests one peer may have open with us.
pub const REQUESTS_OPEN_MAX: usize = 256;
/// Headers of the requests one peer may have open with us, in KiB: they are not in the pool, so that a question never waits
/// for a body.
pub const REQUEST_HEADERS_OPEN_KIB_MAX: usize = 512;
/// Bytes waiting to be sent to one peer; whoever has more to say waits.
pub const SEND_QUEUE_BYTES_MAX: usize = 4 << 20;
/// What a session reads or writes in one call at most: four of the longest Noise messages.
pub const LINK_BUFFER_BYTES: usize = 4 * (NOISE_MESSAGE_BYTES_MAX + 2);
/// Bodies up to this size find room even when the pool is empty: each session keeps as much for itself.
pub const RECEIVE_GUARANTEED_BYTES: usize = 64 << 10;
/// Connections that have not proven who they are.
pub const HANDSHAKES_MAX: usize = 32;
/// Of these, from one address.
pub const HANDSHAKES_OF_AN_ADDRESS_MAX: usize = 8;
/// How long a stranger may take to prove who it is, in seconds.
pub const HANDSHAKE_SECONDS_MAX: u64 = 5;
/// A silent session is asked for a sign of life after this many seconds, by the side that called.
pub const KEEPALIVE_SECONDS: u64 = 6;
/// The side that was called asks after so many: a little later, so that usually one of the two asks and not both.
pub const KEEPALIVE_CALLED_SECONDS: u64 = 7;
/// A session without a sign of life for this many seconds is over.
pub const SESSION_SILENCE_SECONDS_MAX: u64 = 15;
/// A peer that lives but takes nothing for this many seconds is dropped: longer than a disk may pause while it reorders itself.
pub const SESSION_STUCK_SECONDS_MAX: u64 = 60;
/// A peer that lives but leaves a question without an answer, or a word that it gets on with it, for this many seconds is given up. What is
/// on its way before question and answer, twice 4 MiB, takes that long at 14 KiB a second; no disk that works is as slow.
pub const ANSWER_SECONDS_MAX: u64 = 600;
/// A keeper that works on a long question says so this often, in seconds, if it came further.
pub const WORKING_SECONDS: u64 = 30;
/// Names a keeper looks up before it has come further: 512 MiB to read at the very most, and at worst at 1 MiB a second.
pub const HAVE_STEP_IDS: usize = 256;
/// The first and the last wait before a peer is called again, in milliseconds.
pub const REDIAL_MS: (u64, u64) = (250, 10_000);
/// A member whose session ended, or that was not met since this Box started, is waited for so many seconds by somebody who has nobody
/// else to ask: two of the longest pauses between calls, with their chance, and what an address that does not answer takes.
pub const RETURN_SECONDS_MAX: u64 = 30;
/// An invitation is good for this many seconds of the inviter's monotonic time.
pub const TICKET_SECONDS: u64 = 600;
/// The service's port.
pub const PORT_DEFAULT: u16 = 7717;

/// The longest time between snapshots a Box takes by itself, in minutes: four weeks.
pub const SNAPSHOT_MINUTES_MAX: u32 = 4 * 7 * 24 * 60;

/// Signatures that were checked lately and are known again, 32 bytes each: the facts of a roster, and the newest heads of five authors.
pub const SIGNATURES_REMEMBERED: usize = 2048;

/// Facts of one event.
pub const EVENT_FACTS_MAX: usize = 6;
/// A text in an event; a longer one is cut.
pub const EVENT_TEXT_BYTES_MAX: usize = 200;
/// An event's bytes, without what stands before it in its file.
pub const EVENT_BYTES_MAX: usize = 1536;
/// Events that wait to be written down; whoever reports is never kept waiting, what does not fit is counted.
pub const EVENT_QUEUE_MAX: usize = 256;
/// Conditions that stand at once; more are counted as dropped.
pub const EVENTS_STANDING_MAX: usize = 256;
/// A file of the journal of events: replaced as a whole with each write, so it is small.
pub const EVENT_FILE_BYTES_MAX: usize = 16 << 10;
/// All files of the journal: several thousand events.
pub const JOURNAL_BYTES_MAX: usize = 1 << 20;

/// Copies a chunk should have, when there are as many other Boxes.
pub const FACTOR_DEFAULT: u8 = 3;
/// Copies below which a snapshot is not called protected (1 when there is only one other Box).
pub const FACTOR_MIN_DEFAULT: u8 = 2;
/// Hours between events that all is well.
pub const EVENT_PERIOD_HOURS_DEFAULT: u16 = 24;
/// The most there may be: a month of silence is none.
pub const EVENT_PERIOD_HOURS_MAX: u16 = 31 * 24;
/// Days before a limit is reached people must be told: time to buy a disk and carry it there.
pub const WARNING_WINDOW_DAYS_DEFAULT: u16 = 30;
/// The most there may be: nothing is foreseen for longer.
pub const WARNING_WINDOW_DAYS_MAX: u16 = 730;
/// Days within which everything is read again and compared.
pub const SWEEP_PERIOD_DAYS_DEFAULT: u16 = 30;
/// The most there may be.
pub const SWEEP_PERIOD_DAYS_MAX: u16 = 365;
/// Hours a keeper may stay away before it counts as lost until it confirms again, and the copies it should have are made elsewhere.
pub const KEEPER_AWAY_HOURS_DEFAULT: u16 = 24;
/// The most there may be: three months of holidays.
pub const KEEPER_AWAY_HOURS_MAX: u16 = 92 * 24;
/// What copies that are made again may take of a line, in bytes a second, while there are at least as many as the least number: half of what
/// an ordinary line at home can send. Below that nothing is held back.
pub const REPAIR_BYTES_PER_SECOND: u64 = 4 << 20;
/// An unchanged file's last change must be this much older than the walk: within it a clock may not tell two writes apart.
pub const SETTLED_SECONDS: i64 = 2;
/// One chunk in this many is opened again and compared with its source before it counts (bad memory).
pub const SEAL_CHECK_ONE_IN: u32 = 64;

const _: () = {
    assert!(CUT_BYTES_MIN < CUT_BYTES_AVERAGE && CUT_BYTES_AVERAGE < CUT_BYTES_MAX);
    assert!(PACK_BYTES_MAX >= SMALL_FILE_BYTES_MAX && PACK_BYTES_MAX <= CUT_BYTES_MAX);
    assert!(PAGE_BYTES_MAX <= CUT_BYTES_MAX);
    assert!(
        PAGE_BYTES_MAX >= XATTRS_BYTES_MAX + 2 * PATH_BYTES_MAX + ENTRY_CHUNKS_MAX * 44 + 4096,
        "the longest entry fits into a page"
    );
    assert!(
        RECORD_BYTES_MAX < 1 << 22,
        "a table slot has 22 bits for a record's length"
    );
    assert!(
        SEGMENT_BYTES / FRAME_ALIGN_BYTES == 1 << 23,
        "a location has 23 bits inside a segment"
    );
    assert!(SEGMENT_BYTES.is_multiple_of(BLOCK_BYTES as u64));
    assert!((BLOCK_BYTES as u64).is_multiple_of(FRAME_ALIGN_BYTES));
    assert!((FRAME_HEADER_BYTES as u64).is_multiple_of(FRAME_ALIGN_BYTES));
    assert!(
        STORE_BUFFERS * STORE_BUFFER_BYTES <= 4 << 20,
        "registered memory counts against an ordinary user's lock limit"
    );
    assert!(STORE_BUFFER_BYTES.is_multiple_of(BLOCK_BYTES));
    assert!(
        TABLE_SETS_MAX <= 1 << 16,
        "a table slot has 16 bits for a set"
    );
    assert!(MEMBERS_MAX <= 64, "a set of members is one u64");
    assert!(
        RECEIVE_CREDIT_BYTES as usize >= BODY_BYTES_MAX && RECEIVE_POOL_BYTES >= 2 * BODY_BYTES_MAX
    );
    assert!(ROSTER_BYTES_MAX <= BODY_BYTES_MAX);
    assert!(EPOCH_JUMP_MAX as usize >= EPOCHS_MAX);
    assert!(
        MEMBERS_MAX * (37 * EPOCHS_MAX + 40 * MEMBERS_MAX / 4) < ROSTER_BYTES_MAX,
        "all Boxes are sealed all secrets"
    );
    assert!(SEND_QUEUE_BYTES_MAX > BODY_BYTES_MAX + MESSAGE_BYTES_MAX);
    assert!(REQUEST_HEADERS_OPEN_KIB_MAX > MESSAGE_BYTES_MAX >> 10);
    assert!(
        MESSAGE_BYTES_MAX + 2 + 16 <= NOISE_MESSAGE_BYTES_MAX,
        "a header fits into the first Noise message"
    );
    assert!(ASK_IDS_MAX * 32 < MESSAGE_BYTES_MAX);
    assert!(
        COMPARE_PRINTS_MAX * (8 + 3) + MEMBERS_MAX * 32 + 256 < MESSAGE_BYTES_MAX,
        "the longest question of a comparison fits"
    );
    assert!(COMPARE_NAMES_MAX * (32 + 34) + COMPARE_PRINTS_MAX / 8 + 256 < MESSAGE_BYTES_MAX);
    assert!(EVENT_FACTS_MAX * (EVENT_TEXT_BYTES_MAX + 8) + 160 <= EVENT_BYTES_MAX);
    assert!(EVENT_BYTES_MAX < 1 << 16 && 2 * EVENT_BYTES_MAX < EVENT_FILE_BYTES_MAX);
    assert!(
        JOURNAL_BYTES_MAX >= 8 * EVENT_FILE_BYTES_MAX,
        "each type of events keeps its newest file"
    );
    assert!(SESSION_SILENCE_SECONDS_MAX >= 2 * KEEPALIVE_CALLED_SECONDS);
    assert!(
        KEEPALIVE_CALLED_SECONDS > KEEPALIVE_SECONDS,
        "long waits end up to half a second later, and an answer takes its way"
    );
    assert!(SESSION_STUCK_SECONDS_MAX > SESSION_SILENCE_SECONDS_MAX);
    assert!(
        ANSWER_SECONDS_MAX > SESSION_STUCK_SECONDS_MAX && ANSWER_SECONDS_MAX >= 4 * WORKING_SECONDS
    );
};
