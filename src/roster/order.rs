//! Which of two facts for one place stands. Pure, and the same on every Box.

use std::cmp::{Ordering, Reverse};

use super::Roster;
use crate::format::encode;
use crate::format::roster::{Fact, Retention, SignedFact, Value};
use crate::terms::Suite;
use crate::terms::canary::{self, Canary};
use crate::terms::limits::{
    EVENT_PERIOD_HOURS_DEFAULT, FACTOR_DEFAULT, FACTOR_MIN_DEFAULT, KEEPER_AWAY_HOURS_DEFAULT,
    RELEASE_DELAY_DAYS_DEFAULT, SWEEP_PERIOD_DAYS_DEFAULT, WARNING_WINDOW_DAYS_DEFAULT,
};

impl Roster {
    /// Which of two facts for one place stands; only a fact is equal to itself.
    pub(super) fn better(&self, a: &SignedFact, b: &SignedFact) -> Ordering {
        let place = |signed: &SignedFact| {
            let Fact {
                value,
                counter,
                signer,
                ..
            } = &signed.fact;
            // An epoch is begun by whoever shuts a lost Box out, after the words were used too.
            let last_word = *signer == self.recovery && generation(&signed.fact).is_none();
            let major = match value {
                Value::Removed { lost } if !last_word => (u32::from(*lost), 0),
                Value::EpochSecret(note) | Value::Secrets(note) => (note.epoch.0, note.held.len()),
                Value::Member { .. } => (u32::MAX - counter, 0),
                _ => (0, 0),
            };
            let hash = Reverse(*blake3::hash(&encode(signed)).as_bytes());
            (last_word, major, *counter, safety(value), hash)
        };
        let is_setting = matches!(a.fact.value, Value::SweepPeriod(_));
        if canary::sings(Canary::KeepOwnSetting) && is_setting && a.fact.signer != b.fact.signer {
            return Ordering::Less;
        }
        place(a).cmp(&place(b))
    }
}

/// Which epoch a fact is about, counted from the first: it counts before the fact's counter.
pub(super) const fn generation(fact: &Fact) -> Option<u32> {
    match &fact.value {
        Value::EpochSecret(note) | Value::Secrets(note) => Some(note.epoch.generation()),
        _ => None,
    }
}

/// Of two values said at once, which leaves people's data safer.
fn safety(value: &Value) -> u32 {
    let less_is_safer = |said: u16, usual: u16| u32::from(u16::MAX - or(said, usual));
    match value {
        Value::ChunkSuite(suite) => u32::from(*suite == Suite::ChaCha20Poly1305),
        Value::Factor(copies) => u32::from(or(u16::from(*copies), FACTOR_DEFAULT.into())),
        Value::FactorMin(copies) => u32::from(or(u16::from(*copies), FACTOR_MIN_DEFAULT.into())),
        Value::FastAes(fast) => u32::from(!*fast),
        Value::EventPeriod(hours) => less_is_safer(*hours, EVENT_PERIOD_HOURS_DEFAULT),
        Value::SweepPeriod(days) => less_is_safer(*days, SWEEP_PERIOD_DAYS_DEFAULT),
        Value::KeeperAway(hours) => less_is_safer(*hours, KEEPER_AWAY_HOURS_DEFAULT),
        Value::WarningWindow(days) => u32::from(or(*days, WARNING_WINDOW_DAYS_DEFAULT)),
        Value::WarningWindowOf(_, days) => u32::from(or(*days, WARNING_WINDOW_DAYS_DEFAULT)),
        Value::ReleaseDelay(days) => u32::from(or(*days, RELEASE_DELAY_DAYS_DEFAULT)),
        Value::Retention(kept) => how_many(kept),
        Value::Chosen(choices) => {
            let chunks = choices.last().map_or(0, |newest| newest.chunks);
            u32::try_from(chunks).unwrap_or(u32::MAX)
        }
        Value::Stays => 1,
        Value::Recovery { .. }
        | Value::EpochSecret(_)
        | Value::Member { .. }
        | Value::Name(_)
        | Value::Site(_)
        | Value::Addresses(_)
        | Value::Removed { .. }
        | Value::Secrets(_)
        | Value::Replaces(_) => 0,
    }
}

/// What was said, or what is usual.
const fn or(said: u16, usual: u16) -> u16 {
    if said == 0 { usual } else { said }
}

fn how_many(kept: &Retention) -> u32 {
    let Retention {
        hourly,
        daily,
        weekly,
        monthly,
        yearly,
        last,
    } = *kept;
    if *kept == Retention::default() {
        return u32::MAX;
    }
    [hourly, daily, weekly, monthly, yearly, last]
        .map(u32::from)
        .iter()
        .sum()
}
