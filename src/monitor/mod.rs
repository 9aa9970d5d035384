//! The file integrity monitor: what keepers find out from each other, and what follows from it.
//!
//! Here: comparing two keepers' claims ([`compare`]), when that is due and how it narrows down (`plan`), and who has been away for so long
//! that its copies are made elsewhere ([`Away`]). And what follows where two keepers disagree: the closed list ([`Disagreement`]), and what
//! an author's heads come to ([`judge`]). Reading one's own store again is the keeper's (`keeper/verify`), and so is fetching
//! (`keeper/serve`); who is in touch and in what order things happen is put together in `console/service/healing`.
//!
//! What it costs in large reserves, and what grows how, is in `SCALE.md` beside this file.
//!
//! Always so: a comparison changes nothing but what is known of holders; what is lacking is taken by the keeper that lacks it and by
//! nobody else; nothing is deleted.

mod away;
mod compare;
mod history;
mod identity;
mod plan;
mod verdict;

#[cfg(test)]
mod history_tests;

pub use away::Away;
pub use compare::{Outcome, Pair, Take, compare};
pub use history::{Conflict, Judged, Latest, Side, Stance, judge, judged_after};
pub use identity::{GoesOn, Processes, Signed};
pub use plan::{Ground, Last, is_due};
pub use verdict::{Disagreement, Verdict};
