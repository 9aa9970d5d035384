//! What a set of weeks must have met to prove anything: everything that can go wrong, everything that is checked, and every way out of
//! trouble that the product says it took. A name that no longer fits what the product says shows itself by never being met.

use std::collections::BTreeMap;

use crate::told::SAID;
use crate::trouble::Trouble;

/// What is checked, and what people do about trouble.
const CHECKED: [&str; 8] = [
    "asked anywhere",
    "asked back",
    "bounds looked at",
    "healed",
    "looked at",
    "replaced",
    "started",
    "swept",
];

/// What the product says when it helps itself, or says why it cannot now.
const WAYS_OUT: [&str; 21] = [
    "a chunk is damaged",
    "a commit failed; its segment is left as it is",
    "a head could not be kept",
    "a new Box was taken in",
    "a setting was changed on two Boxes apart",
    "confirmed its share of the newest snapshot",
    "could not confirm its share",
    "damage in the store: nothing was removed",
    "damaged chunks were fetched anew from other Boxes",
    "events cannot be written down; what does not fit meanwhile is counted",
    "has not all of its share",
    "looked after the copies of all snapshots",
    "session ended: the link to the peer failed (connection reset); it is called again",
    "session ended: the peer gave no sign of life; it is called again",
    "session ended: what arrived does not verify; the connection was closed",
    "the reserve has a new key epoch",
    "the snapshot was not taken",
    "the store could not be read again",
    "the store is not where it was: no segment is begun there",
    "took what was lacking here, found by comparing",
    "what it confirmed before stands",
];

/// What should have happened some time and did not.
#[must_use]
pub fn never(counts: &BTreeMap<String, u64>) -> Vec<String> {
    let troubles = Trouble::ALL.iter().map(|trouble| format!("{trouble:?}"));
    let checked = CHECKED.iter().map(|what| (*what).to_owned());
    let said = WAYS_OUT.iter().map(|text| format!("{SAID}{text}"));
    troubles
        .chain(checked)
        .chain(said)
        .filter(|what| counts.get(what).is_none_or(|times| *times == 0))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_never_happened_is_named() {
        let mut counts = BTreeMap::new();
        let all = never(&counts);
        assert_eq!(
            all.len(),
            Trouble::ALL.len() + CHECKED.len() + WAYS_OUT.len()
        );
        for what in &all[1..] {
            counts.insert(what.clone(), 1);
        }
        counts.insert(all[0].clone(), 0);
        assert_eq!(never(&counts), all[..1]);
    }
}
