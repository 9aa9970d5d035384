//! Small files of the keeper's own: read whole, and replaced so that a power cut leaves the old or the new bytes.
//!
//! Names are not made durable here: the caller syncs the directory.

use std::ffi::OsString;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use tokio_uring::buf::BoundedBuf;
use tokio_uring::fs::{File, OpenOptions};

use super::raw::descriptor;

/// What a small file is written under before it gets its name.
const ASIDE: &str = ".new";

/// The whole of a file, or `None` if it is not there.
pub(super) async fn read(path: &Path) -> io::Result<Option<Vec<u8>>> {
    let file = match File::open(path).await {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let expected = rustix::fs::fstat(descriptor(&file))?.st_size;
    // One byte more, so that the usual file needs no more room to find its end.
    let mut bytes = Vec::with_capacity(usize::try_from(expected).unwrap_or(0).saturating_add(1));
    loop {
        bytes.reserve(1);
        let (have, room) = (bytes.len(), bytes.capacity());
        let (read, part) = file.read_at(bytes.slice(have..room), have as u64).await;
        bytes = part.into_inner();
        if read? == 0 {
            return Ok(Some(bytes));
        }
    }
}

/// Writes a file aside, makes its bytes durable and gives it its name. One caller at a time.
pub(super) async fn write(path: &Path, bytes: Vec<u8>, secret: bool) -> io::Result<()> {
    let mut aside = OsString::from(path);
    aside.push(ASIDE);
    // Left from a power cut, perhaps with other rights: made anew, so that a secret is never readable by others.
    remove_if_there(&aside).await?;
    let done = async {
        let mode = if secret { 0o600 } else { 0o644 };
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(mode)
            .open(&aside)
            .await?;
        if !bytes.is_empty() {
            file.write_all_at(bytes, 0).await.0?;
        }
        file.sync_all().await?;
        file.close().await?;
        tokio_uring::fs::rename(&aside, path).await
    };
    let done = done.await;
    if done.is_err() {
        // On a full disk what stands aside would take the room of what is tried next. The old file stays as it is.
        let _ = remove_if_there(&aside).await;
    }
    done
}

/// Removes a file; one that is not there is no error.
pub(super) async fn remove_if_there(path: impl AsRef<Path>) -> io::Result<()> {
    match tokio_uring::fs::remove_file(path).await {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use crate::world::Disk;
    use crate::world::uring::UringDisk;
    use crate::world::uring::tests::in_ring;

    #[test]
    fn a_small_file_is_replaced_whole_with_the_right_mode() {
        in_ring(async {
            let dir = tempfile::tempdir().expect("a directory");
            let disk = UringDisk::new(dir.path(), None);
            assert_eq!(disk.read_small("key").await.expect("asks"), None);
            let syncs = disk.syncs();
            disk.replace_small("key", b"first", true)
                .await
                .expect("writes");
            assert_eq!(disk.syncs(), syncs + 2, "the file and its name");
            // What a power cut left aside has no say in what comes next, nor in who may read it.
            std::fs::write(dir.path().join("key.new"), vec![1; 10_000]).expect("writes");
            disk.replace_small("key", b"", true).await.expect("writes");
            assert_eq!(
                disk.read_small("key").await.expect("reads"),
                Some(Vec::new())
            );
            let long = vec![5; 100_000];
            disk.replace_small("key", &long, true)
                .await
                .expect("writes");
            assert_eq!(disk.read_small("key").await.expect("reads"), Some(long));
            disk.replace_small("roster", b"r", false)
                .await
                .expect("writes");
            let mode = |name: &str| {
                let found = std::fs::metadata(dir.path().join(name)).expect("is there");
                found.permissions().mode() & 0o777
            };
            assert_eq!(mode("key"), 0o600);
            // What everybody may read, as far as the one who started this process lets them.
            let told = std::fs::read_to_string("/proc/self/status").expect("Linux says");
            let mask = told.lines().find_map(|line| line.strip_prefix("Umask:"));
            let mask = u32::from_str_radix(mask.expect("it is there").trim(), 8).expect("octal");
            assert_eq!(mode("roster"), 0o644 & !mask);
            assert_eq!(disk.list("").await.expect("lists"), ["key", "roster"]);
        });
    }

    #[test]
    fn a_replacement_that_fails_leaves_the_old_bytes() {
        in_ring(async {
            let dir = tempfile::tempdir().expect("a directory");
            let disk = UringDisk::new(dir.path(), None);
            disk.replace_small("roster", b"old", false)
                .await
                .expect("writes");
            // A directory in the way of what is written aside.
            std::fs::create_dir(dir.path().join("roster.new")).expect("makes");
            disk.replace_small("roster", b"new", false)
                .await
                .expect_err("cannot be written");
            assert_eq!(
                disk.read_small("roster").await.expect("reads"),
                Some(b"old".to_vec())
            );
        });
    }

    #[test]
    fn two_replacements_at_once_leave_the_later_one() {
        in_ring(async {
            let dir = tempfile::tempdir().expect("a directory");
            let disk = UringDisk::new(dir.path(), None);
            let (long, short) = (vec![1; 300_000], vec![2; 10]);
            let (first, second) = tokio::join!(
                disk.replace_small("a", &long, false),
                disk.replace_small("a", &short, false)
            );
            first.and(second).expect("both are written");
            assert_eq!(disk.read_small("a").await.expect("reads"), Some(short));
        });
    }
}
