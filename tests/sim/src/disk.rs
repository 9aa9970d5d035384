//! A keeper's disk as the product sees it: the platter behind a little virtual time, with its faults.
//!
//! As strict as direct I/O may be: offsets and lengths that are not whole blocks are refused.

use std::cell::RefCell;
use std::io;
use std::ops::{Deref, DerefMut};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use reserve::terms::Stamp;
use reserve::terms::limits::{BLOCK_BYTES, STORE_BUFFER_BYTES, STORE_BUFFERS};
use reserve::world::{Buffer, Disk, DiskFile};

use crate::faults::Landing;
use crate::lie::Lie;
use crate::machine::{Boot, Machine, no_power};
use crate::platter::{Inode, Platter};

const EINVAL: i32 = 22;
const BLOCK: u64 = BLOCK_BYTES as u64;
/// How paths of segments begin.
const SEGMENTS: &str = "store/seg-";

/// What a new buffer holds: not zeros, so that nobody comes to rely on them.
const STALE: u8 = 0xa5;
/// So many bytes of each read are in the trace.
const TRACED_OF_A_READ: usize = 64;

/// What a disk did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DiskStats {
    /// Reads of open files.
    pub reads: u64,
    /// Bytes they brought.
    pub read_bytes: u64,
    /// Writes to open files.
    pub writes: u64,
    /// Bytes they took.
    pub written_bytes: u64,
    /// Syncs of files, those of small replaced ones included.
    pub syncs: u64,
    /// Syncs of directories, those of small replaced files included.
    pub dir_syncs: u64,
}

/// A keeper's disk.
#[derive(Clone)]
pub struct SimDisk {
    boot: Boot,
    pool: Rc<Pool>,
}

/// An open file.
#[derive(Clone)]
pub struct SimFile {
    boot: Boot,
    path: Rc<str>,
    inode: Inode,
}

/// The buffers of one boot.
pub(crate) struct Pool {
    spare: Rc<RefCell<Vec<Vec<u8>>>>,
    permits: Arc<Semaphore>,
}

/// A buffer out of the pool; dropping it gives it back.
pub struct SimBuffer {
    bytes: Vec<u8>,
    /// Absent in the empty buffer that stands in for one that a power cut took away.
    home: Option<(Rc<Pool>, OwnedSemaphorePermit)>,
}

enum Cost {
    Name,
    Bytes(usize),
    Sync,
}

impl SimDisk {
    pub(crate) fn new(boot: Boot) -> Self {
        Self {
            pool: boot.pool(),
            boot,
        }
    }

    /// Lets one bit of a file rot.
    ///
    /// # Errors
    /// If there is no such file.
    pub fn flip_bit(&self, path: &str, offset: u64, bit: u8) -> io::Result<()> {
        let machine = &self.boot.machine;
        machine.event("rot", &[offset, u64::from(bit)], path.as_bytes());
        machine.platter.borrow_mut().flip_bit(path, offset, bit)
    }

    /// A deed on the platter that is named and traced.
    async fn deed<T: 'static>(
        &self,
        what: &'static str,
        path: &str,
        cost: Cost,
        work: impl FnOnce(&Machine, &mut Platter, &str) -> io::Result<T> + 'static,
    ) -> io::Result<T> {
        let path = path.to_owned();
        let takes = cost.time(&self.boot.machine);
        let done = self.boot.disk_deed(takes, move |machine| {
            let there = machine.check_there();
            let result =
                there.and_then(|()| work(machine, &mut machine.platter.borrow_mut(), &path));
            machine.event(what, &[u64::from(result.is_ok())], path.as_bytes());
            result
        });
        done.await.unwrap_or_else(|| Err(no_power()))
    }
}

impl Disk for SimDisk {
    type Buffer = SimBuffer;
    type File = SimFile;

    async fn buffer(&self) -> SimBuffer {
        let permits = Arc::clone(&self.pool.permits);
        let permit = permits
            .acquire_owned()
            .await
            .expect("the pool's semaphore is never closed");
        let bytes = self.pool.spare.borrow_mut().pop();
        let bytes = bytes.unwrap_or_else(|| vec![STALE; STORE_BUFFER_BYTES]);
        SimBuffer {
            bytes,
            home: Some((Rc::clone(&self.pool), permit)),
        }
    }

