//! Files whose pieces fill entries of their own: their parts follow each other and add up, or the index is wrong.

use std::rc::Rc;

use super::Source;
use super::files::OpenDir;
use super::kinds::{Name, given};
use super::large::{LargeFile, Plan};
use super::rebuild::{Rebuild, chunk_of};
use super::report::RetrieveError;
use super::selection::placed;
use crate::format::index::{Content, Entry, Page, Piece, What};
use crate::world::World;

/// A file whose entries go on.
pub(super) struct OpenFile<W: World, S: Source> {
    /// There unless the name is linked to one that stands.
    file: Option<Rc<LargeFile<W, S>>>,
    path: Vec<u8>,
    bytes: u64,
    reach: u64,
    next_part: u32,
}

impl<W: World, S: Source> Rebuild<'_, W, S> {
    pub(super) async fn large_file(
        &mut self,
        page: &Page,
        entry: &Entry,
        dir: &Rc<OpenDir>,
        name: &[u8],
    ) -> Result<(), RetrieveError> {
        let What::File {
            bytes, has_holes, ..
        } = entry.what
        else {
            return Ok(());
        };
        let (attributes, _) = given(entry);
        let place = dir.path_of(name);
        let mut named = Name::Make(None);
        if dir.usable {
            named = self
                .work
                .name_for(self.base, page, entry, &place, bytes)
                .await;
        }
        if let Name::Waits(print) = named {
            // All pieces of the first name are on their way: its end was met.
            let like = (bytes, attributes.mtime);
            named = self.work.name_after(print, &place, like).await;
        }
        let file = match named {
            Name::Make(turn) => {
                let plan = Plan {
                    path: place,
                    bytes,
                    has_holes,
                    attributes,
                    turn,
                };
                Some(LargeFile::create(self.work, dir.clone(), plan).await)
            }
            Name::Waits(_) | Name::Done => None,
        };
        self.open = Some(OpenFile {
            file,
            path: entry.path.to_vec(),
            bytes,
            reach: 0,
            next_part: 0,
        });
        self.pieces(page, entry).await
    }

    /// An entry that goes on with a file: the one before it told its beginning, or that was lost.
    pub(super) async fn next_part(
        &mut self,
        page: &Page,
        entry: &Entry,
    ) -> Result<(), RetrieveError> {
        let What::File {
            content: Content::Pieces { part, last, .. },
            ..
        } = &entry.what
        else {
            return Ok(());
        };
        let goes_on = |open: &OpenFile<W, S>| open.path == *entry.path && open.next_part == *part;
        if self.open.as_ref().is_some_and(goes_on) {
            return self.pieces(page, entry).await;
        }
        if !self.gap {
            return Err(RetrieveError::wrong_index(
                "an entry goes on with a file that was not begun",
            ));
        }
        self.abandon("a part of it is listed in a piece of the index that is lost")
            .await;
        if *last {
            let place = placed(self.base, &entry.path);
            self.work.fail(
                &place,
                "a part of it is listed in a piece of the index that is lost",
            );
        }
        Ok(())
    }

    /// Begins the pieces of one entry, as the window has room for them.
    pub(super) async fn pieces(&mut self, page: &Page, entry: &Entry) -> Result<(), RetrieveError> {
        let (
            Some(open),
            What::File {
                content: Content::Pieces { pieces, last, .. },
                ..
            },
        ) = (&mut self.open, &entry.what)
        else {
            return Ok(());
        };
        for piece in pieces {
            let offset = open.reach;
            open.reach = offset.saturating_add(piece.bytes());
            if open.reach > open.bytes {
                return Err(RetrieveError::wrong_index(
                    "a file's pieces reach beyond its end",
                ));
            }
            let Some(file) = &open.file else {
                continue;
            };
            file.meets(piece, offset).await;
            let Piece::Data { chunk, bytes } = *piece else {
                continue;
            };
            if !file.wants(offset + u64::from(bytes)) {
                continue;
            }
            let id = chunk_of(page, chunk)?;
            let permit = self.work.of_window(bytes.div_ceil(1024)).await;
            file.expect_piece();
            let file = file.clone();
            self.work.world.spawn(async move {
                file.write_piece(id, bytes, offset).await;
                drop(permit);
            });
        }
        open.next_part = open.next_part.saturating_add(1);
        if *last {
            if open.reach != open.bytes {
                return Err(RetrieveError::wrong_index("a file's pieces do not add up"));
            }
            if let Some(file) = self.open.take().and_then(|open| open.file) {
                file.complete().await;
            }
        }
        Ok(())
    }

    /// Discards the file whose end does not come.
    pub(super) async fn abandon(&mut self, reason: &str) {
        if let Some(file) = self.open.take().and_then(|open| open.file) {
            file.fail(reason);
            file.complete().await;
        }
    }
}
