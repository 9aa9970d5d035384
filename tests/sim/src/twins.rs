//! Conformance twins: what both worlds must do alike, each a test body that runs on the simulated and on the real one.
//!
//! Where the simulation differs on purpose:
//! - it refuses what is not whole blocks even where a real file system would fall back to buffered I/O;
//! - after a failed sync it never makes the lost bytes durable, though a real disk might have written them;
//! - a new name needs a sync of its directory even after its file was synced, though ext4 writes both;
//! - people's files (`Tree`) are not forgotten in a power cut, synced or not;
//! - deeds asked for together end in any order, and a sync covers only what was written before it was asked for;
//! - a link to a Box that lost power ends a few milliseconds later, not when the Box comes back;
//! - time passes in steps of a millisecond.

pub use crate::twins_kinds::{
    a_pipe_has_its_attributes, a_second_name_is_the_same_file, extended_attributes_come_back,
    holes_are_told_and_stay_holes, space_may_be_taken_in_advance_and_given_back,
};

use std::io;

use reserve::terms::Stamp;
use reserve::terms::limits::BLOCK_BYTES;
use reserve::world::{
    Attributes, Disk, DiskFile, FileKind, Listener, Net, NewFile, Tree, TreeFile, World,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const BLOCK: u64 = BLOCK_BYTES as u64;

fn kind_of<T>(result: &io::Result<T>) -> Option<io::ErrorKind> {
    result.as_ref().err().map(io::Error::kind)
}

async fn append<D: Disk>(disk: &D, file: &D::File, fill: u8, blocks: usize) -> io::Result<()> {
    let mut buffer = disk.buffer().await;
    let len = blocks * BLOCK_BYTES;
    buffer[BLOCK_BYTES..BLOCK_BYTES + len].fill(fill);
    let end = file.len().await?;
    file.write_at(buffer, BLOCK_BYTES, len, end).await.0
}

pub(crate) async fn block<D: Disk>(disk: &D, file: &D::File, offset: u64) -> io::Result<Vec<u8>> {
    let buffer = disk.buffer().await;
    let (len, buffer) = file.read_at(buffer, 0, BLOCK_BYTES, offset).await;
    Ok(buffer[..len?].to_vec())
}

/// What was appended, in two steps and after opening the file again, is read back.
///
/// # Errors
/// The disk's.
pub async fn what_was_appended_is_read_after_reopening(world: impl World) -> io::Result<()> {
    let disk = world.disk();
    disk.make_dir("store/segments").await?;
    let file = disk.open("store/segments/1", true).await?;
    append(disk, &file, 1, 1).await?;
    append(disk, &file, 2, 2).await?;
    file.sync_data().await?;
    disk.sync_dir("store/segments").await?;
    drop(file);

    let file = disk.open("store/segments/1", false).await?;
    append(disk, &file, 3, 1).await?;
    assert_eq!(file.len().await?, 4 * BLOCK);
    for (offset, fill) in [(0, 1), (BLOCK, 2), (2 * BLOCK, 2), (3 * BLOCK, 3)] {
        assert_eq!(block(disk, &file, offset).await?, vec![fill; BLOCK_BYTES]);
    }
    Ok(())
}

/// A read at the end is short, and one behind it brings nothing.
///
/// # Errors
/// The disk's.
pub async fn a_read_at_the_end_is_short(world: impl World) -> io::Result<()> {
    let disk = world.disk();
    let file = disk.open("short", true).await?;
    append(disk, &file, 7, 3).await?;
    file.set_len(2 * BLOCK + 100).await?;
    let (len, buffer) = file
        .read_at(disk.buffer().await, 0, 4 * BLOCK_BYTES, BLOCK)
        .await;
    assert_eq!(len?, BLOCK_BYTES + 100);
    assert!(buffer[..BLOCK_BYTES + 100].iter().all(|byte| *byte == 7));
    drop(buffer);
    assert_eq!(block(disk, &file, 3 * BLOCK).await?, Vec::<u8>::new());
    assert_eq!(block(disk, &file, 64 * BLOCK).await?, Vec::<u8>::new());
    Ok(())
}

/// A file cut short loses its end, and one extended reads zeros.
///
/// # Errors
/// The disk's.
pub async fn a_file_can_be_cut_and_extended(world: impl World) -> io::Result<()> {
    let disk = world.disk();
    let file = disk.open("len", true).await?;
    append(disk, &file, 7, 2).await?;
    file.set_len(BLOCK).await?;
    assert_eq!(file.len().await?, BLOCK);
    file.set_len(3 * BLOCK).await?;
    assert_eq!(file.len().await?, 3 * BLOCK);
    assert_eq!(block(disk, &file, 0).await?, vec![7; BLOCK_BYTES]);
    assert_eq!(block(disk, &file, BLOCK).await?, vec![0; BLOCK_BYTES]);
    Ok(())
}

/// Opening tells apart what is there from what is not.
///
/// # Errors
/// The disk's.
pub async fn opening_tells_what_is_there_from_what_is_not(world: impl World) -> io::Result<()> {
    let disk = world.disk();
    let missing = Some(io::ErrorKind::NotFound);
    assert_eq!(kind_of(&disk.open("none", false).await), missing);
    assert_eq!(kind_of(&disk.open("no/such/dir", true).await), missing);
    disk.open("there", true).await?;
    assert_eq!(
        kind_of(&disk.open("there", true).await),
        Some(io::ErrorKind::AlreadyExists)
    );
    disk.open("there", false).await?;
    Ok(())
}

/// A directory lists its plain files, sorted, and nothing else.
///
/// # Errors
/// The disk's.
pub async fn a_directory_lists_its_plain_files_sorted(world: impl World) -> io::Result<()> {
    let disk = world.disk();
    disk.make_dir("d/inner").await?;
    for name in ["d/b", "d/a", "d/B", "d/10", "d/9", "d/inner/x"] {
        disk.open(name, true).await?;
    }
    assert_eq!(disk.list("d").await?, ["10", "9", "B", "a", "b"]);
    assert_eq!(disk.list("d/inner").await?, ["x"]);
    assert!(disk.list("none").await?.is_empty());
    disk.make_dir("d/inner").await?;
    Ok(())
}

/// A small file has the old bytes, then the new ones, and leaves nothing else behind.
///
/// # Errors
/// The disk's.
pub async fn a_small_file_is_replaced_as_a_whole(world: impl World) -> io::Result<()> {
    let disk = world.disk();
    disk.make_dir("s").await?;
    assert_eq!(disk.read_small("s/f").await?, None);
    for bytes in [&b"first"[..], b"second and longer", b"", &[9; 10_000]] {
        disk.replace_small("s/f", bytes, bytes.is_empty()).await?;
        assert_eq!(disk.read_small("s/f").await?.as_deref(), Some(bytes));
    }
    assert_eq!(disk.list("s").await?, ["f"]);
    assert!(disk.replace_small("none/f", b"x", false).await.is_err());
    Ok(())
}

/// A rename replaces, a removal of nothing is no error.
///
/// # Errors
/// The disk's.
pub async fn names_move_and_go(world: impl World) -> io::Result<()> {
    let disk = world.disk();
    disk.make_dir("n").await?;
    disk.replace_small("n/a", b"a", false).await?;
    disk.replace_small("n/b", b"b", false).await?;
    disk.rename("n/a", "n/b").await?;
    assert_eq!(disk.list("n").await?, ["b"]);
    assert_eq!(disk.read_small("n/b").await?.as_deref(), Some(&b"a"[..]));
    assert_eq!(
        kind_of(&disk.rename("n/a", "n/c").await),
        Some(io::ErrorKind::NotFound)
    );
    disk.remove("n/b").await?;
    disk.remove("n/b").await?;
    assert!(disk.list("n").await?.is_empty());
    assert!(disk.free_bytes("").await? > 0);
    disk.sync_dir("n").await
}

fn some() -> Attributes {
    Attributes {
        mode: 0o640,
        mtime: Stamp {
            seconds: 1_000_000_000,
            nanos: 123_456_789,
        },
        ..Attributes::default()
    }
}

/// [`some`] attributes with the owner that whoever runs this gives its files anyway.
async fn own<T: Tree>(tree: &T, root: &T::Root, dir: &[u8]) -> io::Result<Attributes> {
    tree.make_dir(root, b"probe").await?;
    let stat = tree.stat(&join(dir, b"probe")).await?;
    Ok(Attributes {
        uid: stat.uid,
        gid: stat.gid,
        ..some()
    })
}

fn new_file(path: &[u8], bytes: &[u8], attributes: Attributes) -> NewFile {
    NewFile {
        path: path.to_vec(),
        bytes: bytes.to_vec(),
        has_holes: false,
        attributes,
    }
}

fn join(dir: &[u8], name: &[u8]) -> Vec<u8> {
    [dir, b"/", name].concat()
}

async fn write<T: Tree>(
    tree: &T,
    root: &T::Root,
    path: &[u8],
    bytes: &[u8],
    attributes: Attributes,
) -> io::Result<()> {
    let file = tree.create(root, path).await?;
    file.write_at(bytes.to_vec(), 0).await.0?;
    tree.finish(root, file, path, attributes).await.map(|_| ())
}

/// What a retriever writes is what an author reads, attributes included. `dir` is a directory to make.
///
/// # Errors
/// The tree's.
pub async fn what_is_restored_reads_back(world: impl World, dir: Vec<u8>) -> io::Result<()> {
    let tree = world.tree();
    let root = tree.root(&dir).await?;
    assert!(tree.root_is_empty(&root).await?);
    let own = own(tree, &root, &dir).await?;
    assert!(!tree.root_is_empty(&root).await?);
    tree.make_dir(&root, b"d").await?;
    tree.make_dir(&root, b"d").await?;
    write(tree, &root, b"d/file", b"hello world", own.clone()).await?;
    let new = |path: &[u8], bytes: &[u8]| new_file(path, bytes, own.clone());
    let many = vec![
        new(b"d/one", b"1"),
        new(b"none/two", b"2"),
        new(b"d/three", b"333"),
    ];
    let written = tree.write_many(&root, many).await;
    assert_eq!(
        written.iter().map(Result::is_ok).collect::<Vec<_>>(),
        [true, false, true]
    );
    let of_dir = Attributes {
        mode: 0o750,
        ..own.clone()
    };
    let set = tree.set(&root, b"d", of_dir).await?;
    assert!(!set.owner && !set.mode);
    tree.sync(&root).await?;

    let stat = tree.stat(&join(&dir, b"d/file")).await?;
    assert_eq!(
        (stat.kind, stat.size, stat.mode, stat.mtime),
        (FileKind::File, 11, own.mode, own.mtime)
    );
    assert_eq!((stat.uid, stat.gid, stat.links), (own.uid, own.gid, 1));
    let file = tree.open(&join(&dir, b"d/file")).await?;
    assert_eq!(file.stat().await?.inode, stat.inode);
    let (len, bytes) = file.read_at(b"say ".to_vec(), 5, 6).await;
    assert_eq!((len?, &bytes[..]), (5, &b"say world"[..]));
    assert_eq!(file.read_at(Vec::new(), 5, 11).await.0?, 0);
    let stat = tree.stat(&join(&dir, b"d")).await?;
    assert_eq!(
        (stat.kind, stat.mode, stat.mtime),
        (FileKind::Dir, 0o750, own.mtime)
    );
    assert_eq!(tree.file_system(&dir).await?.device, stat.device);
    Ok(())
}

/// A listing is sorted as bytes and says what each thing is.
///
/// # Errors
/// The tree's.
pub async fn a_listing_is_sorted_as_bytes(world: impl World, dir: Vec<u8>) -> io::Result<()> {
    let tree = world.tree();
    let root = tree.root(&dir).await?;
    for name in [&b"b"[..], b"a", b"\xff\xfe", b"B"] {
        write(tree, &root, name, name, some()).await?;
    }
    tree.make_dir(&root, b"a.d").await?;
    tree.make_symlink(&root, b"l", b"nowhere").await?;
    let mut listed = Vec::new();
    // A little at a time, as with a directory that does not fit into memory.
    loop {
        let behind: &[u8] = listed.last().map_or(b"", |name: &Vec<u8>| name);
        let names = tree.list(&dir, behind, 12).await?;
        listed.extend((0..names.len()).filter_map(|at| names.get(at).map(<[u8]>::to_vec)));
        if !names.has_more {
            break;
        }
    }
    let looked = tree.look(&dir, listed).await;
    let told: Vec<_> = looked
        .iter()
        .map(|entry| {
            (
                &entry.name[..],
                entry.stat.as_ref().map(|stat| (stat.kind, stat.size)),
            )
        })
        .collect();
    assert_eq!(told.len(), 6);
    let file = |size| Ok((FileKind::File, size));
    assert_eq!(told[0], (&b"B"[..], file(1)));
    assert_eq!(told[1], (&b"a"[..], file(1)));
    assert_eq!(told[2].0, b"a.d");
    assert!(matches!(told[2].1, Ok((FileKind::Dir, _))));
    assert_eq!(told[3], (&b"b"[..], file(1)));
    assert_eq!(told[4], (&b"l"[..], Ok((FileKind::Symlink, 7))));
    assert_eq!(told[5], (&b"\xff\xfe"[..], file(2)));
    assert_eq!(
        kind_of(&tree.list(&join(&dir, b"none"), b"", 12).await),
        Some(io::ErrorKind::NotFound)
    );
    Ok(())
}

/// A symbolic link is read as such and never opened as a file.
///
/// # Errors
/// The tree's.
pub async fn a_link_is_read_and_never_opened(world: impl World, dir: Vec<u8>) -> io::Result<()> {
    let tree = world.tree();
    let root = tree.root(&dir).await?;
    write(tree, &root, b"file", b"x", some()).await?;
    tree.make_symlink(&root, b"link", b"file").await?;
    assert_eq!(tree.read_link(&join(&dir, b"link")).await?, b"file");
    assert!(tree.read_link(&join(&dir, b"file")).await.is_err());
    assert!(tree.open(&join(&dir, b"link")).await.is_err());
    assert!(tree.open(&dir).await.is_err());
    assert_eq!(
        tree.stat(&join(&dir, b"link")).await?.kind,
        FileKind::Symlink
    );
    tree.set(&root, b"link", some()).await?;
    assert_eq!(tree.stat(&join(&dir, b"link")).await?.mtime, some().mtime);
    Ok(())
}

/// Of many small files the missing one has its error and the others are read.
///
/// # Errors
/// The tree's.
pub async fn a_missing_small_file_does_not_stop_the_others(
    world: impl World,
    dir: Vec<u8>,
) -> io::Result<()> {
    let tree = world.tree();
    let root = tree.root(&dir).await?;
    write(tree, &root, b"a", b"aaaa", some()).await?;
    write(tree, &root, b"b", b"bbbbbbbb", some()).await?;
    tree.make_symlink(&root, b"l", b"a").await?;
    let names = [&b"b"[..], b"none", b"a", b"l"];
    let read = tree
        .read_many(names.iter().map(|name| join(&dir, name)).collect(), 6)
        .await;
    assert_eq!(read.len(), 4);
    assert_eq!(kind_of(&read[1]), Some(io::ErrorKind::NotFound));
    assert!(read[3].is_err());
    let told: Vec<_> = read
        .iter()
        .flatten()
        .map(|whole| (whole.stat.size, &whole.bytes[..]))
        .collect();
    assert_eq!(told, [(8, &b"bbbbbb"[..]), (4, &b"aaaa"[..])]);
    Ok(())
}

/// A file that is not finished never has its name, and a discarded one leaves nothing.
///
/// # Errors
/// The tree's.
pub async fn an_unfinished_file_never_has_its_name(
    world: impl World,
    dir: Vec<u8>,
) -> io::Result<()> {
    let tree = world.tree();
    let root = tree.root(&dir).await?;
    let file = tree.create(&root, b"f").await?;
    file.write_at(b"half".to_vec(), 0).await.0?;
    file.set_len(2).await?;
    assert_eq!(
        kind_of(&tree.stat(&join(&dir, b"f")).await),
        Some(io::ErrorKind::NotFound)
    );
    tree.discard(&root, file).await;
    assert!(tree.root_is_empty(&root).await?);
    Ok(())
}

/// Nothing is written through a link or outside the root.
///
/// # Errors
/// The tree's.
pub async fn nothing_is_written_through_a_link(world: impl World, dir: Vec<u8>) -> io::Result<()> {
    let tree = world.tree();
    let outside = tree.root(&join(&dir, b"outside")).await?;
    let root = tree.root(&join(&dir, b"root")).await?;
    tree.make_symlink(&root, b"up", b"../outside").await?;
    let absolute = join(&dir, b"outside/new");
    for path in [&b"up/new"[..], b"../outside/new", &absolute] {
        let name = String::from_utf8_lossy(path);
        assert!(tree.create(&root, path).await.is_err(), "created {name}");
        assert!(tree.make_dir(&root, path).await.is_err(), "made {name}");
        assert!(
            tree.make_symlink(&root, path, b"x").await.is_err(),
            "linked {name}"
        );
        let many = vec![new_file(path, b"x", some())];
        assert!(
            tree.write_many(&root, many).await[0].is_err(),
            "wrote {name}"
        );
        assert!(tree.set(&root, path, some()).await.is_err(), "set {name}");
    }
    assert!(tree.root_is_empty(&outside).await?);
    Ok(())
}

/// Bytes go there and back in order, more than any buffer holds.
///
/// # Errors
/// The network's.
pub async fn bytes_go_there_and_back(world: impl World) -> io::Result<()> {
    const BYTES: usize = 3 << 20;
    let any: std::net::SocketAddr = ([127, 0, 0, 1], 0).into();
    let mut listener = world.net().listen(any).await?;
    let at = listener.local_addr()?;
    assert_ne!(at.port(), 0);
    world.spawn(async move {
        let Ok((mut link, _)) = listener.accept().await else {
            return;
        };
        let mut buffer = vec![0; 10_000];
        while let Ok(len @ 1..) = link.read(&mut buffer).await {
            if link.write_all(&buffer[..len]).await.is_err() {
                return;
            }
        }
    });
    let sent: Vec<u8> = (0..BYTES).map(|at| (at % 251).to_le_bytes()[0]).collect();
    let link = world.net().connect(at).await?;
    let (mut incoming, mut outgoing) = tokio::io::split(link);
    let echo = async {
        let mut back = vec![0; BYTES];
        incoming.read_exact(&mut back).await.map(|_| back)
    };
    let send = async {
        outgoing.write_all(&sent).await?;
        outgoing.flush().await
    };
    let (back, sending) = tokio::join!(echo, send);
    sending?;
    assert!(back? == sent);
    outgoing.shutdown().await?;
    assert_eq!(incoming.read(&mut [0; 1]).await?, 0);
    Ok(())
}

/// A dropped link is the end of the stream for the other side, after all that was sent.
///
/// # Errors
/// The network's.
pub async fn a_dropped_link_ends_the_stream(world: impl World) -> io::Result<()> {
    let mut listener = world.net().listen(([127, 0, 0, 1], 0).into()).await?;
    let mut caller = world.net().connect(listener.local_addr()?).await?;
    let (mut called, from) = listener.accept().await?;
    assert!(from.ip() == listener.local_addr()?.ip() || !from.ip().is_unspecified());
    caller.write_all(b"last words").await?;
    drop(caller);
    let mut heard = Vec::new();
    called.read_to_end(&mut heard).await?;
    assert_eq!(heard, b"last words");
    Ok(())
}

/// Nobody listens: the call is refused at once, and again after a listener is dropped.
///
/// # Errors
/// The network's.
pub async fn a_call_nobody_waits_for_is_refused(world: impl World) -> io::Result<()> {
    let listener = world.net().listen(([127, 0, 0, 1], 0).into()).await?;
    let at = listener.local_addr()?;
    let again = world.net().listen(at).await;
    assert_eq!(kind_of(&again), Some(io::ErrorKind::AddrInUse));
    drop(listener);
    let refused = world.net().connect(at).await;
    assert_eq!(kind_of(&refused), Some(io::ErrorKind::ConnectionRefused));
    Ok(())
}
