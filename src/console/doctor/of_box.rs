//! The Box: its directory and file system, its keys, its data sets, where it is called, the other Boxes, what stands.

use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::Line;
use crate::console::at_rest::AtRest;
use crate::console::client::{Client, NoService};
use crate::console::control::{Reply, StatusView, Want};
use crate::console::event_view::EventView;
use crate::console::store_place;
use crate::console::text::bytes;
use crate::console::{fault::Fault, setup};
use crate::roster::LoadedBox;
use crate::terms::limits::{STORE_HELD_BACK_BYTES, TABLE_CHUNKS_DEFAULT};

/// What was found in the state directory and heard from the keeper.
pub(super) struct Found {
    loaded: Result<LoadedBox, Fault>,
    status: Result<StatusView, Fault>,
}

impl Found {
    pub(super) fn look(dir: &Path) -> Self {
        let status = match Client::call(dir, Want::Status {}) {
            Ok(mut client) => match client.reply() {
                Ok(Reply::Status(view)) => Ok(*view),
                Ok(_) => Err(crate::console::ask::nonsense()),
                Err(fault) => Err(fault),
            },
            Err(NoService::NotRunning) => setup::status_at_rest(dir),
            Err(no) => Err(no.fault(dir)),
        };
        Self {
            loaded: AtRest::new(dir).load(),
            status,
        }
    }

    pub(super) fn table_chunks(&self) -> u64 {
        let loaded = self.loaded.as_ref().ok();
        loaded
            .and_then(|loaded| loaded.config.store.table_chunks)
            .unwrap_or(TABLE_CHUNKS_DEFAULT as u64)
    }

    pub(super) fn peers(&self) -> u64 {
        let members = self
            .loaded
            .as_ref()
            .map_or(1, |loaded| loaded.roster.members().len());
        members.saturating_sub(1) as u64
    }
}

/// Looks at the Box.
pub(super) fn lines(dir: &Path, found: &Found) -> Vec<Line> {
    let mut lines = vec![directory(dir)];
    let loaded = match &found.loaded {
        Ok(loaded) => loaded,
        Err(fault) => {
            lines.push(Line::failure("box", &fault.what, &fault.todo));
            return lines;
        }
    };
    lines.push(Line::ok("box", format!("this is {}", loaded.config.name)));
    lines.extend(keys(dir));
    lines.push(store(dir));
    for set in &loaded.config.data {
        lines.push(data_set(&set.name, Path::new(&set.path)));
    }
    match &found.status {
        Ok(status) => {
            lines.push(keeper(status, loaded));
            lines.extend(addresses(status));
            lines.extend(peers(status));
            lines.push(standing(status));
        }
        Err(fault) => lines.push(Line::failure("keeper", &fault.what, &fault.todo)),
    }
    lines
}

fn directory(dir: &Path) -> Line {
    let code = "directory";
    let space = match rustix::fs::statvfs(dir) {
        Ok(space) => space,
        Err(error) => {
            let todo = "Make this Box with `reserve init` or `reserve join`, or name its directory with --dir.";
            return Line::failure(code, format!("{}: {error}", dir.display()), todo);
        }
    };
    let free = space.f_bavail.saturating_mul(space.f_frsize);
    let mount = mount_of(dir);
    let kind = mount
        .as_ref()
        .map_or("unknown", |mount| mount.kind.as_str());
    let spins = match rotational(dir) {
        Some(true) => "a disk that spins",
        Some(false) => "a disk that does not spin",
        None => "an unknown disk",
    };
    let text = format!("{}: {kind} on {spins}, {} free", dir.display(), bytes(free));
    let numbers = [("free_bytes", free)];
    if space.f_flag.contains(rustix::fs::StatVfsMountFlags::RDONLY) {
        let todo = "Mount it for writing: state and configuration change.";
        return Line::failure(code, format!("{text}, read-only"), todo).with(&numbers);
    }
    if matches!(kind, "tmpfs" | "ramfs" | "overlay") {
        let todo = "It may be empty after a restart: put the state directory on a disk.";
        return Line::warning(code, text, todo).with(&numbers);
    }
    if free < 2 * STORE_HELD_BACK_BYTES {
        let todo = "There is hardly room for more: make room, or move the state directory to a larger disk.";
        return Line::warning(code, text, todo).with(&numbers);
    }
    Line::ok(code, text).with(&numbers)
}

