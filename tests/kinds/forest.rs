//! A tree of every kind of file there is, and everything that can be told of one.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use reserve::world::uring::ShortPath;
use rustix::fs::{
    AtFlags, CWD, FileType, Mode, OFlags, SeekFrom, Timespec, Timestamps, XattrFlags,
};

use super::stage::noise;

const GIB: u64 = 1 << 30;

fn is_root() -> bool {
    // Of the thread, for a story may have given its own away.
    rustix::thread::set_thread_groups(&[]).is_ok()
}

/// Sets when a thing, a link itself too, was changed last: before 1970, to the nanosecond.
fn long_ago(path: &Path, seconds: i64) {
    let omit = Timespec {
        tv_sec: 0,
        tv_nsec: rustix::fs::UTIME_OMIT,
    };
    let times = Timestamps {
        last_access: omit,
        last_modification: Timespec {
            tv_sec: -seconds,
            tv_nsec: 123_456_789,
        },
    };
    rustix::fs::utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
}

/// An access list: rights of the owner, of one more user, of the group, the mask, and of others.
fn access_list(user: u32) -> Vec<u8> {
    let mut list = 2u32.to_le_bytes().to_vec();
    for (tag, rights, id) in [
        (0x01u16, 6u16, u32::MAX),
        (0x02, 4, user),
        (0x04, 4, u32::MAX),
        (0x10, 4, u32::MAX),
        (0x20, 0, u32::MAX),
    ] {
        list.extend(tag.to_le_bytes());
        list.extend(rights.to_le_bytes());
        list.extend(id.to_le_bytes());
    }
    list
}

/// The right to open raw sockets, as the kernel keeps it with a program.
fn capability() -> Vec<u8> {
    let numbers: [u32; 5] = [0x0200_0001, 1 << 13, 0, 0, 0];
    numbers
        .iter()
        .flat_map(|number| number.to_le_bytes())
        .collect()
}

/// Gives a file a capability, where that can be done.
pub fn make_capable(path: &Path) -> bool {
    let (name, value) = ("security.capability", capability());
    rustix::fs::lsetxattr(path, name, &value, XattrFlags::empty()).is_ok()
}

/// The device that everything vanishes in, where one can be made.
pub fn make_device(path: &Path) -> bool {
    let (kind, mode) = (FileType::CharacterDevice, Mode::from_raw_mode(0o666));
    rustix::fs::mknodat(CWD, path, kind, mode, rustix::fs::makedev(1, 3)).is_ok()
}

struct Forest<'f> {
    root: &'f Path,
    skipped: Vec<&'static str>,
}

