//! `reserve retrieve`: the restore runs here, in the caller's process and with the caller's rights; chunks come opened and verified
//! from this Box's keeper over the control socket.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{Mutex, oneshot};

use super::client::Client;
use super::control::{
    CHUNK_HEADER_BYTES, Fetch, Reply, RetrieveView, SnapshotView, Want, read_chunk_header,
};
use super::fault::{Exit, Fault};
use super::progress::Progress as Bar;
use super::{cli, memory, text};
use crate::format::head::Manifest;
use crate::retriever::{self, FetchError, Source};
use crate::terms::limits::CUT_BYTES_MAX;
use crate::terms::{ChunkId, Kind};
use crate::world::uring::{self, Uring};
use crate::world::{Clock, World};

/// How often the bar moves.
const BAR_EVERY: Duration = Duration::from_millis(200);

/// What came back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RetrieveOutcome {
    /// Of which snapshot.
    pub snapshot: SnapshotView,
    /// Regular files restored whole.
    pub files: u64,
    /// Directories.
    pub dirs: u64,
    /// Symbolic links.
    pub symlinks: u64,
    /// Bytes of the files.
    pub bytes: u64,
    /// What did not come back: path and reason, bounded.
    pub failed: Vec<(String, String)>,
    /// How many.
    pub failed_count: u64,
    /// Things with an attribute the caller may not set: path and which, bounded.
    pub not_set: Vec<(String, String)>,
    /// How many.
    pub not_set_count: u64,
    /// The most memory this command ever had.
    pub memory_peak_bytes: Option<u64>,
}

/// Runs the command.
pub fn run(dir: &Path, args: &cli::Retrieve) -> Result<Exit, Fault> {
    let want = Want::Retrieve {
        author: args.author.clone(),
        snapshot: args.snapshot.clone(),
    };
    let mut client = Client::call_patiently(dir, &want).map_err(|no| no.fault(dir))?;
    let view = match client.reply()? {
        Reply::Retrieve(view) => view,
        _ => return Err(nonsense()),
    };
    if args.snapshot == "latest" && !view.not_asked.is_empty() {
        text::tell(&format!(
            "Out of reach, and so not asked for a newer snapshot than {} (number {}): {}.",
            view.snapshot.id,
            view.snapshot.number,
            view.not_asked.join(", ")
        ));
    }
    let stream = client.into_stream();
    let target = std::path::absolute(&args.to).map_err(|error| {
        Fault::new(
            format!("{}: {error}", args.to.display()),
            "Nothing was written.",
            "Give another directory with --to.",
        )
    })?;
    let outcome =
        uring::run_without_ring(async move { restore(stream, view, args, &target).await })
            .map_err(|error| Fault::new(error.to_string(), "Nothing was written.", ""))??;
    if args.print.json {
        text::print_json(&outcome)?;
    } else {
        text::print(&told(&outcome, &args.to))?;
    }
    Ok(if outcome.failed_count > 0 {
        Exit::Damaged
    } else {
        Exit::Done
    })
}

async fn restore(
    stream: std::os::unix::net::UnixStream,
    view: RetrieveView,
    args: &cli::Retrieve,
    target: &Path,
) -> Result<RetrieveOutcome, Fault> {
    let cannot = |error: std::io::Error| {
        Fault::new(
            format!("the restore cannot begin: {error}"),
            "Nothing was written.",
            "Repeat the command.",
        )
    };
    let world = Uring::without_disk().map_err(cannot)?;
    let manifest = data_encoding::HEXLOWER
        .decode(view.manifest.as_bytes())
        .ok()
        .and_then(|bytes| Manifest::decode(&bytes).ok())
        .ok_or_else(nonsense)?;
    stream.set_nonblocking(true).map_err(cannot)?;
    let source = SocketSource::new(&world, UnixStream::from_std(stream).map_err(cannot)?);
    source.restore(&world, &view, &manifest, args, target).await
}

impl SocketSource {
    async fn restore(
        self,
        world: &Uring,
        view: &RetrieveView,
        manifest: &Manifest,
        args: &cli::Retrieve,
        target: &Path,
    ) -> Result<RetrieveOutcome, Fault> {
        let progress = retriever::Progress::default();
        let total = manifest.data_sets.iter().map(|set| set.bytes).sum();
        let paths: Vec<Vec<u8>> = args
            .path
            .iter()
            .map(|path| path.as_bytes().to_vec())
            .collect();
        let request = retriever::Request {
            manifest,
            data_set: None,
            target: target.as_os_str().as_bytes(),
            paths: &paths,
            into_nonempty: false,
            overwrite: false,
        };
        let mut work = std::pin::pin!(retriever::retrieve(world, &self, request, &progress));
        let mut bar = Bar::begin("retrieving", Some(total));
        let done = loop {
            // `within` drops only the reference: the work itself goes on in the next round.
            if let Some(done) = world.clock().within(BAR_EVERY, work.as_mut()).await {
                break done;
            }
            let now = progress.view();
            bar.at(now.bytes, now.files, &String::from_utf8_lossy(&now.current));
        };
        bar.end();
        let report = done.map_err(|error| Fault::new(error.to_string(), "", ""))?;
        let lossy = |path: &[u8]| String::from_utf8_lossy(path).into_owned();
        Ok(RetrieveOutcome {
            snapshot: view.snapshot.clone(),
            files: report.files,
            dirs: report.dirs,
            symlinks: report.symlinks,
            bytes: report.bytes,
            failed: report
                .failed
                .iter()
                .map(|(path, why)| (lossy(path), why.clone()))
                .collect(),
            failed_count: report.failed_count,
            not_set: report
                .not_set
                .iter()
                .map(|(path, how)| (lossy(path), differs(*how)))
                .collect(),
            not_set_count: report.not_set_count,
            memory_peak_bytes: memory::of_self().map(|(_, peak)| peak),
        })
    }
}