fn keys(dir: &Path) -> Vec<Line> {
    let mut lines = Vec::new();
    for file in ["identity", "secrets"] {
        let path = dir.join(file);
        match std::fs::metadata(&path) {
            Ok(meta) => {
                let mode = meta.permissions().mode() & 0o777;
                if mode & 0o077 != 0 {
                    let text = format!("{} has mode {mode:04o}: others can read it", path.display());
                    let todo = format!("Run `chmod 600 {}`; think of who may have read it.", path.display());
                    lines.push(Line::failure("keys", text, todo).with(&[("mode", u64::from(mode))]));
                }
            }
            Err(error) => lines.push(Line::failure(
                "keys",
                format!("{}: {error}", path.display()),
                "Run this as the user the keeper runs as, or take the Box in anew with `reserve join`.",
            )),
        }
    }
    if lines.is_empty() {
        lines.push(Line::ok("keys", "only their owner can read them"));
    }
    lines
}

fn store(dir: &Path) -> Line {
    let code = "store";
    let at_rest = AtRest::new(dir);
    match at_rest.now(crate::keeper::presence(&at_rest)) {
        Ok(found) => match found.in_words() {
            None if is_read_only(&store_place::of(dir)) => Line::failure(
                code,
                format!(
                    "{} is read-only: what is kept there is given to the others, and nothing new is taken",
                    store_place::of(dir).display()
                ),
                "See what the kernel says of its disk (dmesg); check its file system, or replace the disk. The keeper goes on by itself when it can be written again.",
            ),
            None => Line::ok(code, where_it_is(dir)),
            Some(why) => Line::failure(
                code,
                format!(
                    "{} is not this Box's: {why}",
                    store_place::of(dir).display()
                ),
                "Connect and mount its disk; the keeper then goes on by itself. If it was replaced or is gone for good: `reserve store new`.",
            ),
        },
        Err(error) => Line::warning(
            code,
            format!("{}: {error}", store_place::of(dir).display()),
            "Run this as the user the keeper runs as.",
        ),
    }
}

fn is_read_only(place: &Path) -> bool {
    let space = rustix::fs::statvfs(place);
    space.is_ok_and(|space| space.f_flag.contains(rustix::fs::StatVfsMountFlags::RDONLY))
}

/// With its disk, where that may be another one than the state directory's.
fn where_it_is(dir: &Path) -> String {
    let whole = "it is where it should be".to_owned();
    let Some(place) = store_place::elsewhere(dir) else {
        return whole;
    };
    let Ok(space) = rustix::fs::statvfs(&place) else {
        return format!("{} will be made by the keeper", place.display());
    };
    let free = bytes(space.f_bavail.saturating_mul(space.f_frsize));
    let spins = match rotational(&place) {
        Some(true) => "a disk that spins",
        Some(false) => "a disk that does not spin",
        None => "an unknown disk",
    };
    format!("{whole}: {} on {spins}, {free} free", place.display())
}

fn data_set(name: &str, path: &Path) -> Line {
    let code = "data set";
    match std::fs::metadata(path).and_then(|meta| {
        if meta.is_dir() {
            std::fs::read_dir(path).map(drop)
        } else {
            std::fs::File::open(path).map(drop)
        }
    }) {
        Ok(()) => {
            let kind = mount_of(path).map_or_else(|| "unknown".into(), |mount| mount.kind);
            Line::ok(code, format!("{name} = {} ({kind})", path.display()))
        }
        Err(error) => Line::failure(
            code,
            format!("{name} = {}: {error}", path.display()),
            "See that its disk is connected and that this user may read it; or `reserve data remove`.",
        ),
    }
}

