//! The keeper's own files: few, ours alone, below one state directory.
//!
//! Reads, writes and syncs go through the ring, each as a task of its own; the short calls the ring does not have (listing,
//! space) are made in place. Not for people's files: those may hang, see `tree`.

use std::cell::{Cell, OnceCell};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Component, Path, PathBuf};
use std::rc::Rc;

use rustix::fs::OFlags;
use tokio_uring::fs::OpenOptions;

use super::buffer::{Pool, UringBuffer};
use super::file::{Shared, UringFile};
use super::opening::{only_reads, open_as, read_only, read_write};
use super::small::{self, remove_if_there};
use super::task::to_its_end;
use crate::world::Disk;

/// The state directory of this Box.
#[derive(Clone)]
pub struct UringDisk {
    inner: Rc<Inner>,
}

struct Inner {
    root: Option<PathBuf>,
    /// A directory of it that lies elsewhere: its name, and where. Commits go there, so it is the one that is asked whether it spins.
    elsewhere: Option<(String, PathBuf)>,
    rotational: bool,
    /// Whether to ask for direct I/O; the tests also go without.
    direct: bool,
    register: bool,
    pool: OnceCell<Rc<Pool>>,
    syncs: Rc<Cell<u64>>,
    /// Small files are replaced one after the other, in the order asked: two writers of one name share what they write aside.
    replacing: tokio::sync::Mutex<()>,
}

impl UringDisk {
    pub(super) fn new(root: &Path, elsewhere: Option<(&str, PathBuf)>) -> Self {
        Self::with(Some(root), elsewhere, true, true)
    }

    pub(super) fn none() -> Self {
        Self::with(None, None, false, false)
    }

    fn with(
        root: Option<&Path>,
        elsewhere: Option<(&str, PathBuf)>,
        direct: bool,
        register: bool,
    ) -> Self {
        let elsewhere = elsewhere.map(|(name, place)| (name.to_owned(), place));
        let commits_to = elsewhere.as_ref().map(|(_, place)| place.as_path());
        let disk = Self {
            inner: Rc::new(Inner {
                root: root.map(Path::to_path_buf),
                rotational: commits_to.or(root).is_some_and(spins),
                elsewhere,
                direct,
                register,
                pool: OnceCell::new(),
                syncs: Rc::default(),
                replacing: tokio::sync::Mutex::new(()),
            }),
        };
        if root.is_some() {
            // Memory is fixed at start, not at the first write.
            disk.pool();
        }
        disk
    }

    /// How often a file or directory was made durable since the start.
    #[must_use]
    pub fn syncs(&self) -> u64 {
        self.inner.syncs.get()
    }

    fn pool(&self) -> &Rc<Pool> {
        self.inner
            .pool
            .get_or_init(|| Pool::new(self.inner.register))
    }

    /// Where a relative path is; only plain names are allowed in it.
    fn locate(&self, path: &str) -> io::Result<PathBuf> {
        let root = self.inner.root.as_ref().ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::Unsupported,
                "this process has no state directory",
            )
        })?;
        if Path::new(path)
            .components()
            .all(|part| matches!(part, Component::Normal(_)))
        {
            Ok(match self.elsewhere(path) {
                Some((place, below)) => place.join(below),
                None if path.is_empty() => root.clone(),
                None => root.join(path),
            })
        } else {
            Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("{path:?} is not a path inside the state directory"),
            ))
        }
    }

    /// The directory that lies elsewhere, if a path is of it, and where in it.
    fn elsewhere<'a>(&'a self, path: &'a str) -> Option<(&'a Path, &'a Path)> {
        let (name, place) = self.inner.elsewhere.as_ref()?;
        let below = Path::new(path).strip_prefix(name).ok()?;
        Some((place, below))
    }

    /// Makes the names in a directory durable.
    async fn sync_names(&self, dir: PathBuf) -> io::Result<()> {
        self.inner.syncs.set(self.inner.syncs.get() + 1);
        let flags = OFlags::DIRECTORY.bits().cast_signed();
        OpenOptions::new()
            .read(true)
            .custom_flags(flags)
            .open(dir)
            .await?
            .sync_all()
            .await
    }
}

