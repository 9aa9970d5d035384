//! What may be a data set: not what this Box keeps for itself and others, not what a kernel only pretends to have.

use std::path::Path;

use super::fault::{Exit, Fault};

/// Refuses a path that lies in the Box's state directory or holds it: what it keeps for others is not to go round in circles, and
/// its keys are nobody's files. A path that is not there yet is taken as it is written.
pub fn refuse_own_state(dir: &Path, path: &Path) -> Result<(), Fault> {
    let whole = |path: &Path| std::fs::canonicalize(path).or_else(|_| std::path::absolute(path));
    let (Ok(state), Ok(path)) = (whole(dir), whole(path)) else {
        return Ok(());
    };
    let Some(why) = is_own_state(&state, &path) else {
        return Ok(());
    };
    let what = format!("{} {why} {}", path.display(), dir.display());
    let todo = "Name a directory beside it; what the Box keeps for others is protected on the others already.";
    Err(Fault::new(what, "Nothing was changed.", todo).exit(Exit::Usage))
}

/// Why a path, as it is written, is a Box's own, if it is.
pub fn is_own_state(state: &Path, path: &Path) -> Option<&'static str> {
    if path.starts_with(state) {
        Some("lies in this Box's own state directory")
    } else if state.starts_with(path) {
        Some("holds this Box's own state directory")
    } else {
        None
    }
}

/// Refuses what is no file or directory that can be kept.
pub fn refuse_unreal(path: &Path) -> Result<(), Fault> {
    let Ok(meta) = std::fs::metadata(path) else {
        return Ok(());
    };
    let kernels = rustix::fs::statfs(path).is_ok_and(|found| is_kernels(found.f_type as u64));
    let why = if !meta.is_dir() && !meta.is_file() {
        "is neither a directory nor a file"
    } else if kernels {
        "is made up by the kernel and nothing that can be kept"
    } else {
        return Ok(());
    };
    let what = format!("{} {why}", path.display());
    let todo = "Name a directory or a file on a disk.";
    Err(Fault::new(what, "Nothing was changed.", todo).exit(Exit::Usage))
}

/// File systems in which the kernel shows itself, by the numbers of `linux/magic.h`.
const fn is_kernels(magic: u64) -> bool {
    // statfs(2) gives them in a word whose upper half may be the sign's.
    matches!(
        magic & 0xffff_ffff,
        0x9fa0 // proc
            | 0x6265_6572 // sysfs
            | 0x0027_e0eb // cgroup
            | 0x6367_7270 // cgroup2
            | 0x6462_6720 // debugfs
            | 0x7472_6163 // tracefs
            | 0x6265_6570 // configfs
            | 0x7363_6673 // securityfs
            | 0x1cd1 // devpts
            | 0xcafe_4a11 // bpf
            | 0xde5e_81e4 // efivarfs
            | 0x6165_676c // pstore
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_box_keeps_for_itself_and_what_the_kernel_makes_up_are_no_data_sets() {
        let dir = Path::new("/tmp/no such box/state");
        for (path, is_refused) in [
            ("/tmp/no such box", true),
            ("/tmp/no such box/state", true),
            ("/tmp/no such box/state/store", true),
            ("/", true),
            ("/tmp/no such box/photos", false),
            ("/tmp/no such box/state of mind", false),
        ] {
            let refused = refuse_own_state(dir, Path::new(path));
            assert_eq!(refused.is_err(), is_refused, "{path}: {refused:?}");
        }
        for (path, is_refused) in [
            ("/proc", true),
            ("/proc/cpuinfo", true),
            ("/dev/zero", true),
            ("/", false),
            ("/nowhere at all", false),
        ] {
            let refused = refuse_unreal(Path::new(path));
            assert_eq!(refused.is_err(), is_refused, "{path}: {refused:?}");
        }
    }
}
