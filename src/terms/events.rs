//! What is worth telling: the closed list of events, their types, and the names of the facts they carry.
//!
//! A code stands on disk and, later, on the wire; it is never used again for something else. A program that meets a code it does not
//! know still has the type that stands beside it.

use serde::{Deserialize, Serialize};

/// How much an event matters. Declared from the least to the most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EventType {
    /// As it should be.
    Normal,
    /// A limit comes near, or something needs a look soon.
    Warning,
    /// Something is not as promised.
    Failure,
}

impl EventType {
    /// All of them, the least first.
    pub const ALL: [Self; 3] = [Self::Normal, Self::Warning, Self::Failure];

    /// Its name, as files and programs read it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Normal => "normal",
            Self::Warning => "warning",
            Self::Failure => "failure",
        }
    }
}

/// Whether an event is over as soon as it is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lasting {
    /// It happened.
    Moment,
    /// It stands until it is cleared: an episode.
    Condition,
}

macro_rules! event_kinds {
    ($($(#[$doc:meta])* $kind:ident = $code:literal, $name:literal, $event_type:ident, $lasting:ident;)+) => {
        /// The closed list of events.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u16)]
        pub enum EventKind { $($(#[$doc])* $kind = $code),+ }

        impl EventKind {
            /// All of them, in the order of their codes.
            pub const ALL: &'static [Self] = &[$(Self::$kind),+];

            /// What stands for it on disk.
            #[must_use]
            pub const fn code(self) -> u16 {
                self as u16
            }

            /// What a code stands for, if this program knows it.
            #[must_use]
            pub const fn from_code(code: u16) -> Option<Self> {
                match code { $($code => Some(Self::$kind),)+ _ => None }
            }

            /// Its name, as programs read it.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$kind => $name),+ }
            }

            /// How much it matters.
            #[must_use]
            pub const fn event_type(self) -> EventType {
                match self { $(Self::$kind => EventType::$event_type),+ }
            }

            /// Whether it lasts.
            #[must_use]
            pub const fn lasting(self) -> Lasting {
                match self { $(Self::$kind => Lasting::$lasting),+ }
            }
        }
    };
}

event_kinds! {
    /// A Box was taken into the reserve.
    BoxJoined = 1, "box_joined", Normal, Moment;
    /// A Box left the reserve in good order.
    BoxLeft = 2, "box_left", Normal, Moment;
    /// A Box was removed as lost and shut out.
    BoxLost = 3, "box_lost", Warning, Moment;
    /// There is no session with a Box; over when it is back.
    BoxOutOfReach = 4, "box_out_of_reach", Warning, Condition;
    /// Two machines run with one Box's identity; over when only one was met for a while.
    BoxRunsTwice = 5, "box_runs_twice", Failure, Condition;

    /// A snapshot was taken.
    SnapshotTaken = 20, "snapshot_taken", Normal, Moment;
    /// Enough other Boxes confirmed all of a snapshot.
    SnapshotProtected = 21, "snapshot_protected", Normal, Moment;
    /// The newest snapshot has fewer copies elsewhere than the minimum; over when it has enough.
    NotProtected = 22, "not_protected", Failure, Condition;
    /// A snapshot could not be taken; over when one is.
    SnapshotFailed = 23, "snapshot_failed", Failure, Condition;
    /// Some files could not be read; over when a snapshot has them all.
    FilesUnread = 24, "files_unread", Warning, Condition;
    /// Much was gone or rewritten: the snapshot waits for a person.
    LossPending = 25, "loss_pending", Warning, Condition;
    /// A data set is not where it should be.
    DataSetMissing = 26, "data_set_missing", Failure, Condition;
    /// What is to be protected will not fit on enough keepers.
    FitWarning = 27, "fit_warning", Warning, Condition;
    /// A person ended a snapshot before it was published.
    SnapshotCancelled = 28, "snapshot_cancelled", Normal, Moment;
    /// Files of a data set are not what was written, though nobody changed them; over when none is left.
    FilesRotten = 29, "files_rotten", Failure, Condition;
    /// What no snapshot needs could not be given up, since something that stays cannot be read; over when it could.
    ReleaseHeld = 30, "release_held", Warning, Condition;
    /// Two newest snapshots of an author bear one number, and none stands for `latest`; over when a person chose, or their author went on
    /// from one of them. Nothing is lost, and each can be retrieved by its id.
    UnresolvedConflict = 31, "unresolved_conflict", Warning, Condition;
    /// Another snapshot of a number was found; both are kept.
    HistoryParted = 32, "history_parted", Warning, Moment;
    /// Snapshots lack parts that are on no Box; over when those are there again, or no snapshot that is kept needs them.
    SnapshotsLacking = 33, "snapshots_lacking", Failure, Condition;

    /// A keeper has no room on its disk.
    DiskFull = 40, "disk_full", Failure, Condition;
    /// A keeper's chunk table is full.
    TableFull = 41, "table_full", Failure, Condition;
    /// An author used up its share of a keeper.
    QuotaReached = 42, "quota_reached", Failure, Condition;
    /// A keeper's disk does not do what it is asked.
    DiskFailed = 43, "disk_failed", Failure, Condition;
    /// A chunk is not whole; over when it was repaired, or when nothing here needs it any more.
    ChunkDamaged = 44, "chunk_damaged", Warning, Condition;
    /// Places in a keeper's store do not read; over when none is left.
    StoreDamaged = 45, "store_damaged", Failure, Condition;
    /// Chunks have fewer copies than the replication factor; over when they have all of them.
    CopiesBelowFactor = 46, "copies_below_factor", Warning, Condition;
    /// A keeper's disk will soon have no room for more data.
    DiskNearlyFull = 47, "disk_nearly_full", Warning, Condition;
    /// A keeper's chunk table will soon be full.
    TableNearlyFull = 48, "table_nearly_full", Warning, Condition;
    /// This Box has used most of its share of a keeper.
    QuotaNearlyReached = 49, "quota_nearly_reached", Warning, Condition;
    /// An author used up its share of the keeper that tells it.
    AuthorAtQuota = 50, "author_at_quota", Failure, Condition;
    /// An author used most of its share of the keeper that tells it.
    AuthorNearQuota = 51, "author_near_quota", Warning, Condition;
    /// The store is not where it was; over when it is, or when a person says that it is gone for good.
    StoreLost = 52, "store_lost", Failure, Condition;

    /// An author gave up much of what it has on the keeper that tells it, or what no rule lets go; over when it is gone or kept after all.
    ReleasePending = 53, "release_pending", Warning, Condition;
    /// An author gave something up on the keeper that tells it, as its rule says; over when it is gone or kept after all.
    ReleaseWaiting = 54, "release_waiting", Normal, Condition;
    /// What an author gave up is let go of.
    SpaceReleased = 55, "space_released", Normal, Moment;

    /// A snapshot's files came back.
    RetrievalDone = 60, "retrieval_done", Normal, Moment;
    /// Some of a snapshot's files did not come back.
    RetrievalIncomplete = 61, "retrieval_incomplete", Failure, Moment;

    /// The configuration changed.
    ConfigurationChanged = 70, "configuration_changed", Normal, Moment;
    /// Two Boxes changed one shared setting apart: one change stands, the other was dropped.
    EditDropped = 71, "edit_dropped", Normal, Moment;

    /// The service runs; over when it ends in good order.
    ServiceRuns = 80, "service_runs", Normal, Condition;
    /// The last run of the service did not end in good order.
    StoppedUncleanly = 81, "stopped_uncleanly", Warning, Moment;
    /// The clock on the wall was set, or ran apart from time.
    ClockJumped = 82, "clock_jumped", Warning, Moment;
    /// More was told than could be written down.
    EventsDropped = 83, "events_dropped", Warning, Moment;
    /// Parts of the journal of events do not read.
    JournalDamaged = 84, "journal_damaged", Warning, Moment;
    /// One of this Box's own files did not read; it was written again from what the service knows.
    StateRepaired = 85, "state_repaired", Warning, Moment;
}

macro_rules! fact_names {
    ($($(#[$doc:meta])* $fact:ident = $code:literal, $name:literal;)+) => {
        /// What a fact of an event is.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum FactName { $($(#[$doc])* $fact = $code),+ }

        impl FactName {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$fact),+];

            /// What stands for it on disk.
            #[must_use]
            pub const fn code(self) -> u8 {
                self as u8
            }

            /// What a code stands for, if this program knows it.
            #[must_use]
            pub const fn from_code(code: u8) -> Option<Self> {
                match code { $($code => Some(Self::$fact),)+ _ => None }
            }

            /// Its name, as programs read it.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$fact => $name),+ }
            }
        }
    };
}

fact_names! {
    /// How many.
    Count = 1, "count";
    /// Bytes.
    Bytes = 2, "bytes";
    /// Files.
    Files = 3, "files";
    /// Copies on other Boxes, at least.
    Copies = 4, "copies";
    /// Copies there should be.
    Factor = 5, "factor";
    /// Copies below which nothing is called protected.
    FactorMin = 6, "factor_min";
    /// Why, in words.
    Reason = 7, "reason";
    /// Where in a data set or on the disk.
    Path = 8, "path";
    /// A program's version.
    Version = 9, "version";
    /// Seconds; ahead is positive.
    SecondsAhead = 10, "seconds_ahead";
    /// Seconds behind.
    SecondsBehind = 11, "seconds_behind";
    /// A snapshot's number.
    Number = 12, "number";
    /// A key of the configuration.
    Setting = 13, "setting";
    /// Whose: a Box's name.
    Author = 14, "author";
    /// Bytes for which there is still room.
    RoomBytes = 15, "room_bytes";
    /// How many there may be.
    CountMax = 16, "count_max";
    /// Bytes there may be.
    BytesMax = 17, "bytes_max";
    /// A value as it was.
    Before = 18, "before";
    /// A value as it is.
    Now = 19, "now";
    /// Who did it: a Box's name.
    By = 20, "by";
    /// A value that was said and does not stand.
    Dropped = 21, "dropped";
    /// Who said that: a Box's name.
    DroppedBy = 22, "dropped_by";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_and_names_are_each_used_once_and_lead_back() {
        for kind in EventKind::ALL {
            assert_eq!(EventKind::from_code(kind.code()), Some(*kind));
            let same = |other: &&EventKind| other.name() == kind.name();
            assert_eq!(EventKind::ALL.iter().filter(same).count(), 1, "{kind:?}");
        }
        for fact in FactName::ALL {
            assert_eq!(FactName::from_code(fact.code()), Some(*fact));
            let same = |other: &&FactName| other.name() == fact.name();
            assert_eq!(FactName::ALL.iter().filter(same).count(), 1, "{fact:?}");
        }
        assert_eq!(EventKind::from_code(0), None);
        assert_eq!(FactName::from_code(0), None);
    }
}