fn differs(how: retriever::Differs) -> String {
    let parts = [
        (how.owner, "owner"),
        (how.mode, "set-user or set-group bits"),
        (how.xattrs, "extended attributes"),
        (how.hard_link, "a copy of its own instead of a hard link"),
        (how.attributes, "all attributes"),
    ];
    parts
        .iter()
        .filter(|(is, _)| *is)
        .map(|(_, what)| *what)
        .collect::<Vec<_>>()
        .join(", ")
}

fn nonsense() -> Fault {
    Fault::new(
        "the keeper's answer is not understood",
        "Nothing was written.",
        "The command and the keeper may be of different versions: restart the keeper.",
    )
}

fn told(outcome: &RetrieveOutcome, to: &Path) -> String {
    let RetrieveOutcome {
        snapshot,
        files,
        bytes,
        failed,
        failed_count,
        not_set,
        not_set_count,
        ..
    } = outcome;
    let mut lines = vec![format!(
        "{files} files, {} of {} (snapshot {}, number {}) are in {}.",
        text::bytes(*bytes),
        snapshot.author,
        snapshot.id,
        snapshot.number,
        to.display()
    )];
    if *failed_count > 0 {
        lines.push(format!("{failed_count} things did NOT come back:"));
        lines.extend(
            failed
                .iter()
                .take(20)
                .map(|(path, why)| format!("  {path}: {why}")),
        );
    }
    if *not_set_count > 0 {
        lines.push(format!(
            "{not_set_count} things have attributes you may not set:"
        ));
        lines.extend(
            not_set
                .iter()
                .take(5)
                .map(|(path, what)| format!("  {path}: {what}")),
        );
    }
    lines.join("\n")
}

type Answer = oneshot::Sender<Result<Vec<u8>, FetchError>>;

struct Inner {
    writer: Mutex<OwnedWriteHalf>,
    waiting: RefCell<BTreeMap<u32, Answer>>,
    tag: Cell<u32>,
}

/// Chunks from this Box's keeper.
#[derive(Clone)]
struct SocketSource(Rc<Inner>);

impl SocketSource {
    fn new(world: &Uring, stream: UnixStream) -> Self {
        let (reader, writer) = stream.into_split();
        let source = Self(Rc::new(Inner {
            writer: Mutex::new(writer),
            waiting: RefCell::default(),
            tag: Cell::new(0),
        }));
        let inner = Rc::downgrade(&source.0);
        world.spawn(async move {
            let why = answers(reader, &inner).await;
            if let Some(inner) = inner.upgrade() {
                for (_, waiting) in std::mem::take(&mut *inner.waiting.borrow_mut()) {
                    // Whoever asked has gone: fine.
                    let _ = waiting.send(Err(FetchError::Ended(why.clone())));
                }
            }
        });
        source
    }
}

/// Hands out answers until the keeper ends; tells why it did.
async fn answers(mut reader: OwnedReadHalf, inner: &std::rc::Weak<Inner>) -> String {
    loop {
        let mut header = [0; CHUNK_HEADER_BYTES];
        if let Err(error) = reader.read_exact(&mut header).await {
            return error.to_string();
        }
        let (tag, is_chunk, bytes) = read_chunk_header(&header);
        if bytes as usize > CUT_BYTES_MAX {
            return "it answered nonsense".into();
        }
        let mut body = Vec::with_capacity(bytes as usize);
        match (&mut reader)
            .take(u64::from(bytes))
            .read_to_end(&mut body)
            .await
        {
            Ok(read) if read == bytes as usize => {}
            Ok(_) => return "it ended in the middle of a chunk".into(),
            Err(error) => return error.to_string(),
        }
        let Some(inner) = inner.upgrade() else {
            return String::new();
        };
        let waiting = inner.waiting.borrow_mut().remove(&tag);
        if let Some(waiting) = waiting {
            let answer = if is_chunk {
                Ok(body)
            } else {
                Err(FetchError::Told(
                    String::from_utf8_lossy(&body).into_owned(),
                ))
            };
            // Whoever asked has gone: fine.
            let _ = waiting.send(answer);
        }
    }
}

impl Source for SocketSource {
    async fn fetch(&self, id: ChunkId, kind: Kind) -> Result<Vec<u8>, FetchError> {
        let tag = self.0.tag.get();
        self.0.tag.set(tag.wrapping_add(1));
        let (answer, answered) = oneshot::channel();
        self.0.waiting.borrow_mut().insert(tag, answer);
        let request = Fetch { tag, kind, id }.encode();
        if let Err(error) = self.0.writer.lock().await.write_all(&request).await {
            self.0.waiting.borrow_mut().remove(&tag);
            return Err(FetchError::Ended(error.to_string()));
        }
        answered
            .await
            .unwrap_or_else(|_| Err(FetchError::Ended("it closed the connection".into())))
    }
}