    async fn list(&self, dir: &str) -> io::Result<Vec<String>> {
        self.deed("list", dir, Cost::Name, |_, platter, dir| {
            Ok(platter.list(dir))
        })
        .await
    }

    async fn make_dir(&self, dir: &str) -> io::Result<()> {
        let work = |machine: &Machine, platter: &mut Platter, dir: &str| {
            machine.faults.borrow().check_writable()?;
            machine.faults.borrow_mut().check_sync()?;
            machine.disk_stats.borrow_mut().dir_syncs += 1;
            platter.make_dir(dir);
            Ok(())
        };
        self.deed("make dir", dir, Cost::Sync, work).await
    }

    async fn open(&self, path: &str, create_new: bool) -> io::Result<SimFile> {
        let work = move |machine: &Machine, platter: &mut Platter, path: &str| {
            if create_new {
                machine.faults.borrow().check_writable()?;
                platter.create(path)
            } else {
                platter.find(path)
            }
        };
        let inode = self.deed("open", path, Cost::Name, work).await?;
        Ok(SimFile {
            boot: self.boot.clone(),
            path: path.into(),
            inode,
        })
    }

    async fn read_small(&self, path: &str) -> io::Result<Option<Vec<u8>>> {
        let work = |machine: &Machine, platter: &mut Platter, path: &str| {
            let Ok(inode) = platter.find(path) else {
                return Ok(None);
            };
            let len = platter.len(inode);
            machine.faults.borrow_mut().check_read(path, 0..len)?;
            let mut bytes = vec![0; usize::try_from(len).unwrap_or(0)];
            platter.read(inode, 0, &mut bytes);
            machine.bring(&mut bytes);
            Ok(Some(bytes))
        };
        self.deed("read small", path, Cost::Name, work).await
    }

    async fn replace_small(&self, path: &str, bytes: &[u8], _secret: bool) -> io::Result<()> {
        let bytes = bytes.to_vec();
        let work = move |machine: &Machine, platter: &mut Platter, path: &str| {
            let mut faults = machine.faults.borrow_mut();
            faults.check_write(platter.used_bytes(), bytes.len() as u64)?;
            faults.check_sync()?;
            let mut stats = machine.disk_stats.borrow_mut();
            stats.syncs += 1;
            stats.dir_syncs += 1;
            platter.replace(path, &bytes)?;
            machine.event("small bytes", &[], &bytes);
            machine.network.look_on_disk(&machine.name, path, &bytes);
            Ok(())
        };
        self.deed("replace small", path, Cost::Sync, work).await
    }

    async fn remove(&self, path: &str) -> io::Result<()> {
        let work = |machine: &Machine, platter: &mut Platter, path: &str| {
            machine.faults.borrow().check_writable()?;
            platter.remove(path);
            Ok(())
        };
        self.deed("remove", path, Cost::Name, work).await
    }

    async fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let to = to.to_owned();
        let work = move |machine: &Machine, platter: &mut Platter, from: &str| {
            machine.faults.borrow().check_writable()?;
            platter.rename(from, &to)
        };
        self.deed("rename", from, Cost::Name, work).await
    }

    async fn sync_dir(&self, dir: &str) -> io::Result<()> {
        let work = |machine: &Machine, platter: &mut Platter, dir: &str| {
            machine.faults.borrow_mut().check_sync()?;
            machine.disk_stats.borrow_mut().dir_syncs += 1;
            platter.sync_dir(dir)
        };
        self.deed("sync dir", dir, Cost::Sync, work).await
    }

    async fn free_bytes(&self, _: &str) -> io::Result<u64> {
        let work = |machine: &Machine, platter: &mut Platter, _: &str| {
            Ok(machine.faults.borrow().free_bytes(platter.used_bytes()))
        };
        self.deed("free bytes", "", Cost::Name, work).await
    }

    fn is_rotational(&self) -> bool {
        false
    }

    fn segment_bytes(&self) -> u64 {
        self.boot.machine.segment_bytes.get()
    }
}

