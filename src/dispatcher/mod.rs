//! The event dispatcher: what is worth telling, written down once and kept for whoever asks.
//!
//! A room gets a [`Reporter`] and says what happened, or that a condition stands and later that it is over; that never waits and
//! never fails. The [`Dispatcher`] writes it into a durable journal of bounded size (`journal`), in which the oldest normal events give
//! way first and failures last. Saying again what stands already is no news: from raise to clear it is one episode, across restarts.
//!
//! Not here: deciding that something is worth telling (the rooms know), and showing it (`console`). Forecasts, health, other windows and
//! forwarding to peers come later: they read the same journal and the same standing conditions.

mod history;
mod journal;
mod queue;
mod retention;
mod words;
mod work;

pub use history::History;
pub use journal::{JOURNAL_DIR, read_standing};
pub use queue::Reporter;
pub use words::{Named, words};
pub use work::{Dispatcher, Opened};

pub use crate::format::event::{Event, EventFact, FactValue, Phase, Subject};
pub use crate::terms::{EventKind, EventType, FactName};