impl Disk for UringDisk {
    type Buffer = UringBuffer;
    type File = UringFile;

    async fn buffer(&self) -> UringBuffer {
        self.pool().take().await
    }

    async fn list(&self, dir: &str) -> io::Result<Vec<String>> {
        let dir = self.locate(dir)?;
        let entries = match std::fs::read_dir(dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut names = Vec::new();
        for entry in entries {
            let entry = entry?;
            // Our own names are plain text; anything else is a stranger's and none of our business.
            if entry.file_type()?.is_file()
                && let Ok(name) = entry.file_name().into_string()
            {
                names.push(name);
            }
        }
        names.sort();
        Ok(names)
    }

    async fn make_dir(&self, dir: &str) -> io::Result<()> {
        let (disk, path) = (self.clone(), self.locate(dir)?);
        let elsewhere = self.elsewhere(dir).map(|(place, _)| place.to_owned());
        to_its_end(async move {
            // From the top down, each name durable before the next is made below it. Parents of the state directory that
            // are there already are not ours to sync.
            let ours = elsewhere.clone().or_else(|| disk.inner.root.clone());
            let ours = ours.unwrap_or_default();
            let mut above: Vec<&Path> = path
                .ancestors()
                .filter(|part| !part.as_os_str().is_empty())
                .collect();
            above.reverse();
            for part in above {
                // Where something lies elsewhere a disk is expected: nothing is made in its place.
                let is_on_the_way = part != ours && ours.starts_with(part);
                if elsewhere.is_some() && is_on_the_way && !part.is_dir() {
                    let why = format!("{} is not there; is its disk mounted?", part.display());
                    return Err(io::Error::new(io::ErrorKind::NotFound, why));
                }
                let made = match std::fs::DirBuilder::new().mode(0o700).create(part) {
                    Ok(()) => true,
                    Err(_) if part.is_dir() => false,
                    Err(error) => return Err(error),
                };
                let is_ours = part != ours && part.starts_with(&ours);
                if (made || is_ours)
                    && let Some(parent) = part.parent()
                {
                    let parent = if parent.as_os_str().is_empty() {
                        Path::new(".")
                    } else {
                        parent
                    };
                    disk.sync_names(parent.to_path_buf()).await?;
                }
            }
            Ok(())
        })
        .await
    }

    async fn open(&self, path: &str, create_new: bool) -> io::Result<UringFile> {
        let (disk, path) = (self.clone(), self.locate(path)?);
        to_its_end(async move {
            // A file is never created with O_DIRECT: where that is refused, the kernel may leave the file behind.
            let plain = match create_new {
                true => Some(read_write().create_new(true).open(&path).await?),
                false => None,
            };
            let direct = disk.inner.direct;
            let (file, direct) = match open_as(read_write, &path, (direct, plain)).await {
                // A file system that became read-only gives what is kept on it all the same.
                Err(error) if !create_new && only_reads(&error) => {
                    open_as(read_only, &path, (direct, None)).await?
                }
                opened => opened?,
            };
            let shared = Shared {
                file,
                direct,
                registered: disk.pool().is_registered(),
                syncs: Rc::clone(&disk.inner.syncs),
            };
            Ok(UringFile::new(shared))
        })
        .await
    }

    async fn read_small(&self, path: &str) -> io::Result<Option<Vec<u8>>> {
        let path = self.locate(path)?;
        to_its_end(async move { small::read(&path).await }).await
    }

    async fn replace_small(&self, path: &str, bytes: &[u8], secret: bool) -> io::Result<()> {
        let (disk, path, bytes) = (self.clone(), self.locate(path)?, bytes.to_vec());
        to_its_end(async move {
            let _turn = disk.inner.replacing.lock().await;
            small::write(&path, bytes, secret).await?;
            disk.inner.syncs.set(disk.inner.syncs.get() + 1);
            match path.parent() {
                Some(parent) => disk.sync_names(parent.to_path_buf()).await,
                None => Ok(()),
            }
        })
        .await
    }

    async fn remove(&self, path: &str) -> io::Result<()> {
        let path = self.locate(path)?;
        to_its_end(async move { remove_if_there(&path).await }).await
    }

    async fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let (from, to) = (self.locate(from)?, self.locate(to)?);
        to_its_end(async move { tokio_uring::fs::rename(&from, &to).await }).await
    }

