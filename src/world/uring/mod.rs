//! The real world: the ring for the keeper's own files, a helper thread for people's files, tokio for sockets and time.
//!
//! It decides nothing. [`run`] makes the ring and must be around everything else; [`Uring`] is the handle that flows get.

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "this is the outside the other rooms reach through the traits of src/world"
)]

use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;

mod alarm;
mod attributes;
mod buffer;
mod clock;
mod deep;
mod disk;
mod entropy;
mod file;
mod listing;
mod making;
mod net;
mod opening;
mod paths;
mod raw;
mod reading;
mod restoring;
mod small;
#[cfg(test)]
mod swap_tests;
mod task;
mod tree;
#[cfg(test)]
mod tree_tests;
mod unfinished;
mod xattrs;

pub use buffer::UringBuffer;
pub use clock::UringClock;
pub use deep::ShortPath;
pub use disk::UringDisk;
pub use entropy::UringEntropy;
pub use file::UringFile;
pub use net::{UringListener, UringNet};
pub use tree::{UringRoot, UringTree, UringTreeFile};

use super::World;

/// Places in the ring's submission queue: a full queue goes to the kernel at once, and `task` counts on it being full.
const RING_ENTRIES: u32 = 1;
/// Places for completions. More than that wait in the kernel.
const RING_COMPLETIONS: u32 = 128;

/// The outside of this process.
#[derive(Clone)]
pub struct Uring {
    parts: Rc<Parts>,
}

struct Parts {
    disk: UringDisk,
    tree: UringTree,
    net: UringNet,
    clock: UringClock,
    entropy: UringEntropy,
}

impl Uring {
    /// The world of a process that owns the state directory `state_dir`. Makes nothing on disk.
    ///
    /// Must be called inside [`run`].
    ///
    /// # Errors
    /// When the helper thread cannot be started.
    pub fn new(state_dir: &Path) -> io::Result<Self> {
        Self::new_with(state_dir, None)
    }

    /// The same, where one directory of it lies elsewhere: its name, and where it is.
    ///
    /// # Errors
    /// When the helper thread cannot be started.
    pub fn new_with(state_dir: &Path, elsewhere: Option<(&str, PathBuf)>) -> io::Result<Self> {
        Self::with(UringDisk::new(state_dir, elsewhere))
    }

    /// The world of a process that has no state directory, only people's files: every call of its `Disk` is refused.
    ///
    /// # Errors
    /// When the helper thread cannot be started.
    pub fn without_disk() -> io::Result<Self> {
        Self::with(UringDisk::none())
    }

    fn with(disk: UringDisk) -> io::Result<Self> {
        Ok(Self {
            parts: Rc::new(Parts {
                disk,
                tree: UringTree::new()?,
                net: UringNet,
                clock: UringClock::new(),
                entropy: UringEntropy,
            }),
        })
    }
}

impl World for Uring {
    type Disk = UringDisk;
    type Tree = UringTree;
    type Net = UringNet;
    type Clock = UringClock;
    type Entropy = UringEntropy;

    fn disk(&self) -> &UringDisk {
        &self.parts.disk
    }

    fn tree(&self) -> &UringTree {
        &self.parts.tree
    }

    fn net(&self) -> &UringNet {
        &self.parts.net
    }

    fn clock(&self) -> &UringClock {
        &self.parts.clock
    }

    fn entropy(&self) -> &UringEntropy {
        &self.parts.entropy
    }

    fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        drop(tokio::task::spawn_local(task));
    }
}

/// Makes the ring, runs `work` on it and returns its answer after the last disk operation it asked for has ended.
///
/// Tasks that were spawned and still wait for something else are dropped then.
///
/// # Errors
/// One sentence when the system does not allow io_uring; `work` was not begun then.
pub fn run<F: Future>(work: F) -> io::Result<F::Output> {
    raw::one_arena();
    let mut options = tokio_uring::uring_builder();
    options.setup_cqsize(RING_COMPLETIONS);
    let mut builder = tokio_uring::builder();
    builder.entries(RING_ENTRIES).uring_builder(&options);
    let ring = tokio_uring::Runtime::new(&builder).map_err(|error| no_ring(&error))?;
    Ok(ring.block_on(async {
        let answer = work.await;
        task::all_ended().await;
        answer
    }))
}

/// The same without a ring, for a process that has no [`Disk`](super::Disk): people's files, sockets and time need none.
///
/// # Errors
/// When the system has no descriptors or memory left.
pub fn run_without_ring<F: Future>(work: F) -> io::Result<F::Output> {
    raw::one_arena();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    Ok(tokio::task::LocalSet::new().block_on(&runtime, work))
}

/// Why there is no ring, as a sentence for a person.
fn no_ring(error: &io::Error) -> io::Error {
    let sentence = match rustix::io::Errno::from_io_error(error) {
        Some(rustix::io::Errno::NOSYS | rustix::io::Errno::PERM | rustix::io::Errno::ACCESS) => {
            format!(
                "this kernel or container does not allow io_uring ({error}); nothing was changed; set the sysctl \
             kernel.io_uring_disabled to 0, allow io_uring in the container's seccomp profile, or use Linux 5.11 or newer"
            )
        }
        Some(rustix::io::Errno::NOMEM) => format!(
            "there is not enough memory that may be locked for io_uring ({error}); nothing was changed; raise the limit \
             (ulimit -l, or LimitMEMLOCK= in the unit)"
        ),
        _ => format!(
            "io_uring could not be started ({error}); nothing was changed; free descriptors or memory and try again"
        ),
    };
    io::Error::new(error.kind(), sentence)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::{Disk, Tree};

    /// Runs a test's story on a ring, or says why it cannot.
    pub(super) fn in_ring(story: impl Future<Output = ()>) {
        if let Err(error) = run(story) {
            eprintln!("skipped, because {error}");
        }
    }

    #[test]
    fn a_refused_ring_is_explained_in_one_sentence() {
        for errno in [rustix::io::Errno::NOSYS, rustix::io::Errno::PERM] {
            let said = no_ring(&io::Error::from(errno)).to_string();
            assert!(
                said.starts_with("this kernel or container does not allow io_uring"),
                "{said}"
            );
            assert!(
                said.contains("nothing was changed") && !said.contains('\n'),
                "{said}"
            );
        }
        let said = no_ring(&io::Error::from(rustix::io::Errno::NOMEM)).to_string();
        assert!(said.contains("LimitMEMLOCK"), "{said}");
    }

    #[test]
    fn a_process_without_a_state_directory_needs_no_ring_and_is_refused_a_disk() {
        let told = run_without_ring(async {
            let world = Uring::without_disk().expect("starts");
            world.tree().stat(b"/").await.expect("there is a root");
            world
                .disk()
                .read_small("roster")
                .await
                .expect_err("there is no disk")
        });
        assert_eq!(told.expect("runs").kind(), io::ErrorKind::Unsupported);
    }

    #[test]
    fn spawned_tasks_run_beside_their_spawner() {
        in_ring(async {
            let world = Uring::without_disk().expect("starts");
            let (tell, told) = tokio::sync::oneshot::channel();
            world.spawn(async move { tell.send(7).expect("somebody waits") });
            assert_eq!(told.await, Ok(7));
        });
    }
}
