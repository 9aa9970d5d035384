//! Which snapshot a person means, and its manifest.

use std::time::Duration;

use super::Service;
use super::views::{name_of, snapshot_id, snapshot_view};
use crate::console::control::{Reply, RetrieveView, SnapshotView};
use crate::console::fault::{Exit, Fault};
use crate::console::{consistency, text};
use crate::format::head::{Manifest, SignedHead};
use crate::keeper::Keepers;
use crate::retriever::{Collected, Heads, Source};
use crate::terms::{Kind, PeerKey};
use crate::world::{Clock, World};

/// How long a Box that has just started is given to reach the others before "nobody has it" is believed.
const PATIENCE: Duration = Duration::from_secs(10);
/// For how long after its start a Box is still meeting the others.
const JUST_STARTED: Duration = Duration::from_secs(10);
/// How long they are given then.
const ARRIVAL: Duration = Duration::from_secs(1);
/// Heads of an author that are looked through for an id.
const LOOKED_THROUGH_MAX: usize = 10_000;

/// Why no snapshot was found.
#[derive(Debug)]
pub enum Miss {
    /// It is an error.
    Fault(Fault),
    /// Several authors have snapshots, and a person has to choose.
    Several(Vec<String>),
}

impl From<Fault> for Miss {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl From<Miss> for Reply {
    fn from(miss: Miss) -> Self {
        match miss {
            Miss::Fault(fault) => Self::Fault(fault),
            Miss::Several(names) => Self::Authors(names),
        }
    }
}

/// The manifest of a snapshot, if these bytes are what its author signed.
pub(super) fn manifest_of(signed: &SignedHead, bytes: &[u8]) -> Option<Manifest> {
    let manifest = Manifest::decode(bytes).ok()?;
    let is_right = manifest.author == signed.head.author && manifest.number == signed.head.number;
    is_right.then_some(manifest)
}

impl<W: World> Service<W> {
    /// The snapshot a person means, with its manifest.
    pub async fn find(&self, author: Option<&str>, wanted: &str) -> Result<RetrieveView, Miss> {
        self.let_others_arrive().await;
        let (signed, not_asked) = self.find_patiently(author, wanted).await?;
        let manifest = self
            .gather()
            .fetch(signed.head.manifest, Kind::Manifest)
            .await
            .map_err(|error| {
                Fault::new(
                    format!("the manifest of snapshot {}: {error}", snapshot_id(&signed)),
                    "Nothing was written.",
                    "See with `reserve peers` that all Boxes are in reach, then repeat the command; or choose an older snapshot: \
                     `reserve snapshots`.",
                )
                .exit(Exit::Damaged)
            })?;
        let Some(decoded) = manifest_of(&signed, &manifest) else {
            return Err(Fault::new(
                format!(
                    "the manifest of snapshot {} is not what its author signed",
                    snapshot_id(&signed)
                ),
                "Nothing was written.",
                "Choose an older snapshot: `reserve snapshots`.",
            )
            .exit(Exit::Damaged)
            .into());
        };
        let snapshot = SnapshotView {
            data_sets: Some(consistency::data_sets(&decoded)),
            ..snapshot_view(&self.roster(), &signed, &[])
        };
        Ok(RetrieveView {
            snapshot,
            manifest: data_encoding::HEXLOWER.encode(&manifest),
            not_asked,
        })
    }

    /// A Box that has just started may have reached one keeper and not yet the one that knows the newest snapshot.
    async fn let_others_arrive(&self) {
        let clock = self.world().clock();
        if clock.now().since(self.0.began) > JUST_STARTED {
            return;
        }
        let all_are_there = async {
            loop {
                let keepers = self.keepers();
                if keepers
                    .members()
                    .iter()
                    .all(|member| keepers.reach(member.key).is_some())
                {
                    return;
                }
                keepers.changed().await;
            }
        };
        // Whoever does not come in time is named to the person who asks.
        clock.within(ARRIVAL, all_are_there).await;
    }