    async fn sync_dir(&self, dir: &str) -> io::Result<()> {
        let (disk, dir) = (self.clone(), self.locate(dir)?);
        to_its_end(async move { disk.sync_names(dir).await }).await
    }

    async fn free_bytes(&self, dir: &str) -> io::Result<u64> {
        let space = rustix::fs::statvfs(self.locate(dir)?)?;
        Ok(space.f_bavail.saturating_mul(space.f_frsize))
    }

    async fn pressure_percent(&self) -> Option<u8> {
        let told = small::read(Path::new("/proc/pressure/io")).await.ok()??;
        some_percent(std::str::from_utf8(&told).ok()?)
    }

    fn is_rotational(&self) -> bool {
        self.inner.rotational
    }
}

/// The kernel's figure for the last ten seconds (Documentation/accounting/psi.rst): `some avg10=1.53 avg60=0.87 avg300=0.73 total=1`.
fn some_percent(told: &str) -> Option<u8> {
    let line = told.lines().find(|line| line.starts_with("some "))?;
    let avg10 = line
        .split(' ')
        .find_map(|word| word.strip_prefix("avg10="))?;
    let (whole, _) = avg10.split_once('.')?;
    whole.parse().ok()
}

/// Whether the device below a path (or below what will be its parent) spins. Unknown is no.
fn spins(path: &Path) -> bool {
    let Some(found) = path
        .ancestors()
        .find_map(|part| rustix::fs::stat(part).ok())
    else {
        return false;
    };
    let (major, minor) = (
        rustix::fs::major(found.st_dev),
        rustix::fs::minor(found.st_dev),
    );
    let device = PathBuf::from(format!("/sys/dev/block/{major}:{minor}"));
    // A partition has no queue of its own; its disk, one above, has.
    ["queue/rotational", "../queue/rotational"]
        .iter()
        .find_map(|place| std::fs::read(device.join(place)).ok())
        .is_some_and(|said| said.first() == Some(&b'1'))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::terms::limits::{BLOCK_BYTES, STORE_BUFFERS};
    use crate::world::DiskFile;
    use crate::world::uring::task::all_ended;
    use crate::world::uring::tests::in_ring;

    /// Writes blocks from the middle of a buffer, reads them back beyond the end.
    async fn round_trip(disk: UringDisk) {
        disk.make_dir("store/segments").await.expect("makes");
        let file = disk.open("store/segments/a", true).await.expect("creates");
        let mut buffer = disk.buffer().await;
        for (number, byte) in buffer.iter_mut().enumerate() {
            *byte = u8::try_from(number / BLOCK_BYTES % 251).expect("below 251");
        }
        let (written, mut buffer) = file.write_at(buffer, BLOCK_BYTES, 8 * BLOCK_BYTES, 0).await;
        written.expect("writes");
        file.sync_data().await.expect("syncs");
        assert_eq!(file.len().await.expect("tells"), 8 * BLOCK_BYTES as u64);
        drop(file);

        let file = disk.open("store/segments/a", false).await.expect("opens");
        buffer.fill(0xff);
        let (read, buffer) = file
            .read_at(buffer, 0, 16 * BLOCK_BYTES, BLOCK_BYTES as u64)
            .await;
        assert_eq!(read.expect("reads"), 7 * BLOCK_BYTES);
        for block in 0..7 {
            let bytes = &buffer[block * BLOCK_BYTES..(block + 1) * BLOCK_BYTES];
            assert!(
                bytes.iter().all(|byte| usize::from(*byte) == block + 2),
                "block {block}"
            );
        }
        assert!(
            buffer[16 * BLOCK_BYTES..].iter().all(|byte| *byte == 0xff),
            "outside the part asked for nothing is touched"
        );

        file.set_len(100).await.expect("cuts");
        let (read, buffer) = file.read_at(buffer, 0, BLOCK_BYTES, 0).await;
        assert_eq!(read.expect("reads what is left"), 100);
        let (refused, _) = file.read_at(buffer, usize::MAX, 2, 0).await;
        assert_eq!(
            refused.expect_err("outside the buffer").kind(),
            io::ErrorKind::InvalidInput
        );
        let again = disk.open("store/segments/a", true).await.map(|_| ());
        assert_eq!(
            again.expect_err("it exists").kind(),
            io::ErrorKind::AlreadyExists
        );
    }

    #[test]
    fn what_is_written_is_read_whatever_the_system_refuses() {
        for place in [std::env::temp_dir(), PathBuf::from("/dev/shm")] {
            if !place.is_dir() {
                eprintln!("skipped {}, because it is not there", place.display());
                continue;
            }
            for direct in [true, false] {
                for register in [true, false] {
                    in_ring(async {
                        let dir = tempfile::tempdir_in(&place).expect("a directory");
                        round_trip(UringDisk::with(Some(dir.path()), None, direct, register)).await;
                    });
                }
            }
        }
    }

    #[test]
    fn a_write_that_nobody_waits_for_is_still_made() {
        in_ring(async {
            let dir = tempfile::tempdir().expect("a directory");
            let disk = UringDisk::new(dir.path(), None);
            let file = disk.open("a", true).await.expect("creates");
            let mut buffer = disk.buffer().await;
            buffer.fill(7);
            {
                let mut writing = std::pin::pin!(file.write_at(buffer, 0, BLOCK_BYTES, 0));
                std::future::poll_fn(|context| {
                    assert!(writing.as_mut().poll(context).is_pending());
                    std::task::Poll::Ready(())
                })
                .await;
            }
            all_ended().await;
            let bytes = std::fs::read(dir.path().join("a")).expect("reads");
            assert_eq!(bytes, vec![7; BLOCK_BYTES]);
            // And its buffer came back.
            let mut all = Vec::new();
            for _ in 0..STORE_BUFFERS {
                all.push(disk.buffer().await);
            }
        });
    }

    #[test]
    fn a_ring_is_not_left_before_its_last_write() {
        let dir = tempfile::tempdir().expect("a directory");
        let mut began = false;
        in_ring(async {
            let disk = UringDisk::new(dir.path(), None);
            let file = disk.open("a", true).await.expect("creates");
            let mut buffer = disk.buffer().await;
            buffer.fill(9);
            drop(tokio::task::spawn_local(async move {
                let _ = file.write_at(buffer, 0, BLOCK_BYTES, 0).await;
            }));
            tokio::task::yield_now().await;
            began = true;
        });
        if began {
            let bytes = std::fs::read(dir.path().join("a")).expect("reads");
            assert_eq!(bytes, vec![9; BLOCK_BYTES]);
        }
    }

    #[test]
    fn names_are_listed_moved_and_removed_and_never_lead_outside() {
        in_ring(async {
            let dir = tempfile::tempdir().expect("a directory");
            let disk = UringDisk::new(&dir.path().join("not/there/yet"), None);
            assert_eq!(
                disk.list("store").await.expect("none"),
                Vec::<String>::new()
            );
            disk.make_dir("store").await.expect("makes");
            disk.make_dir("store").await.expect("is there already");
            for name in ["store/b", "store/a"] {
                disk.open(name, true).await.expect("creates");
            }
            disk.make_dir("store/dir").await.expect("makes");
            assert_eq!(disk.list("store").await.expect("lists"), ["a", "b"]);
            disk.rename("store/a", "store/b").await.expect("renames");
            disk.sync_dir("store").await.expect("syncs");
            assert_eq!(disk.list("store").await.expect("lists"), ["b"]);
            disk.remove("store/b").await.expect("removes");
            disk.remove("store/b").await.expect("is gone already");
            assert!(disk.free_bytes("").await.expect("tells") > 0);
            for outside in ["../x", "/etc/passwd", "store/../../x"] {
                let refused = disk.read_small(outside).await.expect_err("outside");
                assert_eq!(refused.kind(), io::ErrorKind::InvalidInput, "{outside}");
            }
            let mode = std::fs::metadata(dir.path().join("not/there/yet/store")).expect("is there");
            assert_eq!(mode.permissions().mode() & 0o777, 0o700);
        });
    }
}
