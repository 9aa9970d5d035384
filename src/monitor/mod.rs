//! The file integrity monitor: what keepers find out from each other, and what follows from it.
//!
//! Here: comparing two keepers' claims ([`compare`]), when that is due and how it narrows down (`plan`), and who has been away for so long
//! that its copies are made elsewhere ([`Away`]). Reading one's own store again is the keeper's (`keeper/verify`), and so is fetching
//! (`keeper/serve`); who is in touch and in what order things happen is put together in `console/service/healing`.
//!
//! Always so: a comparison changes nothing but what is known of holders; what is lacking is taken by the keeper that lacks it and by
//! nobody else; nothing is deleted.

mod away;
mod compare;
mod plan;

pub use away::Away;
pub use compare::{Outcome, Pair, Take, compare};
pub use plan::{Ground, Last, is_due};
