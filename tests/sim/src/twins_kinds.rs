//! More conformance twins: several names, pipes, holes and extended attributes.

pub use crate::twins_space::space_may_be_taken_in_advance_and_given_back;

use std::io;

use reserve::world::{Attributes, FileKind, NewFile, Tree, TreeFile, World};

fn join(dir: &[u8], name: &[u8]) -> Vec<u8> {
    [dir, b"/", name].concat()
}

async fn plant<T: Tree>(
    tree: &T,
    root: &T::Root,
    dir: &[u8],
    name: &[u8],
) -> io::Result<Attributes> {
    let file = tree.create(root, name).await?;
    file.write_at(b"hello".to_vec(), 0).await.0?;
    tree.finish(root, file, name, Attributes::default()).await?;
    let stat = tree.stat(&join(dir, name)).await?;
    Ok(Attributes {
        mode: 0o640,
        uid: stat.uid,
        gid: stat.gid,
        ..Attributes::default()
    })
}

/// A second name is the same file, replaces a file of that name, and is refused for directories.
///
/// # Errors
/// The tree's.
pub async fn a_second_name_is_the_same_file(world: impl World, dir: Vec<u8>) -> io::Result<()> {
    let tree = world.tree();
    let root = tree.root(&dir).await?;
    plant(tree, &root, &dir, b"one").await?;
    plant(tree, &root, &dir, b"other").await?;
    tree.make_dir(&root, b"d").await?;
    tree.link(&root, b"one", b"d/two").await?;
    tree.link(&root, b"one", b"other").await?;
    tree.link(&root, b"one", b"other").await?;
    assert!(tree.link(&root, b"one", b"d").await.is_err());
    assert!(tree.link(&root, b"d", b"e").await.is_err());
    assert!(tree.link(&root, b"none", b"e").await.is_err());
    let one = tree.stat(&join(&dir, b"one")).await?;
    assert_eq!(one.links, 3);
    for name in [&b"d/two"[..], b"other"] {
        assert_eq!(tree.stat(&join(&dir, name)).await?.inode, one.inode);
    }
    tree.make_symlink(&root, b"link", b"one").await?;
    tree.link(&root, b"link", b"link2").await?;
    let link = tree.stat(&join(&dir, b"link2")).await?;
    assert_eq!((link.kind, link.links), (FileKind::Symlink, 2));
    Ok(())
}

/// A pipe is made with its attributes; a socket is not.
///
/// # Errors
/// The tree's.
pub async fn a_pipe_has_its_attributes(world: impl World, dir: Vec<u8>) -> io::Result<()> {
    let tree = world.tree();
    let root = tree.root(&dir).await?;
    let own = plant(tree, &root, &dir, b"probe").await?;
    tree.make_special(&root, b"pipe", FileKind::Fifo, 0).await?;
    tree.set(&root, b"pipe", own).await?;
    let stat = tree.stat(&join(&dir, b"pipe")).await?;
    assert_eq!((stat.kind, stat.mode), (FileKind::Fifo, 0o640));
    assert!(tree.open(&join(&dir, b"pipe")).await.is_err());
    let again = tree.make_special(&root, b"pipe", FileKind::Fifo, 0).await;
    assert_eq!(
        again.err().map(|error| error.kind()),
        Some(io::ErrorKind::AlreadyExists)
    );
    assert!(
        tree.make_special(&root, b"s", FileKind::Socket, 0)
            .await
            .is_err()
    );
    Ok(())
}

/// What takes no space is told as a hole, small holes as data when asked so, and written holes stay holes.
///
/// # Errors
/// The tree's.
pub async fn holes_are_told_and_stay_holes(world: impl World, dir: Vec<u8>) -> io::Result<()> {
    const MIB: u64 = 1 << 20;
    let tree = world.tree();
    let root = tree.root(&dir).await?;
    let own = plant(tree, &root, &dir, b"probe").await?;
    let file = tree.create(&root, b"sparse").await?;
    file.write_at(vec![7; 4096], MIB).await.0?;
    let mut crumbs = vec![0; 64 << 10];
    crumbs[0] = 1;
    crumbs[60 << 10] = 1;
    file.write_around_zeros(crumbs, 2 * MIB).await.0?;
    file.set_len(4 * MIB).await?;
    tree.finish(&root, file, b"sparse", own.clone()).await?;
    let file = tree.open(&join(&dir, b"sparse")).await?;
    assert_eq!(file.stat().await?.size, 4 * MIB);
    let (mut at, mut data) = (0, 0);
    while let Some((start, end)) = file.next_data(at, 0).await? {
        assert!(at <= start && start < end, "{start} to {end} behind {at}");
        data += end.min(4 * MIB) - start;
        at = end;
    }
    // Three blocks; file systems may keep larger ones, or know of no holes at all.
    assert!(data >= 3 * 4096);
    if data < MIB {
        let Some((start, end)) = file.next_data(0, 4 * MIB).await? else {
            panic!("it is not empty");
        };
        assert!(
            start <= MIB && end >= 2 * MIB + 61 * 1024,
            "{start} to {end}"
        );
        assert_eq!(file.next_data(3 * MIB, 0).await?, None);
    }
    let small = NewFile {
        path: b"small".to_vec(),
        bytes: vec![0; 100_000],
        has_holes: true,
        attributes: own,
    };
    for written in tree.write_many(&root, vec![small]).await {
        written?;
    }
    let read = tree.read_many(vec![join(&dir, b"small")], 1 << 20).await;
    for whole in read {
        let whole = whole?;
        assert_eq!((whole.stat.size, whole.bytes.len()), (100_000, 100_000));
        assert!(whole.bytes.iter().all(|byte| *byte == 0));
    }
    Ok(())
}

/// Extended attributes come back, sorted, from files, directories and whatever is read whole; where there are none, that is
/// said by name.
///
/// # Errors
/// The tree's.
pub async fn extended_attributes_come_back(world: impl World, dir: Vec<u8>) -> io::Result<()> {
    let tree = world.tree();
    let root = tree.root(&dir).await?;
    let mut own = plant(tree, &root, &dir, b"probe").await?;
    own.xattrs = vec![
        (b"user.a".to_vec(), vec![0, 255]),
        (b"user.b".to_vec(), Vec::new()),
    ];
    let file = tree.create(&root, b"f").await?;
    let not_set = tree.finish(&root, file, b"f", own.clone()).await?;
    if !not_set.xattrs.is_empty() {
        assert_eq!(not_set.xattrs, [b"user.a", b"user.b"]);
        return Ok(());
    }
    tree.make_dir(&root, b"d").await?;
    tree.set(&root, b"d", own.clone()).await?;
    for name in [&b"f"[..], b"d"] {
        assert_eq!(tree.xattrs(&join(&dir, name)).await?.kept, own.xattrs);
    }
    let open = tree.open(&join(&dir, b"f")).await?;
    assert_eq!(open.xattrs().await?.kept, own.xattrs);
    for whole in tree.read_many(vec![join(&dir, b"f")], 10).await {
        assert_eq!(whole?.xattrs.kept, own.xattrs);
    }
    Ok(())
}
