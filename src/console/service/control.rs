//! The service's end of the control socket.
//!
//! Who may open the socket is the file system's business: it belongs to a group. One task a connection; a command that goes away
//! takes nothing with it but its own answer.

use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Mutex;

use super::Service;
use super::following::{begun, follow};
use super::job::Asked;
use crate::console::control::{
    Call, Ended, FETCH_BYTES, Fetch, Reply, SOCKET, SnapshotView, VERSION, Want, chunk_header,
};
use crate::console::fault::{Exit, Fault};
use crate::console::source::SOCKET_BUFFER_BYTES;
use crate::retriever::Source;
use crate::world::{Clock, World};

/// The longest call.
const CALL_BYTES_MAX: u64 = 64 << 10;
/// How soon commands are listened for again after one could not be heard.
const LISTEN_AGAIN: Duration = Duration::from_millis(200);
/// A command that does not read for this long is left alone.
const COMMAND_PATIENCE: Duration = Duration::from_secs(30);

/// Opens the socket in a state directory; what an ended service left there is replaced (the caller holds the directory's lock).
pub fn open(dir: &Path) -> std::io::Result<UnixListener> {
    let opened = std::fs::File::open(dir)?;
    // A socket's path has room for 108 bytes, a state directory's may be longer.
    let path = format!("/proc/self/fd/{}/{SOCKET}", opened.as_raw_fd());
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(&path)?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o660))?;
    Ok(listener)
}

/// Answers commands for as long as the service runs.
pub async fn serve<W: World>(service: Service<W>, listener: UnixListener) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let caller = service.clone();
                service.world().spawn(async move {
                    // The command went away: its own business.
                    let _ = answer(caller, stream).await;
                });
            }
            Err(error) => {
                tracing::warn!(%error, "a command could not be heard");
                service.world().clock().sleep(LISTEN_AGAIN).await;
            }
        }
    }
}

async fn answer<W: World>(service: Service<W>, stream: UnixStream) -> std::io::Result<()> {
    let (reader, mut writer) = stream.into_split();
    let mut reader = BufReader::with_capacity(4 << 10, reader);
    let mut line = String::new();
    (&mut reader)
        .take(CALL_BYTES_MAX)
        .read_line(&mut line)
        .await?;
    let want = match serde_json::from_str::<Call>(&line) {
        Ok(Call { v: VERSION, want }) => want,
        Ok(Call { v, .. }) => return say(&mut writer, &Reply::Fault(other_version(v))).await,
        Err(error) => return say(&mut writer, &Reply::Fault(not_understood(&error))).await,
    };
    let reply = match want {
        Want::Invite {} => service.invite().await.map(Reply::Ticket),
        Want::Snapshot {
            accept_loss,
            try_anyway,
        } => service
            .begin_snapshot(Asked {
                accept_loss,
                try_anyway,
                only_news: false,
            })
            .await
            .map(|job| Reply::Job { id: job.id }),
        Want::Jobs {} => Ok(Reply::Jobs(service.job_views())),
        Want::Cancel { job } => match service.job(job) {
            Some(found) => found.cancel().map(|()| Reply::Job { id: job }),
            None => Err(no_job(job)),
        },
        Want::Follow { job } => match service.job(job) {
            Some(found) => return follow(&service, &found, &mut writer).await,
            None => Err(no_job(job)),
        },
        Want::Events { since, follow } => {
            return super::events::tell(&service, since.as_ref(), follow, reader, writer).await;
        }
        Want::Snapshots {} => Ok(Reply::Snapshots(service.snapshots().await)),
        Want::Status {} => Ok(Reply::Status(Box::new(service.status().await))),
        Want::Peers {} => Ok(Reply::Peers(service.peers())),
        Want::SetConfig { key, value } => {
            service.set_config(&key, &value).await.map(Reply::Changed)
        }
        Want::Remove(asked) => match service.begin_leaving(&asked) {
            Ok(job) => return begun(&service, &job, &mut writer).await,
            Err(fault) => Err(fault),
        },
        Want::Conflicts {} => Ok(Reply::Conflicts(service.conflicts().await)),
        Want::Choose { id } => service.choose(&id).await.map(Reply::Conflicts),
        Want::Sweep {} => return begun(&service, &service.begin_sweep(), &mut writer).await,
        Want::Forget(call) => match service.begin_forgetting_as(call) {
            Ok(job) => return begun(&service, &job, &mut writer).await,
            Err(fault) => Err(fault),
        },
        Want::Retrieve { author, snapshot } => {
            match service.find(author.as_deref(), &snapshot).await {
                Ok(view) => {
                    let snapshot = view.snapshot.clone();
                    say(&mut writer, &Reply::Retrieve(view)).await?;
                    return chunks(&service, &snapshot, reader, writer).await;
                }
                Err(miss) => return say(&mut writer, &miss.into()).await,
            }
        }
    };
    say(&mut writer, &reply.unwrap_or_else(Reply::Fault)).await
}