fn keeper(status: &StatusView, loaded: &LoadedBox) -> Line {
    if status.running {
        let text = match status.memory_bytes {
            Some((now, peak)) => format!(
                "it runs, with {} of memory, at most {}",
                bytes(now),
                bytes(peak)
            ),
            None => "it runs".to_owned(),
        };
        return Line::ok("keeper", text);
    }
    let taken: Vec<String> = loaded
        .config
        .listen
        .iter()
        .filter_map(|address| Some(format!("{address} ({})", TcpListener::bind(address).err()?)))
        .collect();
    if taken.is_empty() {
        Line::warning(
            "keeper",
            "it does not run; its address is free",
            "Start it with `reserve keeper`.",
        )
    } else {
        Line::failure(
            "keeper",
            format!("it does not run, and cannot listen at {}", taken.join(", ")),
            "Free the address, or name another in box.toml (listen).",
        )
    }
}

fn addresses(status: &StatusView) -> Option<Line> {
    let me = status.peers.iter().find(|peer| peer.is_me)?;
    if me.addresses.is_empty() {
        return Some(Line::warning(
            "addresses",
            "the other Boxes know no address of this one",
            "Start the keeper with a network; it calls the others itself meanwhile.",
        ));
    }
    let is_local = |address: &String| address.starts_with("127.") || address.starts_with("[::1]");
    let text = format!("the other Boxes call it at {}", me.addresses.join(", "));
    Some(if me.addresses.iter().all(is_local) {
        let todo = "Only this machine can do that: name another with --advertise, or listen at all addresses.";
        Line::warning("addresses", text, todo)
    } else {
        Line::ok("addresses", text)
    })
}

fn peers(status: &StatusView) -> Vec<Line> {
    let ours = env!("CARGO_PKG_VERSION");
    let others = status.peers.iter().filter(|peer| !peer.is_me);
    others
        .map(|peer| {
            let name = &peer.name;
            match (&peer.version, peer.connected) {
                (Some(version), true) if version != ours => Line::warning(
                    "peer",
                    format!("{name} is connected, with version {version}"),
                    "Bring both to the same version.",
                ),
                (_, true) => Line::ok("peer", format!("{name} is connected")),
                (_, false) if !status.running => Line::ok(
                    "peer",
                    format!("{name} belongs; whether it is in reach is not known without a keeper"),
                ),
                (_, false) => Line::warning(
                    "peer",
                    format!("{name} is out of reach at {}", peer.addresses.join(", ")),
                    "See that it has power and network, and that its keeper runs.",
                ),
            }
        })
        .collect()
}

fn standing(status: &StatusView) -> Line {
    let count = status.standing.len() as u64;
    if count == 0 {
        return Line::ok("events", "no warning and no failure stands");
    }
    let first = &status.standing[0].text;
    let text = format!("{count} warnings and failures stand, among them: {first}");
    let todo = "`reserve status` shows all of them.";
    let mut events = status.standing.iter();
    let line = if events.any(EventView::is_to_be_mended) {
        Line::failure("events", text, todo)
    } else {
        Line::warning("events", text, todo)
    };
    line.with(&[("standing", count)])
}

struct Mount {
    kind: String,
}

/// The mount a path is on, as the kernel lists it: the one with the longest mount point above the path.
fn mount_of(path: &Path) -> Option<Mount> {
    let path = path.canonicalize().ok()?;
    let text = std::fs::read_to_string("/proc/self/mountinfo").ok()?;
    let mounts = text.lines().filter_map(|line| {
        let (before, after) = line.split_once(" - ")?;
        let point = before.split(' ').nth(4)?;
        let kind = after.split(' ').next()?;
        Some((PathBuf::from(point.replace("\\040", " ")), kind.to_owned()))
    });
    let above = mounts.filter(|(point, _)| path.starts_with(point));
    // The last of two at one place is the one that is seen.
    let (_, kind) = above.max_by_key(|(point, _)| point.as_os_str().len())?;
    Some(Mount { kind })
}

/// Whether the disk below a path spins, if the kernel says.
fn rotational(path: &Path) -> Option<bool> {
    let device = std::fs::metadata(path).ok()?.dev();
    let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
    let device = PathBuf::from(format!("/sys/dev/block/{major}:{minor}"));
    // A partition has no queue of its own; its disk, one above, has.
    let said = ["queue/rotational", "../queue/rotational"]
        .iter()
        .find_map(|place| std::fs::read(device.join(place)).ok())?;
    Some(said.first() == Some(&b'1'))
}
