//! A snapshot opened for a command: its manifest from this Box's keeper, and its chunks, opened and verified there, over the same
//! connection. Which snapshot is meant is the keeper's decision; whom to ask when several Boxes have some is decided here.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io::{BufRead, IsTerminal, Write};
use std::path::Path;
use std::rc::Rc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{Mutex, oneshot};

use super::client::Client;
use super::control::{
    CHUNK_HEADER_BYTES, Ended, Fetch, Reply, RetrieveView, Want, read_chunk_header,
};
use super::fault::{Exit, Fault};
use super::{consistency, text, when};
use crate::format::head::Manifest;
use crate::retriever::{FetchError, Source};
use crate::terms::limits::CUT_BYTES_MAX;
use crate::terms::{ChunkId, Kind};
use crate::world::World;
use crate::world::uring::Uring;

/// Answers whose memory is kept to be used again, 2 MiB each at most.
const SPARE_MAX: usize = 6;
/// Smaller ones cost little.
const SPARE_BYTES_MIN: usize = 128 << 10;
/// What the kernel is asked to hold of answers under way, so that it wakes both sides less often. It may give less.
pub const SOCKET_BUFFER_BYTES: usize = 1 << 20;

/// A snapshot that was found.
pub struct Opened {
    /// Which.
    pub view: RetrieveView,
    /// What it consists of.
    pub manifest: Manifest,
    stream: std::os::unix::net::UnixStream,
}

/// Finds the snapshot a person means. Without an author, and when several have snapshots, a person at a terminal is asked.
pub fn find(dir: &Path, author: Option<&str>, snapshot: &str) -> Result<Opened, Fault> {
    let wish = when::snapshot_wish(snapshot, &jiff::tz::TimeZone::system())?;
    let mut author = author.map(str::to_owned);
    loop {
        let want = Want::Retrieve {
            author: author.clone(),
            snapshot: wish.clone(),
        };
        let mut client = Client::call_patiently(dir, &want).map_err(|no| no.fault(dir))?;
        match client.reply()? {
            Reply::Retrieve(view) => return opened(view, client, &wish),
            Reply::Authors(names) if author.is_none() => author = Some(chosen(&names)?),
            _ => return Err(nonsense()),
        }
    }
}

fn opened(view: RetrieveView, client: Client, wish: &str) -> Result<Opened, Fault> {
    if (wish == "latest" || wish.starts_with('@')) && !view.not_asked.is_empty() {
        text::tell(&format!(
            "Out of reach or without an answer, and perhaps with a newer snapshot than {} (number {}): {}.",
            view.snapshot.id,
            view.snapshot.number,
            view.not_asked.join(", ")
        ));
    }
    let manifest = data_encoding::HEXLOWER
        .decode(view.manifest.as_bytes())
        .ok()
        .and_then(|bytes| Manifest::decode(&bytes).ok())
        .ok_or_else(nonsense)?;
    if let Some(told) = consistency::told(view.snapshot.data_sets.as_deref().unwrap_or_default()) {
        text::tell(&told);
    }
    Ok(Opened {
        view,
        manifest,
        stream: client.into_stream(),
    })
}

/// Asks a person which author is meant; where nobody can be asked, says how to tell.
fn chosen(names: &[String]) -> Result<String, Fault> {
    let several = || {
        Fault::new(
            "there are snapshots of several Boxes",
            "Nothing was written.",
            format!("Choose one with --author: {}.", names.join(", ")),
        )
        .exit(Exit::Usage)
    };
    if !std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() {
        return Err(several());
    }
    let mut input = std::io::stdin().lock();
    choose(names, &mut input, &mut std::io::stderr()).ok_or_else(several)
}

/// Shows a numbered list and reads a number or a name, until one fits or the input ends.
fn choose(names: &[String], input: &mut impl BufRead, out: &mut impl Write) -> Option<String> {
    loop {
        // Where the question cannot be shown, the end of the input ends it.
        let _ = writeln!(out, "There are snapshots of several Boxes:");
        for (number, name) in (1..).zip(names) {
            let _ = writeln!(out, "  {number}) {name}");
        }
        let _ = write!(out, "Whose files? ");
        let _ = out.flush();
        let mut line = String::new();
        if input.read_line(&mut line).ok()? == 0 {
            return None;
        }
        let answer = line.trim();
        let by_number = answer
            .parse::<usize>()
            .ok()
            .and_then(|number| names.get(number.checked_sub(1)?));
        if let Some(name) = names.iter().find(|name| *name == answer).or(by_number) {
            return Some(name.clone());
        }
    }
}