pub(super) async fn say(writer: &mut OwnedWriteHalf, reply: &Reply) -> std::io::Result<()> {
    let mut line = serde_json::to_string(reply).map_err(std::io::Error::other)?;
    line.push('\n');
    writer.write_all(line.as_bytes()).await
}

/// Hands out verified plaintext for as long as the command asks.
async fn chunks<W: World>(
    service: &Service<W>,
    snapshot: &SnapshotView,
    mut reader: BufReader<OwnedReadHalf>,
    writer: OwnedWriteHalf,
) -> std::io::Result<()> {
    // Without it only more wake-ups are needed.
    let _ = rustix::net::sockopt::set_socket_send_buffer_size(writer.as_ref(), SOCKET_BUFFER_BYTES);
    // Nobody is there any more once it is taken out.
    let writer = Rc::new(Mutex::new(Some(writer)));
    loop {
        let mut request = [0; FETCH_BYTES];
        reader.read_exact(&mut request).await?;
        if let Some(ended) = Ended::decode(&request) {
            service.tell_retrieval(snapshot, &ended);
            if let Some(out) = writer.lock().await.as_mut() {
                out.write_all(&chunk_header(ended.tag, true, 0)).await?;
            }
            continue;
        }
        let fetch = Fetch::decode(&request).ok_or(std::io::ErrorKind::InvalidData)?;
        // Held until the answer is written: commands that ask for everything at once cost a bounded amount of memory.
        let permit = Arc::clone(&service.0.chunks_out)
            .acquire_owned()
            .await
            .map_err(std::io::Error::other)?;
        if writer.lock().await.is_none() {
            return Ok(());
        }
        let (service, writer) = (service.clone(), Rc::clone(&writer));
        service.clone().world().spawn(async move {
            let fetched = service.gather().fetch(fetch.id, fetch.kind).await;
            let (is_chunk, body) = match fetched {
                Ok(plain) => (true, plain),
                Err(error) => (false, error.to_string().into_bytes()),
            };
            let mut place = writer.lock().await;
            // A command that went away, or stopped reading, is left alone: its connection closes here.
            if let Some(mut out) = place.take() {
                let writing = write_chunk(&mut out, fetch.tag, is_chunk, &body);
                let written = service
                    .world()
                    .clock()
                    .within(COMMAND_PATIENCE, writing)
                    .await;
                if matches!(written, Some(Ok(()))) {
                    *place = Some(out);
                }
            }
            drop(permit);
        });
    }
}

async fn write_chunk(
    out: &mut OwnedWriteHalf,
    tag: u32,
    is_chunk: bool,
    body: &[u8],
) -> std::io::Result<()> {
    let bytes = u32::try_from(body.len()).map_err(std::io::Error::other)?;
    out.write_all(&chunk_header(tag, is_chunk, bytes)).await?;
    out.write_all(body).await
}

fn no_job(id: u64) -> Fault {
    Fault::new(
        format!("there is no job {id}"),
        "Nothing was changed.",
        "`reserve jobs` lists them; the keeper remembers the last few since its start.",
    )
    .exit(Exit::Usage)
}

fn other_version(v: u32) -> Fault {
    Fault::new(
        format!(
            "the command speaks version {v} of the control protocol, the keeper version {VERSION}"
        ),
        "What the keeper does goes on undisturbed.",
        "Restart the keeper with the program you call.",
    )
    .exit(Exit::Usage)
}

fn not_understood(error: &serde_json::Error) -> Fault {
    Fault::new(
        format!("the call is not understood: {error}"),
        "What the keeper does goes on undisturbed.",
        "The command and the keeper may be of different versions: restart the keeper.",
    )
    .exit(Exit::Usage)
}
