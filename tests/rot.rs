//! A disk damages a file that nobody touched: a sweep finds it and names it, snapshots keep the good version, and it comes back.
//!
//! Rot happens below the file system, so a story has to change bytes without any time moving. A page of a file on tmpfs that was
//! written through a shared map once may be written again through it without the kernel noticing: that is what is done here.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    reason = "a story looks at the machine itself"
)]
#![allow(unsafe_code)]

mod stage;

use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde_json::Value;
use stage::{Stage, noise, until_settled};

const PAGE_BYTES: usize = 4096;
const TMPFS: u64 = 0x0102_1994;

/// The first page of a file, written through behind the file system's back.
struct Behind {
    page: *mut u8,
    /// Kept open as long as it is mapped.
    _file: File,
}

impl Behind {
    fn of(path: &Path) -> Self {
        let file = File::options().read(true).write(true).open(path).unwrap();
        assert!(file.metadata().unwrap().len() >= PAGE_BYTES as u64);
        // SAFETY: a new mapping at a place the kernel chooses, of a file that is as long as it and is not cut while this lives.
        let page = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                PAGE_BYTES,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                file.as_raw_fd(),
                0,
            )
        };
        assert_ne!(page, libc::MAP_FAILED);
        let this = Self {
            page: page.cast(),
            _file: file,
        };
        // The first write is noticed; those behind it are not.
        this.flip(0);
        this.flip(0);
        this
    }

    fn flip(&self, at: usize) {
        assert!(at < PAGE_BYTES);
        // SAFETY: inside the mapping, which lives as long as this; other processes read the file through the kernel only.
        unsafe {
            let byte = self.page.add(at);
            byte.write_volatile(byte.read_volatile() ^ 1);
        }
    }
}

impl Drop for Behind {
    fn drop(&mut self) {
        // SAFETY: the mapping made in `of`, of which nothing is used any more.
        unsafe { libc::munmap(self.page.cast(), PAGE_BYTES) };
    }
}

fn is_tmpfs(path: &str) -> bool {
    rustix::fs::statfs(path).is_ok_and(|found| found.f_type as u64 & 0xffff_ffff == TMPFS)
}

/// What a file says of itself.
fn looks(path: &Path) -> [i64; 6] {
    let found = fs::metadata(path).unwrap();
    let size = i64::try_from(found.len()).unwrap();
    let inode = i64::try_from(found.ino()).unwrap();
    [
        size,
        inode,
        found.mtime(),
        found.mtime_nsec(),
        found.ctime(),
        found.ctime_nsec(),
    ]
}

#[test]
fn what_rots_on_the_authors_own_disk_is_named_and_never_replaces_the_good_version() {
    let Some(memory) = ["/dev/shm", "/tmp", "/run"]
        .into_iter()
        .find(|dir| is_tmpfs(dir))
    else {
        println!("there is no tmpfs on this machine: nothing can rot without a trace here");
        return;
    };
    let stage = Stage::new();
    let data = tempfile::tempdir_in(memory).unwrap();
    let files = data.path();
    let good: Vec<(&str, Vec<u8>)> = [("small", 5000), ("large", 3_000_000), ("other", 400_000)]
        .map(|(name, bytes)| (name, noise(name, bytes)))
        .into();
    for (name, bytes) in &good {
        fs::write(files.join(name), bytes).unwrap();
    }
    let rotting = ["small", "large"].map(|name| Behind::of(&files.join(name)));
    until_settled();
    let home = stage.first_box("home", files);
    let office = stage.joined_box("office", &home);
    let outcome = home.json(&["snapshot", "--wait", "--json"]);
    assert_eq!(outcome["protected"], true, "{outcome}");
    let swept = home.json(&["sweep", "--now", "--json"]);
    assert_eq!(
        (&swept["files"], &swept["rotten_count"]),
        (&3.into(), &0.into()),
        "{swept}"
    );

    let before = ["small", "large"].map(|name| looks(&files.join(name)));
    rotting.iter().for_each(|file| file.flip(1234));
    let after = ["small", "large"].map(|name| looks(&files.join(name)));
    assert_eq!(
        before, after,
        "this kernel noticed what a disk would do in silence"
    );
    assert_ne!(fs::read(files.join("small")).unwrap(), good[0].1);

    let swept = home.run(&["sweep", "--now", "--json"]);
    assert_eq!(swept.status.code(), Some(4), "{swept:?}");
    let swept: Value = serde_json::from_slice(&swept.stdout).unwrap();
    assert_eq!(
        swept["rotten"],
        serde_json::json!(["files/large", "files/small"]),
        "{swept}"
    );
    let told = home.until_told("files_rotten", "raise", |_| true);
    assert_eq!(told["type"], "failure", "{told}");
    assert_eq!(told["facts"]["count"]["number"], 2, "{told}");
    let status = home.run(&["status"]);
    let status = String::from_utf8(status.stdout).unwrap();
    assert!(
        status.contains("damaged files of data set files"),
        "{status}"
    );

    // Snapshots go on, name them, and keep what was written.
    let taken = home.run(&["snapshot", "--wait", "--json"]);
    assert_eq!(taken.status.code(), Some(3), "{taken:?}");
    drop(rotting);
    for (name, bytes) in &good {
        let to: PathBuf = stage.path(&format!("back-{name}"));
        let to_text = to.to_str().unwrap();
        office.succeeds(&[
            "retrieve", "--author", "home", "--path", name, "--to", to_text,
        ]);
        assert!(fs::read(to.join(name)).unwrap() == *bytes, "{name}");
        // As the sentence says: put back by whoever owns it.
        fs::copy(to.join(name), files.join(name)).unwrap();
    }
    let swept = home.json(&["sweep", "--now", "--json"]);
    assert_eq!(swept["rotten_count"], 0, "{swept}");
    home.until_told("files_rotten", "clear", |_| true);
    let taken = home.json(&["snapshot", "--wait", "--json"]);
    assert_eq!(taken["protected"], true, "{taken}");
}
