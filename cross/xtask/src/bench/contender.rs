//! Whoever is measured, behind one face: `reserve` with its Boxes, and each peer with its store.

use std::path::{Path, PathBuf};

use anyhow::Result;

use super::boxes::Reserve;
use super::measure::{Cost, read_report, run};
use super::peers::{Peer, Place, SECOND};
use super::stage::{Stage, disk_bytes};

/// A contender with an empty store.
pub enum Contender<'a> {
    /// Ourselves: the author's Box and one other.
    Reserve(Reserve<'a>),
    /// Another program.
    Peer(Box<PeerAtWork<'a>>),
}

/// A peer with its place.
pub struct PeerAtWork<'a> {
    stage: &'a Stage,
    peer: &'a Peer,
    place: Place,
}

impl<'a> PeerAtWork<'a> {
    /// Makes its store.
    pub fn prepare(stage: &'a Stage, peer: &'a Peer, program: &Path, data: &Path) -> Result<Self> {
        let own = stage.empty("peer")?;
        let place = Place {
            program: program.to_owned(),
            data: data.to_owned(),
            store: own.join("store"),
            to: stage.path("came-back"),
            own,
            number: 0,
        };
        for order in (peer.prepare)(&place) {
            run(stage, peer.name, &order)?;
        }
        Ok(Self { stage, peer, place })
    }

    fn measured(&self, order: &super::measure::Order) -> Result<Cost> {
        let second = self.place.own.join(SECOND);
        // Of an earlier command, if there is one.
        let _ = std::fs::remove_file(&second);
        let done = run(self.stage, self.peer.name, order)?;
        let mut parts = vec![done.part];
        if let Ok((_, part)) = read_report(&second, "second process") {
            // The first waited for it, so its time is in the first's already; its memory is not.
            parts[0].cpu_s -= part.cpu_s;
            parts.push(part);
        }
        Ok(Cost {
            wall_s: done.wall_s,
            parts,
            ..Cost::default()
        })
    }
}

impl Contender<'_> {
    /// Takes a snapshot.
    pub fn snapshot(&mut self) -> Result<Cost> {
        match self {
            Self::Reserve(reserve) => reserve.snapshot(),
            Self::Peer(peer) => {
                peer.place.number += 1;
                peer.measured(&(peer.peer.snapshot)(&peer.place))
            }
        }
    }

    /// Reads everything again; `None` if it cannot.
    pub fn verify(&mut self) -> Result<Option<Cost>> {
        match self {
            Self::Reserve(reserve) => reserve.sweep(),
            Self::Peer(peer) => {
                let order = peer.peer.verify.map(|verify| verify(&peer.place));
                order.map(|order| peer.measured(&order)).transpose()
            }
        }
    }

    /// Gets everything back into an empty directory.
    pub fn retrieve(&mut self, to: &Path) -> Result<Cost> {
        match self {
            Self::Reserve(reserve) => reserve.retrieve(to),
            Self::Peer(peer) => {
                peer.place.to = to.to_owned();
                peer.measured(&(peer.peer.retrieve)(&peer.place))
            }
        }
    }

    /// Bytes of its store.
    pub fn stored_bytes(&self) -> u64 {
        match self {
            Self::Reserve(reserve) => reserve.stored_bytes(),
            Self::Peer(peer) => {
                rustix::fs::sync();
                disk_bytes(&peer.place.store)
            }
        }
    }

    /// Whether a second snapshot leaves alone what has not changed.
    pub fn has_history(&self) -> bool {
        match self {
            Self::Reserve(_) => true,
            Self::Peer(peer) => peer.peer.has_history(),
        }
    }
}

/// A peer that was found.
pub struct Found {
    /// What it is.
    pub peer: &'static Peer,
    /// Where.
    pub program: PathBuf,
    /// Its version, as it says.
    pub version: String,
}

impl Found {
    /// For people.
    pub fn told(&self) -> String {
        let note = if self.peer.is_encrypted {
            ""
        } else {
            " (encrypts nothing)"
        };
        format!("{}{note}", self.version)
    }
}
