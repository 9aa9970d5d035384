//! Whether the store is where it was: its name is remembered beside it, in the Box's state directory.
//!
//! A disk that is not mounted, was emptied or is another one looks like a store that was never begun. It is not begun then: nothing is
//! written below an empty mount point, and an empty store is no wish to delete. A person who replaced the disk says so ([`begin_anew`]).

use std::io;

use super::holding::Inner;
use super::loading::header_of;
use super::open::{Identity, decode_identity};
use super::reading::Window;
use super::store::Store;
use super::writing::{STORE_DIR, number_of, path_of};
use crate::format::encode_file;
use crate::terms::StoreId;
use crate::world::{Disk, World};

pub(super) const ID_PATH: &str = "store/id";
/// The same beside the store.
pub(super) const REMEMBERED_PATH: &str = "store-id";

/// What stands where the store should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// It, or the first one this Box ever had.
    Here,
    /// Nothing of it.
    Gone,
    /// Another one.
    Other,
}

impl Presence {
    /// What is wrong, for people; nothing if it is here.
    #[must_use]
    pub const fn in_words(self) -> Option<&'static str> {
        match self {
            Self::Here => None,
            Self::Gone => {
                Some("there is nothing of it in the store's directory; is its disk mounted?")
            }
            Self::Other => Some("another store is in its directory; is the right disk mounted?"),
        }
    }
}

/// Looks; changes nothing.
///
/// # Errors
/// What the operating system says when a file cannot be read: then nobody knows.
pub async fn presence<D: Disk>(disk: &D) -> io::Result<Presence> {
    let Some(remembered) = disk.read_small(REMEMBERED_PATH).await? else {
        return Ok(Presence::Here);
    };
    let remembered = decode_identity(&remembered).ok().map(|known| known.store);
    Ok(match (named(disk).await?, remembered) {
        (None, _) => Presence::Gone,
        (Some(found), Some(ours)) if found != ours => Presence::Other,
        // What cannot be read any more is written anew when there is a store to name.
        (Some(_), _) => Presence::Here,
    })
}

/// The name of the store that is there: by its file, or by its segments.
async fn named<D: Disk>(disk: &D) -> io::Result<Option<StoreId>> {
    let by_file = disk.read_small(ID_PATH).await?;
    if let Some(Ok(identity)) = by_file.map(|bytes| decode_identity(&bytes)) {
        return Ok(Some(identity.store));
    }
    let names = disk.list(STORE_DIR).await?;
    let mut window = Window::new(disk).await;
    for number in names.iter().filter_map(|name| number_of(name)) {
        let Ok(file) = disk.open(&path_of(number), false).await else {
            continue;
        };
        if let Some(header) = header_of(&mut window, &(number, file)).await {
            return Ok(Some(header.store));
        }
    }
    Ok(None)
}

/// A person says that the store is gone for good: the next start begins a new one. Nothing else is changed, and nothing at all unless it
/// is gone.
///
/// # Errors
/// What the operating system says.
pub async fn begin_anew<D: Disk>(disk: &D) -> io::Result<Presence> {
    let found = presence(disk).await?;
    if found == Presence::Gone {
        disk.remove(REMEMBERED_PATH).await?;
        disk.sync_dir("").await?;
    }
    Ok(found)
}

/// Remembers which store this Box has.
pub(super) async fn remember<D: Disk>(disk: &D, identity: &Identity) -> io::Result<()> {
    let wanted = encode_file(identity);
    if disk.read_small(REMEMBERED_PATH).await?.as_ref() == Some(&wanted) {
        return Ok(());
    }
    disk.replace_small(REMEMBERED_PATH, &wanted, false).await
}

impl<W: World> Store<W> {
    /// What stands where the store should be, now. It may be here again though it was lost; then the service has to begin anew.
    ///
    /// # Errors
    /// As [`presence`].
    pub async fn presence(&self) -> io::Result<Presence> {
        presence(self.inner().world.disk()).await
    }

    /// Whether it was not here when it was opened: then it holds nothing, takes nothing and writes nothing.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        self.inner().is_lost.get()
    }
}

impl<W: World> Inner<W> {
    /// Whether what is written below the store's directory now would be written to the store.
    pub(super) async fn is_at_home(&self) -> bool {
        !self.is_lost.get() && matches!(presence(self.world.disk()).await, Ok(Presence::Here))
    }
}
