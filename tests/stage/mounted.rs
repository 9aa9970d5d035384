//! A file system of its own, in memory, until the end of a story. Needs the right to mount; a story that may not says that it is skipped.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

pub struct Mounted(PathBuf);

impl Mounted {
    /// None where whoever runs this may not mount anything.
    pub fn small(at: PathBuf, mebibytes: u32) -> Option<Self> {
        fs::create_dir_all(&at).unwrap();
        let size = format!("size={mebibytes}m");
        let made = mount(&["-t", "tmpfs", "-o", &size, "reserve-story"], &at);
        match made {
            Ok(made) if made.status.success() => Some(Self(at)),
            why => {
                eprintln!("skipped, because no file system can be mounted here: {why:?}");
                None
            }
        }
    }

    /// From now on it is mounted otherwise: `ro`, `rw`.
    pub fn remount(&self, how: &str) {
        let made = mount(&["-o", &format!("remount,{how}")], &self.0).unwrap();
        assert!(made.status.success(), "{made:?}");
    }

    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

fn mount(how: &[&str], at: &Path) -> std::io::Result<Output> {
    Command::new("mount").args(how).arg(at).output()
}