impl Forest<'_> {
    fn at(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    fn xattr(&mut self, path: &Path, name: &'static str, value: &[u8]) {
        let set = rustix::fs::lsetxattr(path, name, value, XattrFlags::empty());
        if set.is_err() {
            self.skipped.push(name);
        }
    }

    fn special(&mut self, name: &'static str, kind: FileType, rdev: u64) {
        let mode = Mode::from_raw_mode(0o640);
        if rustix::fs::mknodat(CWD, self.at(name), kind, mode, rdev).is_err() {
            self.skipped.push(name);
        }
    }

    fn links(&mut self) {
        fs::create_dir_all(self.at("links/deep/er")).unwrap();
        fs::write(self.at("links/small"), "small and shared").unwrap();
        fs::write(self.at("links/large"), noise("large", 3_000_000)).unwrap();
        symlink("small", self.at("links/symlink")).unwrap();
        for name in ["small", "large", "symlink"] {
            let first = self.at(&format!("links/{name}"));
            for other in [format!("links/deep/er/{name}"), format!("z-{name}")] {
                fs::hard_link(&first, self.at(&other)).unwrap();
            }
        }
        // The same bytes, but a file of its own.
        fs::write(self.at("links/small copy"), "small and shared").unwrap();
    }

    fn holes(&mut self) {
        let huge = File::create(self.at("hole 100 GiB")).unwrap();
        if huge.set_len(100 * GIB).is_ok() {
            huge.write_all_at(&noise("island", 100_000), 50 * GIB)
                .unwrap();
        } else {
            self.skipped.push("a file of 100 GiB");
        }
        let small = File::create(self.at("hole small")).unwrap();
        small.set_len(200_000).unwrap();
        small.write_all_at(b"an island", 100_000).unwrap();
        File::create(self.at("hole only"))
            .unwrap()
            .set_len(5_000_000)
            .unwrap();
        // Blocks and holes by turns.
        let comb = File::create(self.at("hole comb")).unwrap();
        comb.set_len(4 << 20).unwrap();
        for at in (0..4 << 20).step_by(64 << 10) {
            comb.write_all_at(&noise("tooth", 4096), at).unwrap();
        }
        fs::write(self.at("zeros"), vec![0; 3_000_000]).unwrap();
        fs::write(self.at("nothing"), "").unwrap();
    }

    fn attributes(&mut self) {
        let program = self.at("program");
        fs::write(&program, "#!/bin/true").unwrap();
        fs::create_dir(self.at("dir")).unwrap();
        fs::create_dir(self.at("empty")).unwrap();
        fs::write(self.at("read only"), "read only").unwrap();
        let (file, dir) = (self.at("read only"), self.at("dir"));
        self.xattr(&file, "user.note", b"\0any bytes\xff");
        self.xattr(&file, "user.empty", b"");
        self.xattr(&dir, "user.of dir", &[7; 1000]);
        self.xattr(&file, "system.posix_acl_access", &access_list(12_345));
        self.xattr(&dir, "system.posix_acl_default", &access_list(54_321));
        let root = self.root.to_owned();
        self.xattr(&root, "user.of root", b"yes");
        if is_root() {
            for (path, owner) in [("program", 1234), ("links/symlink", 4321), ("pipe", 1000)] {
                std::os::unix::fs::lchown(self.at(path), Some(owner), Some(owner + 1)).unwrap();
            }
            self.xattr(&program, "security.capability", &capability());
            let (pipe, link) = (self.at("pipe"), self.at("links/symlink"));
            self.xattr(&pipe, "trusted.of pipe", b"yes");
            self.xattr(&link, "trusted.of link", b"yes");
        }
        for (path, mode) in [
            ("program", 0o6755),
            ("dir", 0o1777),
            ("empty", 0o2700),
            ("read only", 0o440),
            ("links/deep", 0o555),
        ] {
            let path = self.at(path);
            // Rights of the group are the mask of an access list, which is set already.
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        }
    }

    /// Directories whose path is longer than any call takes, with something in them.
    fn depths(&mut self) {
        let mut path = self.at("depths");
        for number in 0..30 {
            fs::create_dir(ShortPath::of(&path).unwrap()).unwrap();
            path.push(format!("{number:02}").repeat(120));
        }
        fs::write(ShortPath::of(&path).unwrap(), "down here").unwrap();
        symlink(
            "nowhere",
            ShortPath::of(&path.with_extension("link")).unwrap(),
        )
        .unwrap();
        fs::hard_link(
            ShortPath::of(&path).unwrap(),
            ShortPath::of(&path.with_extension("hard")).unwrap(),
        )
        .unwrap();
        assert!(path.as_os_str().len() > 7000);
    }
}

/// Plants one of everything that whoever runs this may make; tells what is not among it.
pub fn plant(root: &Path) -> Vec<&'static str> {
    fs::create_dir(root).unwrap();
    let mut forest = Forest {
        root,
        skipped: Vec::new(),
    };
    forest.links();
    forest.holes();
    forest.special("pipe", FileType::Fifo, 0);
    forest.special("tty", FileType::CharacterDevice, rustix::fs::makedev(4, 64));
    forest.special(
        "disk",
        FileType::BlockDevice,
        rustix::fs::makedev(259, 70_000),
    );
    std::os::unix::net::UnixListener::bind(forest.at("socket")).unwrap();
    fs::write(forest.at(&"n".repeat(255)), "a long name").unwrap();
    fs::write(root.join(OsStr::from_bytes(b"line\nbreak \xff")), "no text").unwrap();
    forest.depths();
    forest.attributes();
    for (path, seconds) in [
        ("links/symlink", 1),
        ("links/small", 2_000_000_000),
        ("pipe", 3),
        ("empty", 4),
        ("hole only", 5),
        ("links", 6),
        ("", 7),
    ] {
        let path = if path.is_empty() {
            root.to_owned()
        } else {
            root.join(path)
        };
        long_ago(&path, seconds);
    }
    forest.skipped
}

