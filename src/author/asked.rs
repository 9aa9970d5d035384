//! What a snapshot is asked to be: by whom, of what, and how.

use std::rc::Rc;

use ed25519_dalek::SigningKey;
use smol_str::SmolStr;

use super::closure::Keyring;
use super::sizes::Sizes;
use crate::format::keys::DataKeys;
use crate::format::roster::Choice;
use crate::terms::{PeerKey, ReserveId, Suite};

/// Who the author is.
#[derive(Clone)]
pub struct AuthorIdentity {
    /// Its identity's key.
    pub signing: SigningKey,
    /// Its reserve.
    pub reserve: ReserveId,
    /// Itself and the former Boxes whose history it continues, newest first.
    pub line: Vec<PeerKey>,
    /// What people chose between snapshots of its own that bear one number.
    pub choices: Vec<Choice>,
    /// What it seals with.
    pub keys: Rc<DataKeys>,
    /// Keys of earlier epochs, newest first: what was sealed under them is looked for before it is sent again, by a Box that remembers
    /// nothing and for files that begin as they did.
    pub older: Vec<Rc<DataKeys>>,
    /// What it opens with: chunks of older epochs stay where they are.
    pub keyring: Keyring,
    /// The cipher that is fast on all Boxes.
    pub suite: Suite,
}

impl AuthorIdentity {
    /// Its public key.
    #[must_use]
    pub fn peer(&self) -> PeerKey {
        PeerKey(self.signing.verifying_key().to_bytes())
    }
}

/// A data set of this Box.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataSetConfig {
    /// The name a person gave it.
    pub name: SmolStr,
    /// Where it is: a directory or a single file.
    pub path: Vec<u8>,
}

/// How a snapshot is to be taken.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options {
    /// Return when it is protected, or when no keeper that can be reached can make it so; else when its head is published.
    pub wait_protected: bool,
    /// Accept that much is gone or rewritten, and the ground each data set stands on now.
    pub accept_loss: bool,
    /// Begin even if it looks as if there were no room for it.
    pub try_anyway: bool,
    /// If nothing changed since the last snapshot, sign no new head: the last one is confirmed anew.
    pub only_news: bool,
    /// How large everything is.
    pub sizes: Sizes,
}