/// An answer that makes no sense.
pub fn nonsense() -> Fault {
    Fault::new(
        "the keeper's answer is not understood",
        "Nothing was written.",
        "The command and the keeper may be of different versions: restart the keeper.",
    )
}

impl Opened {
    /// Its chunks. Must be called where the world runs.
    pub fn source(&self, world: &Uring) -> std::io::Result<SocketSource> {
        let stream = self.stream.try_clone()?;
        stream.set_nonblocking(true)?;
        Ok(SocketSource::new(world, UnixStream::from_std(stream)?))
    }
}

type Answer = oneshot::Sender<Result<Vec<u8>, FetchError>>;

struct Inner {
    writer: Mutex<OwnedWriteHalf>,
    waiting: RefCell<BTreeMap<u32, Answer>>,
    tag: Cell<u32>,
    bytes: Cell<u64>,
    /// Why nothing is answered any more.
    ended: RefCell<Option<String>>,
    /// Memory of earlier answers: new memory costs the kernel as much as the copy into it.
    spare: RefCell<Vec<Vec<u8>>>,
}

/// Chunks from this Box's keeper.
#[derive(Clone)]
pub struct SocketSource(Rc<Inner>);

impl Inner {
    fn memory(&self) -> Vec<u8> {
        let mut memory = self.spare.borrow_mut().pop().unwrap_or_default();
        memory.clear();
        memory
    }
}

impl SocketSource {
    fn new(world: &Uring, stream: UnixStream) -> Self {
        let (reader, writer) = stream.into_split();
        let source = Self(Rc::new(Inner {
            writer: Mutex::new(writer),
            waiting: RefCell::default(),
            tag: Cell::new(0),
            bytes: Cell::new(0),
            ended: RefCell::default(),
            spare: RefCell::default(),
        }));
        let inner = Rc::downgrade(&source.0);
        world.spawn(async move {
            let why = answers(reader, &inner).await;
            if let Some(inner) = inner.upgrade() {
                // Nobody reads any more, so nobody may ask either.
                *inner.ended.borrow_mut() = Some(why.clone());
                for (_, waiting) in std::mem::take(&mut *inner.waiting.borrow_mut()) {
                    // Whoever asked has gone: fine.
                    let _ = waiting.send(Err(FetchError::Ended(why.clone())));
                }
            }
        });
        source
    }

    /// Tells the keeper how the retrieval ended. One that is gone, or does not understand it, is told nothing.
    pub async fn tell_end(&self, ended: Ended) {
        if self.0.ended.borrow().is_some() {
            return;
        }
        let tag = self.next_tag();
        let (answer, answered) = oneshot::channel();
        self.0.waiting.borrow_mut().insert(tag, answer);
        let ended = Ended { tag, ..ended }.encode();
        if self.0.writer.lock().await.write_all(&ended).await.is_ok() {
            let _ = answered.await;
        }
    }

    fn next_tag(&self) -> u32 {
        let tag = self.0.tag.get();
        self.0.tag.set(tag.wrapping_add(1));
        tag
    }

    /// Bytes of chunks that came so far, opened.
    pub fn bytes_fetched(&self) -> u64 {
        self.0.bytes.get()
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
        let mut body = inner
            .upgrade()
            .map_or_else(Vec::new, |inner| inner.memory());
        body.reserve(bytes as usize);
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
        inner
            .bytes
            .set(inner.bytes.get().saturating_add(u64::from(bytes)));
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
        if let Some(why) = self.0.ended.borrow().clone() {
            return Err(FetchError::Ended(why));
        }
        let tag = self.next_tag();
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

    fn give_back(&self, memory: Vec<u8>) {
        let mut spare = self.0.spare.borrow_mut();
        if spare.len() < SPARE_MAX && (SPARE_BYTES_MIN..=CUT_BYTES_MAX).contains(&memory.capacity())
        {
            spare.push(memory);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_person_chooses_by_number_or_by_name_and_is_asked_again() {
        let names = ["home".to_owned(), "office".to_owned()];
        let asked = |typed: &str| {
            let mut shown = Vec::new();
            let chosen = choose(&names, &mut typed.as_bytes(), &mut shown);
            (chosen, String::from_utf8(shown).expect("text"))
        };
        assert_eq!(asked("2\n").0.as_deref(), Some("office"));
        assert_eq!(asked("home\n").0.as_deref(), Some("home"));
        let (chosen, shown) = asked("0\nfriend\n3\n1\n");
        assert_eq!(chosen.as_deref(), Some("home"));
        assert_eq!(shown.matches("Whose files?").count(), 4);
        assert!(shown.contains("  2) office"), "{shown}");
        assert_eq!(asked("nobody\n").0, None);
    }
}
