//! The command's end of the control socket: one call, its answers, in plain blocking calls.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::control::{Call, LINE_BYTES_MAX, Reply, SOCKET, VERSION, Want};
use super::fault::Fault;

/// How long a keeper that somebody started a moment ago may take to take the lock.
const STARTING: Duration = Duration::from_secs(1);
/// How long one that runs may take to answer what it knows by itself.
const ANSWERING: Duration = Duration::from_secs(30);
/// How long one that holds the lock may take to open its store.
const OPENING: Duration = Duration::from_secs(120);

/// Whether a keeper holds the directory. Only looks: it makes no file, and does not stand in the way of one that starts.
fn is_locked(dir: &Path) -> bool {
    let Ok(file) = std::fs::File::open(dir.join(super::service::LOCK)) else {
        return false;
    };
    let shared = rustix::fs::FlockOperation::NonBlockingLockShared;
    rustix::fs::flock(&file, shared) == Err(rustix::io::Errno::WOULDBLOCK)
}

/// A call that was made.
pub struct Client {
    reader: BufReader<UnixStream>,
}

/// Why no answer is to be had from the service.
pub enum NoService {
    /// Nobody listens: the keeper does not run.
    NotRunning,
    /// It does, but we may not or cannot ask.
    Fault(Fault),
}

impl NoService {
    /// As an error of a command that needs the service.
    pub fn fault(self, dir: &Path) -> Fault {
        match self {
            Self::NotRunning => Fault::new(
                format!("no keeper runs for {}", dir.display()),
                "Nothing was changed.",
                "Start it with `reserve keeper`, or name another Box with --dir.",
            ),
            Self::Fault(fault) => fault,
        }
    }
}

impl Client {
    /// Calls the service of a Box. One that is just being started is waited for: it holds the directory's lock before it listens.
    pub fn call_patiently(dir: &Path, want: &Want) -> Result<Self, NoService> {
        let began = Instant::now();
        loop {
            match Self::call(dir, want.clone()) {
                Err(NoService::NotRunning)
                    if began.elapsed() < STARTING
                        || (is_locked(dir) && began.elapsed() < OPENING) =>
                {
                    std::thread::sleep(Duration::from_millis(50));
                }
                called => return called,
            }
        }
    }

    /// Calls the service of a Box.
    pub fn call(dir: &Path, want: Want) -> Result<Self, NoService> {
        let stream = connect(dir)?;
        // One that stands still still has its socket.
        let is_known = matches!(
            want,
            Want::Status {} | Want::Peers {} | Want::Jobs {} | Want::SetConfig { .. }
        );
        stream
            .set_read_timeout(is_known.then_some(ANSWERING))
            .map_err(|error| NoService::Fault(lost(&error)))?;
        let mut client = Self {
            reader: BufReader::with_capacity(64 << 10, stream),
        };
        let mut line = serde_json::to_string(&Call { v: VERSION, want }).expect("plain data");
        line.push('\n');
        client
            .reader
            .get_mut()
            .write_all(line.as_bytes())
            .map_err(|error| NoService::Fault(lost(&error)))?;
        Ok(client)
    }

    /// The next line of the answer; a fault of the service is ours.
    pub fn reply(&mut self) -> Result<Reply, Fault> {
        let mut line = String::new();
        let read = (&mut self.reader)
            .take(LINE_BYTES_MAX)
            .read_line(&mut line)
            .map_err(|error| lost(&error))?;
        if read == 0 {
            return Err(Fault::new(
                "the keeper ended before it answered",
                "What it acknowledged before is safe.",
                "See its log, start it again and repeat the command.",
            ));
        }
        match serde_json::from_str(&line) {
            Ok(Reply::Fault(fault)) => Err(fault),
            Ok(reply) => Ok(reply),
            Err(error) => Err(Fault::new(
                format!("the keeper's answer is not understood ({error})"),
                "What the keeper does goes on undisturbed.",
                "The command and the keeper may be of different versions: restart the keeper.",
            )),
        }
    }

    /// The stream, once the answer in lines is over; nothing of what follows was read ahead or it is lost, so this is for
    /// streams on which the service waits for us to speak next.
    pub fn into_stream(self) -> UnixStream {
        debug_assert!(self.reader.buffer().is_empty(), "the service waits for us");
        self.reader.into_inner()
    }
}

fn lost(error: &std::io::Error) -> Fault {
    if error.kind() == std::io::ErrorKind::WouldBlock {
        return Fault::new(
            format!(
                "the keeper runs but has not answered for {} seconds",
                ANSWERING.as_secs()
            ),
            "Nothing was changed.",
            "It may be stopped, or its disk hangs: see its log and restart it.",
        );
    }
    Fault::new(
        format!("the connection to the keeper was lost: {error}"),
        "What it acknowledged before is safe.",
        "Repeat the command.",
    )
}

fn connect(dir: &Path) -> Result<UnixStream, NoService> {
    // A socket's path has room for 108 bytes, a state directory's may be longer: go through the open directory.
    let opened = std::fs::File::open(dir).map_err(|error| {
        NoService::Fault(Fault::new(
            format!("{}: {error}", dir.display()),
            "Nothing was changed.",
            "Is it this Box's state directory? Make it one with `reserve init` or `reserve join`, or name another with --dir.",
        ))
    })?;
    let path: PathBuf = format!("/proc/self/fd/{}/{SOCKET}", opened.as_raw_fd()).into();
    match UnixStream::connect(path) {
        Ok(stream) => Ok(stream),
        Err(error) => match error.kind() {
            std::io::ErrorKind::NotFound | std::io::ErrorKind::ConnectionRefused => {
                Err(NoService::NotRunning)
            }
            _ => Err(NoService::Fault(Fault::new(
                format!("cannot speak to the keeper of {}: {error}", dir.display()),
                "Nothing was changed.",
                "You may need to be root or in the group its socket belongs to.",
            ))),
        },
    }
}
