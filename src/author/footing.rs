//! What a data set stands on, so that a missing or another disk under its path is noticed: then its place is held, and
//! emptiness is never copied.

use serde::{Deserialize, Serialize};

use crate::world::{FileKind, Tree};

/// File systems whose own number is made of what is written on them, so that it stays the same wherever they are plugged
/// in: ext, btrfs, f2fs, bcachefs, zfs.
const SERIAL_FOR_LIFE: [u64; 5] = [0xef53, 0x9123_683e, 0xf2f5_2010, 0xca45_1a4e, 0x2fc1_2fc1];

/// What stands at a data set's path, and on what.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Footing {
    /// `f_type` of the file system.
    pub magic: u64,
    /// Its device: another one after a restart, perhaps.
    pub device: u64,
    /// The number it gives itself; 0 if none.
    pub serial: u64,
    /// The inode of the data set itself.
    pub inode: u64,
    /// Whether it is a directory.
    pub is_dir: bool,
}

impl Footing {
    /// Looks; says why there is none.
    pub async fn look(tree: &impl Tree, path: &[u8]) -> Result<Self, String> {
        let told = |error: std::io::Error| error.to_string();
        let stat = tree.stat(path).await.map_err(told)?;
        let is_dir = match stat.kind {
            FileKind::Dir => true,
            FileKind::File => false,
            FileKind::Symlink => {
                return Err("it is a symbolic link; name what it points to".to_owned());
            }
            FileKind::Fifo | FileKind::Socket | FileKind::CharDevice | FileKind::BlockDevice => {
                return Err("it is neither a directory nor a file".to_owned());
            }
        };
        let file_system = tree.file_system(path).await.map_err(told)?;
        Ok(Self {
            magic: file_system.magic,
            device: file_system.device,
            serial: tree.file_system_serial(path).await.map_err(told)?,
            inode: stat.inode,
            is_dir,
        })
    }

    /// Why this cannot be what stood there at an earlier snapshot, if it cannot.
    pub fn differs_from(&self, before: &Self) -> Option<&'static str> {
        if self.is_dir != before.is_dir {
            return Some(if self.is_dir {
                "a directory stands where a file was"
            } else {
                "a file stands where a directory was"
            });
        }
        if self.magic != before.magic {
            return Some("another kind of file system is at its place; is its disk connected?");
        }
        let is_same = if SERIAL_FOR_LIFE.contains(&self.magic) && before.serial != 0 {
            self.serial == before.serial
        } else {
            // Numbers come and go with mounts; one that is as it was is enough.
            self.device == before.device
                || (self.serial == before.serial && self.serial != 0)
                // A file is often replaced as a whole, so its inode says nothing.
                || (self.inode == before.inode && self.is_dir)
        };
        (!is_same).then_some("another file system is at its place; is its disk connected?")
    }

    /// Whether the ground is still the same while a snapshot is taken. (A single file may be replaced at any time.)
    pub fn still_is(&self, now: &Self) -> bool {
        let stand = |one: &Self| (one.magic, one.device, one.serial, one.is_dir);
        stand(self) == stand(now) && (self.inode == now.inode || !self.is_dir)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXT: Footing = Footing {
        magic: 0xef53,
        device: 1,
        serial: 77,
        inode: 2,
        is_dir: true,
    };
    const FUSE: Footing = Footing {
        magic: 0x6573_5546,
        device: 40,
        serial: 0,
        inode: 1,
        is_dir: true,
    };

    #[test]
    fn a_disk_that_moved_to_another_port_is_the_same() {
        assert_eq!(Footing { device: 9, ..EXT }.differs_from(&EXT), None);
        // A pool of disks, mounted again.
        assert_eq!(Footing { device: 41, ..FUSE }.differs_from(&FUSE), None);
    }

    #[test]
    fn another_disk_a_missing_mount_and_another_kind_of_file_system_are_told() {
        let others = [
            Footing { serial: 78, ..EXT },
            Footing { magic: 1, ..EXT },
            Footing {
                is_dir: false,
                ..EXT
            },
        ];
        for other in others {
            assert!(other.differs_from(&EXT).is_some(), "{other:?}");
        }
        let missing = Footing {
            magic: 0xef53,
            device: 1,
            serial: 5,
            inode: 1234,
            is_dir: true,
        };
        assert!(missing.differs_from(&FUSE).is_some());
        let other_pool = Footing {
            device: 41,
            inode: 7,
            ..FUSE
        };
        assert!(other_pool.differs_from(&FUSE).is_some());
    }

    #[test]
    fn a_directory_made_anew_on_the_same_file_system_is_the_vanish_guards_business() {
        assert_eq!(Footing { inode: 99, ..EXT }.differs_from(&EXT), None);
        assert!(!EXT.still_is(&Footing { inode: 99, ..EXT }));
        let file = Footing {
            is_dir: false,
            ..EXT
        };
        assert!(file.still_is(&Footing { inode: 99, ..file }));
    }
}