    /// Looks again whenever a keeper comes, until the snapshot is found or time is up. Who left a question without an answer is not
    /// asked again.
    async fn find_patiently(
        &self,
        author: Option<&str>,
        wanted: &str,
    ) -> Result<(SignedHead, Vec<String>), Miss> {
        let clock = self.world().clock();
        let began = clock.now();
        let heads = Heads::new(self.keepers(), self.world().clone());
        loop {
            let keepers = self.keepers();
            let missing = match self.find_now(&heads, author, wanted).await? {
                Ok(found) => return Ok(found),
                Err(missing) => missing,
            };
            // No keeper will ever speak with one that was removed.
            let is_out = self.roster().member(&self.me()).is_none();
            let left = PATIENCE.saturating_sub(clock.now().since(began));
            if is_out || missing.is_empty() || clock.within(left, keepers.changed()).await.is_none()
            {
                return Err(self.not_found(author, wanted, &missing).into());
            }
        }
    }

    /// Looks once. Comes with, or as its inner error, the names of members that were not reached and may know more.
    async fn find_now(
        &self,
        heads: &Heads<super::Directory<W>, W>,
        author: Option<&str>,
        wanted: &str,
    ) -> Result<Result<(SignedHead, Vec<String>), Vec<String>>, Miss> {
        let names = |missing: &[PeerKey]| {
            missing
                .iter()
                .map(|peer| name_of(&self.roster(), *peer))
                .collect::<Vec<_>>()
        };
        let authors = match author {
            Some(name) => self.author_called(name)?,
            None => {
                let all = heads.of_all_authors().await;
                match self.obvious_author(&all.heads)? {
                    Some(authors) => authors,
                    None => return Ok(Err(names(&all.missing))),
                }
            }
        };
        let mut collected = Collected::default();
        let is_latest = wanted == "latest";
        for author in authors {
            let of_one = if is_latest {
                heads.latest(author, &self.roster().choices(author)).await
            } else {
                heads.of(author, LOOKED_THROUGH_MAX).await
            };
            collected.heads.extend(of_one.heads);
            collected.missing = of_one.missing;
            collected.undisputed = of_one.undisputed;
            collected.unseen = of_one.unseen;
            // Numbers go on, so what a former Box took is older than anything its successor did.
            if is_latest && (!collected.heads.is_empty() || collected.unseen.is_some()) {
                break;
            }
        }
        if is_latest && (collected.heads.len() > 1 || collected.unseen.is_some()) {
            return Err(undecided(&collected).into());
        }
        let mut fitting: Vec<SignedHead> = match wanted.strip_prefix('@').map(str::parse) {
            Some(Ok(moment)) => newest_until(collected.heads, moment).into_iter().collect(),
            _ => {
                let fit = |signed: &SignedHead| fits(signed, wanted);
                collected.heads.into_iter().filter(fit).collect()
            }
        };
        match fitting.len() {
            0 => Ok(Err(names(&collected.missing))),
            1 => Ok(Ok((fitting.remove(0), names(&collected.missing)))),
            _ => {
                let ids = fitting
                    .iter()
                    .map(snapshot_id)
                    .collect::<Vec<_>>()
                    .join(", ");
                Err(Fault::new(
                    format!("several snapshots fit \"{wanted}\": {ids}"),
                    "Nothing was written.",
                    "Choose one with --snapshot ID.",
                )
                .exit(Exit::Usage)
                .into())
            }
        }
    }

    fn not_found(&self, author: Option<&str>, wanted: &str, missing: &[String]) -> Fault {
        let roster = self.roster();
        if roster.member(&self.me()).is_none() {
            return Fault::new(
                "this Box was removed from its reserve: it reaches nobody's snapshots",
                "Nothing was written.",
                "Ask on another Box of the reserve.",
            );
        }
        // A command that goes on with an author it was told names it by its key.
        let mut known = roster.members();
        known.extend(roster.former());
        let named = |author: &str| {
            let is_it = known.iter().find(|member| member.key.to_string() == author);
            is_it.map_or_else(|| author.to_owned(), |member| member.name.to_string())
        };
        not_found(author.map(named).as_deref(), wanted, missing)
    }

    /// The Box people mean, and the former ones whose history it continues.
    fn author_called(&self, name: &str) -> Result<Vec<PeerKey>, Fault> {
        let roster = self.roster();
        let authors = roster.authors_called(name);
        if !authors.is_empty() {
            return Ok(authors);
        }
        let mut known: Vec<_> = roster.members();
        known.extend(roster.former());
        let known: std::collections::BTreeSet<_> =
            known.iter().map(|member| member.name.as_str()).collect();
        let known = known.into_iter().collect::<Vec<_>>().join(", ");
        Err(Fault::new(
            format!("no Box of this reserve is called \"{name}\""),
            "Nothing was written.",
            format!("Choose one of: {known}."),
        )
        .exit(Exit::Usage))
    }