impl SimFile {
    async fn deed<T: 'static>(
        &self,
        takes: Duration,
        work: impl FnOnce(&Machine, &mut Platter, &str, Inode) -> T + 'static,
    ) -> Option<T> {
        let (path, inode) = (Rc::clone(&self.path), self.inode);
        let done = self.boot.disk_deed(takes, move |machine| {
            work(machine, &mut machine.platter.borrow_mut(), &path, inode)
        });
        done.await
    }
}

impl DiskFile for SimFile {
    type Buffer = SimBuffer;

    async fn read_at(
        &self,
        mut buffer: SimBuffer,
        at: usize,
        len: usize,
        offset: u64,
    ) -> (io::Result<usize>, SimBuffer) {
        if let Err(error) = check_aligned(at, len, offset, buffer.len()) {
            return (Err(error), buffer);
        }
        let takes = Cost::Bytes(len).time(&self.boot.machine);
        let done = self.deed(takes, move |machine, platter, path, inode| {
            let asked = offset..offset + len as u64;
            let there = machine.check_there();
            let checked = there.and_then(|()| machine.faults.borrow_mut().check_read(path, asked));
            let result = checked.map(|()| {
                let into = &mut buffer[at..at + len];
                let there = platter.read(inode, offset, into);
                machine.bring(&mut into[..there]);
                // What is read follows from what was written and rotted, which is in the trace in full: some of it is enough.
                let some = &into[..there.min(TRACED_OF_A_READ)];
                machine.event("read", &[inode, offset, there as u64], some);
                let mut stats = machine.disk_stats.borrow_mut();
                stats.reads += 1;
                stats.read_bytes += there as u64;
                there
            });
            (result, buffer)
        });
        done.await
            .unwrap_or_else(|| (Err(no_power()), SimBuffer::lost()))
    }

    async fn write_at(
        &self,
        buffer: SimBuffer,
        at: usize,
        len: usize,
        offset: u64,
    ) -> (io::Result<()>, SimBuffer) {
        if let Err(error) = check_aligned(at, len, offset, buffer.len()) {
            return (Err(error), buffer);
        }
        let takes = Cost::Bytes(len).time(&self.boot.machine);
        let done = self.deed(takes, move |machine, platter, path, inode| {
            let more = platter.new_bytes(inode, offset, len as u64);
            let there = machine.check_there();
            let there = there.and_then(|()| machine.faults.borrow().check_writable());
            let checked = match more {
                0 => there,
                more => there.and_then(|()| {
                    let mut faults = machine.faults.borrow_mut();
                    faults.check_write(platter.used_bytes(), more)
                }),
            };
            let result = checked.map(|()| {
                let bytes = &buffer[at..at + len];
                let landing = if path.starts_with(SEGMENTS) {
                    machine.faults.borrow_mut().landing()
                } else {
                    Landing::Right
                };
                match landing {
                    Landing::Right => platter.write(inode, offset, bytes),
                    Landing::Nowhere => {}
                    Landing::Elsewhere => platter.write(inode, offset / 2 / BLOCK * BLOCK, bytes),
                }
                machine.event("write", &[inode, offset], bytes);
                machine.network.look_on_disk(&machine.name, path, bytes);
                let mut stats = machine.disk_stats.borrow_mut();
                stats.writes += 1;
                stats.written_bytes += len as u64;
            });
            (result, buffer)
        });
        done.await
            .unwrap_or_else(|| (Err(no_power()), SimBuffer::lost()))
    }

    async fn sync_data(&self) -> io::Result<()> {
        self.boot.check()?;
        // What is written while the sync is under way may or may not be covered: here it never is.
        let mark = self.boot.machine.platter.borrow().mark();
        let takes = Cost::Sync.time(&self.boot.machine);
        let done = self.deed(takes, move |machine, platter, _, inode| {
            machine.disk_stats.borrow_mut().syncs += 1;
            if machine.lie.get() == Some(Lie::NoSync) {
                return Ok(());
            }
            let there = machine.check_there();
            let checked = there.and_then(|()| machine.faults.borrow_mut().check_sync());
            match &checked {
                Ok(()) => platter.sync(inode, mark),
                Err(_) => platter.lose(inode, mark),
            }
            machine.event("sync", &[inode, u64::from(checked.is_ok())], &[]);
            if machine.lie.get() == Some(Lie::FailedSyncIgnored) {
                return Ok(());
            }
            checked
        });
        done.await.unwrap_or_else(|| Err(no_power()))
    }

