//! What the product says that it did, counted by its words: each line of its log. That way every branch that people would be told of is
//! counted in a week without a line of the product knowing that it is watched.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;

use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::{Dispatch, Event, Level, Metadata, Subscriber};

/// Whose lines are counted.
const PRODUCT: &str = "reserve";

/// How a count of what the product said begins.
pub(crate) const SAID: &str = "said: ";

/// How often each line was told, by its words.
pub(crate) type Told = BTreeMap<String, u64>;

thread_local! {
    static TOLD: RefCell<Told> = const { RefCell::new(Told::new()) };
}

/// Does something and counts what the product says meanwhile on this thread.
pub(crate) fn counted<T>(work: impl FnOnce() -> T) -> (T, Told) {
    // One for all threads: with one for each, lines get lost while another thread begins or ends to count. Whoever was first is good.
    let _ = tracing::dispatcher::set_global_default(Dispatch::new(Counting));
    TOLD.take();
    let done = work();
    (done, TOLD.take())
}

struct Counting;

/// The words of a line, and why a session ended.
#[derive(Default)]
struct Words {
    text: String,
    why: String,
}

impl Visit for Words {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        match field.name() {
            "message" => self.text = format!("{value:?}"),
            "why" => self.why = format!("{value:?}"),
            _ => {}
        }
    }
}

impl Subscriber for Counting {
    fn enabled(&self, line: &Metadata<'_>) -> bool {
        line.is_event() && *line.level() <= Level::INFO && line.target().starts_with(PRODUCT)
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(LevelFilter::INFO)
    }

    fn event(&self, event: &Event<'_>) {
        let mut words = Words::default();
        event.record(&mut words);
        let Words { mut text, why } = words;
        if !why.is_empty() {
            text = format!("{text}: {why}");
        }
        TOLD.with_borrow_mut(|told| *told.entry(text).or_default() += 1);
    }

    // There are no spans in the product.
    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_the_product_are_counted_by_their_words_and_others_are_not() {
        let ((), told) = counted(|| {
            for why in ["a", "b", "b"] {
                tracing::info!(target: "reserve::path", %why, "it ended");
            }
            tracing::warn!(target: "reserve", number = 3, "once");
            tracing::debug!(target: "reserve", "too small");
            tracing::warn!(target: "other", "somebody else's");
        });
        let told: Vec<_> = told
            .iter()
            .map(|(text, times)| (text.as_str(), *times))
            .collect();
        assert_eq!(told, [("it ended: a", 1), ("it ended: b", 2), ("once", 1)]);
    }
}
