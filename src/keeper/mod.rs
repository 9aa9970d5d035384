//! Where data rests: the fixed-memory chunk table, segments, admission, placement.
//!
//! Others speak to a keeper, the local one too, through [`Ask`]; they find keepers through [`Keepers`].

mod ahead;
mod ask;
mod at_rest;
mod bounds;
mod compact;
#[cfg(test)]
mod compact_tests;
mod comparing;
#[cfg(test)]
mod comparing_tests;
#[cfg(test)]
mod damage_tests;
mod doubled;
mod findings;
mod frames;
#[cfg(test)]
mod full_tests;
mod fullness;
mod further;
mod groups;
mod heads;
mod healed;
mod held_back;
mod holding;
mod letting_go;
mod lived;
mod loading;
mod local;
mod log;
#[cfg(test)]
mod missing_tests;
#[cfg(test)]
mod mock_nothing;
#[cfg(test)]
mod mock_time;
#[cfg(test)]
mod mock_world;
mod open;
pub mod placement;
mod places;
mod presence;
mod queue;
mod readers;
mod reading;
mod refuse;
mod release;
#[cfg(test)]
mod release_damage_tests;
#[cfg(test)]
mod release_tests;
#[cfg(test)]
mod release_weeks_tests;
mod remote;
mod repair;
mod rest;
mod room;
mod scan;
mod serve;
pub mod sets;
mod sparse;
mod state;
mod store;
#[cfg(test)]
mod store_tests;
mod sweep_plan;
pub mod table;
#[cfg(test)]
mod torn_tests;
mod trust;
mod turns;
mod verify;
#[cfg(test)]
mod verify_tests;
mod writing;

pub use ask::{Ask, AskError, Compare, Keepers, MemberView};
pub use at_rest::heads_at_rest;
pub use bounds::Bounded;
pub use compact::Reclaimed;
pub use comparing::Copies;
pub use fullness::{Fullness, Level};
pub use holding::{FoundDamage, Word};
pub use letting_go::Settled;
pub use lived::LIVED_EVERY;
pub use local::AnyKeeper;
pub use open::{Damage, DamageKind, OpenReport};
pub use places::{Places, Shares};
pub use presence::{Presence, begin_anew, presence};
pub use refuse::StoreError;
pub use release::WaitingRelease;
pub use remote::{RemoteKeeper, read_head_list};
pub use repair::{Listing, Repaired};
pub use rest::Rest;
pub use serve::{Host, Server};
pub use store::{Space, Store, StoreConfig, StoreFigures};
pub use verify::{Pace, SweepProgress, SweepReport, Which};
pub use writing::STORE_DIR;