    async fn len(&self) -> io::Result<u64> {
        let takes = Cost::Name.time(&self.boot.machine);
        let done = self.deed(takes, |_, platter, _, inode| platter.len(inode));
        done.await.ok_or_else(no_power)
    }

    async fn changed(&self) -> io::Result<Stamp> {
        let takes = Cost::Name.time(&self.boot.machine);
        let done = self.deed(takes, |_, platter, _, inode| platter.changed(inode));
        let change = done.await.ok_or_else(no_power)?;
        Ok(Stamp {
            seconds: i64::try_from(change).map_err(io::Error::other)?,
            nanos: 0,
        })
    }

    async fn is_named(&self) -> io::Result<bool> {
        self.boot.check()?;
        Ok(self.boot.machine.platter.borrow().is_named(self.inode))
    }

    async fn allocate(&self, bytes: u64) -> io::Result<()> {
        let takes = Cost::Name.time(&self.boot.machine);
        let done = self.deed(takes, move |machine, platter, _, inode| {
            let more = platter.more_bytes(inode, bytes);
            let used = platter.used_bytes();
            machine.faults.borrow_mut().check_write(used, more)?;
            machine.event("allocate", &[inode, bytes], &[]);
            platter.allocate(inode, bytes);
            Ok(())
        });
        done.await.unwrap_or_else(|| Err(no_power()))
    }

    async fn set_len(&self, bytes: u64) -> io::Result<()> {
        let takes = Cost::Name.time(&self.boot.machine);
        let done = self.deed(takes, move |machine, platter, _, inode| {
            machine.check_there()?;
            machine.faults.borrow().check_writable()?;
            machine.event("set len", &[inode, bytes], &[]);
            platter.set_len(inode, bytes);
            Ok(())
        });
        done.await.unwrap_or_else(|| Err(no_power()))
    }
}

impl Cost {
    /// A few virtual milliseconds, never twice the same, so that deeds asked for together end in any order.
    fn time(&self, machine: &Machine) -> Duration {
        let (least, spread) = match self {
            Self::Name => (0, 1000),
            Self::Bytes(bytes) => (100 + *bytes as u64 / 500, 1500),
            Self::Sync => (1000, 3000),
        };
        let slowness = machine.faults.borrow().slowness();
        slowness + Duration::from_micros(least + machine.dice.below(spread))
    }
}

impl Pool {
    pub(crate) fn new(spare: Rc<RefCell<Vec<Vec<u8>>>>) -> Rc<Self> {
        let permits = Arc::new(Semaphore::new(STORE_BUFFERS));
        Rc::new(Self { spare, permits })
    }
}

impl SimBuffer {
    fn lost() -> Self {
        Self {
            bytes: vec![STALE; STORE_BUFFER_BYTES],
            home: None,
        }
    }
}

impl Buffer for SimBuffer {}

impl Deref for SimBuffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

impl DerefMut for SimBuffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.bytes
    }
}

impl Drop for SimBuffer {
    fn drop(&mut self) {
        if let Some((pool, _permit)) = self.home.take() {
            pool.spare
                .borrow_mut()
                .push(std::mem::take(&mut self.bytes));
        }
    }
}

fn check_aligned(at: usize, len: usize, offset: u64, buffer_len: usize) -> io::Result<()> {
    let whole = at.is_multiple_of(BLOCK_BYTES)
        && len.is_multiple_of(BLOCK_BYTES)
        && offset.is_multiple_of(BLOCK_BYTES as u64);
    if !whole || at + len > buffer_len {
        return Err(io::Error::from_raw_os_error(EINVAL));
    }
    Ok(())
}