    /// Without a name: this Box's own snapshots, or those of the only author there is.
    fn obvious_author(&self, newest: &[SignedHead]) -> Result<Option<Vec<PeerKey>>, Miss> {
        let mut authors: Vec<_> = newest.iter().map(|signed| signed.head.author).collect();
        authors.sort_unstable();
        authors.dedup();
        let roster = self.roster();
        let mine = roster.lineage(self.me());
        if authors.iter().any(|author| mine.contains(author)) {
            return Ok(Some(mine));
        }
        // Whose history somebody continues is part of that one's.
        let lines: Vec<_> = authors
            .iter()
            .map(|author| roster.lineage(*author))
            .collect();
        authors.retain(|author| !lines.iter().any(|line| line[1..].contains(author)));
        match authors.as_slice() {
            [] => Ok(None),
            [only] => Ok(Some(roster.lineage(*only))),
            several => {
                let name = |author: &PeerKey| name_of(&self.roster(), *author);
                Err(Miss::Several(several.iter().map(name).collect()))
            }
        }
    }
}

/// The newest snapshot taken at or before a moment, by its author's clock. What waits for a person is not meant.
fn newest_until(heads: Vec<SignedHead>, moment: i64) -> Option<SignedHead> {
    let meant = |signed: &SignedHead| signed.head.accepted && signed.head.taken.seconds <= moment;
    heads
        .into_iter()
        .filter(meant)
        .max_by_key(|signed| (signed.head.taken, signed.head.number))
}

/// Whether a person who typed `wanted` may mean this snapshot.
fn fits(signed: &SignedHead, wanted: &str) -> bool {
    wanted == "latest"
        || wanted.parse() == Ok(signed.head.number.0)
        || (wanted.len() >= 4
            && signed
                .hash()
                .to_string()
                .starts_with(&wanted.to_ascii_lowercase()))
}

/// Nothing stands for `latest`: nobody guesses, and both sides are named.
fn undecided(collected: &Collected) -> Fault {
    let said = |signed: &SignedHead| {
        let (id, taken) = (snapshot_id(signed), text::utc(signed.head.taken.seconds));
        format!(
            "{id} (taken {taken}, {})",
            text::bytes(signed.head.sealed_bytes)
        )
    };
    let what = match &collected.unseen {
        Some(choice) => format!(
            "`latest` is snapshot {}, which a person chose, and no Box in reach has it",
            choice.head.short()
        ),
        None => {
            let number = collected
                .heads
                .first()
                .map_or(0, |signed| signed.head.number.0);
            let sides: Vec<_> = collected.heads.iter().map(said).collect();
            format!(
                "several newest snapshots bear the number {number}, and nothing decides which is `latest`: {}",
                sides.join(" and ")
            )
        }
    };
    let before = collected
        .undisputed
        .as_ref()
        .map_or_else(String::new, |signed| {
            format!(" The newest that nobody disputes is {}.", said(signed))
        });
    Fault::new(
        what,
        "Nothing was written.",
        format!(
            "Name one with --snapshot ID, or decide for all Boxes: `reserve conflicts` shows what each holds.{before}"
        ),
    )
    .exit(Exit::Usage)
}

fn not_found(author: Option<&str>, wanted: &str, missing: &[String]) -> Fault {
    let whose = author.map_or_else(String::new, |name| format!(" of {name}"));
    let todo = if missing.is_empty() {
        "`reserve snapshots` shows what there is.".to_owned()
    } else {
        format!(
            "These Boxes are out of reach and may know more: {}.",
            missing.join(", ")
        )
    };
    let which = match wanted.strip_prefix('@').map(str::parse) {
        Some(Ok(moment)) => format!("taken until {}", text::utc(moment)),
        _ => format!("\"{wanted}\""),
    };
    Fault::new(
        format!("no snapshot {which}{whose} was found"),
        "Nothing was written.",
        todo,
    )
}
