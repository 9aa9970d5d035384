//! What goes wrong in a simulated week, and how much of it is fair: the list is what an owner of Boxes may meet in ten years.
//!
//! Some of it passes without hurting a byte that was ever acknowledged. Some hurts a Box's copies for good: only one Box at a
//! time may be hurt, and the next only when all that was called protected has its copies again.

use std::time::Duration;

use crate::dice::Dice;

/// Something that goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Trouble {
    /// The power goes; what was not synced is gone.
    PowerCut,
    /// The power goes; some of what was not synced is there.
    TornPowerCut,
    /// A Box is off for more than a day.
    LongSleep,
    /// Some reads fail, and work when they are tried again.
    ReadsFail,
    /// The next sync fails, and what it should have made durable is lost.
    SyncFails,
    /// There is no room for anything more, for a while.
    DiskFull,
    /// The drive does not answer, until the Box is started anew.
    DriveAway,
    /// Every deed of the disk takes long, for a while.
    DiskSlow,
    /// Two Boxes do not hear each other.
    Partition,
    /// One Box does not hear another, which hears it.
    OneWay,
    /// All links between two Boxes end.
    LinksReset,
    /// Everything takes long between two Boxes.
    LineSlow,
    /// A clock is set, by minutes or by years.
    ClockSet,
    /// A Box starts without knowing the time, and learns it later.
    NoClock,
    /// The file system takes nothing any more, for a while.
    ReadOnly,
    /// Some bytes between two Boxes are left out.
    BytesLost,
    /// The same bytes arrive again.
    BytesTwice,
    /// A bit of what is under way is changed.
    BytesForged,
    /// Links between two Boxes go dead, and nobody is told.
    HalfOpen,
    /// A Box reads nothing that is sent to it.
    StopsReading,
    /// What a data set names is empty for a while: its disk is not mounted, or somebody moved it away.
    Emptied,
    /// Two Boxes that do not hear each other are told different settings.
    SettingsApart,
    /// A bit of the store rots.
    BitRot,
    /// A part of the store cannot be read any more.
    BadSector,
    /// A write of the store is said to be done, and nothing of it is there.
    WriteLost,
    /// A write of the store lands on what was written before.
    WriteMisplaced,
    /// The drive with all that a keeper is dies; a new one is put in, and the Box is taken in again in its own place.
    DriveReplaced,
    /// A person takes a Box out of the reserve in good order, and takes it in again as a new one.
    TakenOut,
}

impl Trouble {
    /// All of it.
    pub const ALL: [Self; 28] = [
        Self::PowerCut,
        Self::TornPowerCut,
        Self::LongSleep,
        Self::ReadsFail,
        Self::SyncFails,
        Self::DiskFull,
        Self::DriveAway,
        Self::DiskSlow,
        Self::Partition,
        Self::OneWay,
        Self::LinksReset,
        Self::LineSlow,
        Self::ClockSet,
        Self::NoClock,
        Self::ReadOnly,
        Self::BytesLost,
        Self::BytesTwice,
        Self::BytesForged,
        Self::HalfOpen,
        Self::StopsReading,
        Self::Emptied,
        Self::SettingsApart,
        Self::BitRot,
        Self::BadSector,
        Self::WriteLost,
        Self::WriteMisplaced,
        Self::DriveReplaced,
        Self::TakenOut,
    ];

    /// What comes next.
    #[must_use]
    pub fn pick(dice: &Dice) -> Self {
        loop {
            let at = usize::try_from(dice.below(Self::ALL.len() as u64)).unwrap_or(0);
            // Days of sleep are rare, or nobody would ever be awake; and a reserve has room for so many Boxes that once were.
            let one_in = match Self::ALL[at] {
                Self::LongSleep => 40,
                Self::DriveReplaced | Self::TakenOut => 8,
                _ => 1,
            };
            if dice.below(one_in) == 0 {
                return Self::ALL[at];
            }
        }
    }

    /// Whether it hurts copies that were acknowledged.
    #[must_use]
    pub fn hurts(self) -> bool {
        matches!(
            self,
            Self::BitRot
                | Self::BadSector
                | Self::WriteLost
                | Self::WriteMisplaced
                | Self::DriveReplaced
                | Self::TakenOut
        )
    }

    /// How long it lasts.
    #[must_use]
    pub fn lasts(self, dice: &Dice) -> Duration {
        let most = match self {
            Self::LongSleep => {
                return Duration::from_secs(26 * 3600)
                    + dice.time_below(Duration::from_secs(4 * 3600));
            }
            Self::PowerCut
            | Self::TornPowerCut
            | Self::DriveAway
            | Self::DriveReplaced
            | Self::TakenOut => Duration::from_secs(600),
            Self::DiskFull
            | Self::DiskSlow
            | Self::LineSlow
            | Self::NoClock
            | Self::ReadOnly
            | Self::StopsReading => Duration::from_secs(1200),
            Self::Partition | Self::OneWay | Self::SettingsApart => Duration::from_secs(2400),
            Self::Emptied => Duration::from_secs(3 * 3600),
            Self::ReadsFail
            | Self::SyncFails
            | Self::LinksReset
            | Self::ClockSet
            | Self::BytesLost
            | Self::BytesTwice
            | Self::BytesForged
            | Self::HalfOpen
            | Self::BitRot
            | Self::BadSector
            | Self::WriteLost
            | Self::WriteMisplaced => Duration::from_secs(60),
        };
        dice.time_below(most)
    }
}