/// Everything below a directory that must come back, by path. Sockets must not.
pub fn told(root: &Path) -> BTreeMap<PathBuf, String> {
    let mut found = BTreeMap::new();
    let mut names: BTreeMap<(u64, u64), PathBuf> = BTreeMap::new();
    let mut todo = vec![PathBuf::new()];
    while let Some(relative) = todo.pop() {
        let whole = if relative.as_os_str().is_empty() {
            root.to_owned()
        } else {
            root.join(&relative)
        };
        let path = ShortPath::of(&whole).unwrap();
        let meta = fs::symlink_metadata(&path).unwrap();
        let kind = FileType::from_raw_mode(meta.mode());
        let contents = match kind {
            FileType::Socket => continue,
            FileType::Directory => {
                let mut below: Vec<_> = fs::read_dir(&path)
                    .unwrap()
                    .map(|entry| relative.join(entry.unwrap().file_name()))
                    .collect();
                below.sort();
                todo.extend(below.into_iter().rev());
                String::new()
            }
            FileType::Symlink => format!("{:?}", fs::read_link(&path).unwrap()),
            FileType::RegularFile => contents(&path, meta.len()),
            _ => String::new(),
        };
        let first = names
            .entry((meta.dev(), meta.ino()))
            .or_insert_with(|| relative.clone());
        let told = format!(
            "{:o} {}:{} {}.{:09} {} device {} the same as {:?}, {contents}, {}",
            meta.mode(),
            meta.uid(),
            meta.gid(),
            meta.mtime(),
            meta.mtime_nsec(),
            if kind == FileType::Directory {
                0
            } else {
                meta.len()
            },
            meta.rdev(),
            if kind == FileType::Directory {
                &relative
            } else {
                first
            },
            xattrs(&path)
        );
        found.insert(relative, told);
    }
    found
}

/// A file's bytes and where they are; holes are not read.
fn contents(path: &Path, len: u64) -> String {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) => return error.to_string(),
    };
    let mut hash = blake3::Hasher::new();
    let mut at = 0;
    let mut data = 0;
    let mut buffer = vec![0; 1 << 20];
    while let Ok(start) = rustix::fs::seek(file.as_fd(), SeekFrom::Data(at)) {
        let end = rustix::fs::seek(file.as_fd(), SeekFrom::Hole(start)).unwrap();
        at = start;
        while at < end {
            let n = file.read_at(&mut buffer, at).unwrap();
            let n = n.min(usize::try_from(end - at).unwrap());
            for (number, block) in buffer[..n].chunks(4096).enumerate() {
                // Zeros are zeros, whether or not they take space.
                if block.iter().any(|byte| *byte != 0) {
                    hash.update(&(at + 4096 * number as u64).to_le_bytes());
                    hash.update(block);
                }
            }
            data += n as u64;
            at += n as u64;
        }
    }
    // Whether there are holes is told; how large its blocks are is the file system's affair.
    // Whole pieces of zeros take no space when they come back, whatever the file was.
    let kind = if data == len || path.ends_with("zeros") {
        "dense"
    } else {
        "sparse"
    };
    format!("{} {kind}", hash.finalize())
}

/// How much of a file is no hole.
pub fn data_bytes(path: &Path) -> u64 {
    fs::metadata(path).unwrap().blocks() * 512
}

fn xattrs(path: &Path) -> String {
    let mut names = vec![0; 64 << 10];
    let len = rustix::fs::llistxattr(path, &mut names).unwrap_or(0);
    let mut told: Vec<_> = names[..len]
        .split(|byte| *byte == 0)
        .filter(|name| !name.is_empty() && !name.starts_with(b"security.selinux"))
        .map(|name| {
            let mut value = vec![0; 64 << 10];
            let len = rustix::fs::lgetxattr(path, name, &mut value).unwrap_or(0);
            format!("{:?}={:?}", String::from_utf8_lossy(name), &value[..len])
        })
        .collect();
    told.sort();
    told.join(" ")
}

/// Opens a directory's rights, so that the story can tidy up whoever it was run by.
pub fn open_rights(root: &Path) {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW;
    for path in ["links/deep"] {
        if let Ok(dir) = rustix::fs::open(root.join(path), flags, Mode::empty()) {
            rustix::fs::fchmod(dir, Mode::RWXU).unwrap();
        }
    }
}
