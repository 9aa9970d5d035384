//! The simulated world: Boxes with disks, trees, clocks and one network, all from one seed, on one thread, in virtual time.
//!
//! It implements every door of `reserve::world`, so the product's own flows run here. What it promises:
//!
//! - **the same seed gives the same run**: every deed on a disk, a tree or the network is folded into a [`TraceHash`];
//! - **what was not synced is forgotten** when a Box loses power ([`SimBox::power_cut`]), and its tasks stop where they stand;
//! - **nothing hangs**: a story that waits for ever runs into a limit of virtual time and fails.
//!
//! What can go wrong is in [`Trouble`] (a week's dice throw it), [`Faults`] (a disk as it is now), [`Strike`] (one certain deed of a disk) and
//! [`Meddling`] (bytes on their way). [`Mistake`]s prove that it bites: each must be caught within a few short lives.
//!
//! How it is told apart from the real world on purpose is in [`twins`]. It is not a model of speed: deeds take a few
//! virtual milliseconds so that they interleave, not as long as real ones.

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "this is the outside; its time is tokio's, paused"
)]

mod clock;
mod contents;
mod dice;
mod disk;
mod eye;
mod faults;
pub mod giving_up;
mod house;
mod lie;
mod machine;
mod meddling;
mod member;
mod mistakes;
mod months;
mod neighbours;
mod net;
mod oracle;
mod people;
mod pipe;
mod planting;
mod platter;
mod reach;
mod reserve;
mod retrieval;
pub mod scale;
mod secrets;
mod sim_box;
mod snapshot;
mod story;
mod strike;
mod told;
mod trace;
mod traffic;
mod tree;
mod trouble;
pub mod twins;
mod twins_kinds;
mod twins_space;
mod unfinished;
mod week;
mod wood;

pub use clock::{SimClock, SimEntropy};
pub use dice::Dice;
pub use disk::{DiskStats, SimBuffer, SimDisk, SimFile};
pub use faults::Faults;
pub use house::{Answer, DATA_PATH, House};
pub use lie::Lie;
pub use meddling::Meddling;
pub use member::Member;
pub use mistakes::{Controls, Mistake};
pub use months::{Moment, months, struck, theft};
pub use neighbours::{Neighbour, Neighbours};
pub use net::{SimLink, SimListener, SimNet};
pub use oracle::{Oracle, Taken};
pub use people::People;
pub use platter::Torn;
pub use reach::never;
pub use reserve::Reserve;
pub use retrieval::{Incomplete, bring_back};
pub use sim_box::{PowerWasCut, SimBox, SimWorld};
pub use snapshot::{Kept, TreeSnapshot, differences};
pub use story::{Ran, run, run_within};
pub use strike::{Strike, at_every_deed};
pub use trace::TraceHash;
pub use traffic::Traffic;
pub use tree::{SimTree, SimTreeFile, SimTreeRoot};
pub use trouble::Trouble;
pub use week::{Plan, Weathered, weather};
