//! What nobody would have any more if some Boxes were shut out: counted before it is done, and told with its numbers.

use std::collections::BTreeMap;

use super::Service;
use super::backwards::Backwards;
use super::views::name_of;
use crate::author::{self, Seen};
use crate::console::cli::FULL_WORDS;
use crate::format::message::LastCopies;
use crate::keeper::Keepers;
use crate::roster::Roster;
use crate::terms::PeerKey;
use crate::world::World;

impl<W: World> Service<W> {
    /// Everybody who remains and can be asked now, and those who cannot.
    pub(super) fn remaining(&self, out: &[PeerKey]) -> (Vec<PeerKey>, Vec<PeerKey>) {
        let keepers = self.patient();
        let members = keepers.members().into_iter().map(|member| member.key);
        members
            .filter(|key| !out.contains(key))
            .partition(|key| keepers.reach(*key).is_some())
    }

    /// Counts, in all snapshots anybody in reach knows of, the chunks that none of those who remain in reach has. `looked` hears of each
    /// snapshot that was looked at.
    pub(super) async fn last_copies(&self, out: &[PeerKey], looked: impl Fn()) -> LastCopies {
        let (there, away) = self.remaining(out);
        // Whoever lives and does not answer is waited for once.
        let (keepers, keyring) = (self.patient(), self.keyring());
        self.know_all_heads().await;
        let mut chunks: BTreeMap<PeerKey, u64> = BTreeMap::new();
        for (author, newest) in self.store().newest_heads() {
            let mut seen = Seen::default();
            let mut heads = Backwards::from(author, newest);
            while let Some(head) = heads.next(self).await {
                if self.has_let_go(&head).await {
                    continue;
                }
                let found = author::on_none_of(&keepers, &keyring, &head, &there, &mut seen).await;
                // A part of the index that is nowhere hides what it names: at least itself is missing.
                let lacks = found.unwrap_or(1);
                if lacks > 0 {
                    *chunks.entry(author).or_default() += lacks;
                }
                looked();
            }
        }
        LastCopies {
            chunks: chunks.into_iter().collect(),
            away,
        }
    }
}

/// What stands in the way of shutting these Boxes out, and what to do; nothing if others have everything.
pub fn refusal(roster: &Roster, out: &[&str], last: &LastCopies) -> Option<(String, String)> {
    if last.chunks.is_empty() {
        return None;
    }
    let named = last.chunks.iter();
    let named: Vec<_> = named
        .map(|(author, chunks)| format!("{chunks} chunks of {}", name_of(roster, *author)))
        .collect();
    let out = out.join(" and ");
    let what = format!(
        "on no other Box in reach are {}: only {out} may have them",
        named.join(" and ")
    );
    let away: Vec<_> = last
        .away
        .iter()
        .map(|peer| name_of(roster, *peer))
        .collect();
    let away = match away.is_empty() {
        true => String::new(),
        false => format!(
            "Out of reach now and perhaps in possession: {}. ",
            away.join(", ")
        ),
    };
    let todo = format!(
        "{away}Shutting {out} out makes that final; if somebody else has it, say so at once with {FULL_WORDS}."
    );
    Some((what, todo))
}
