//! People's files, read and written through the helper thread.

use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::{fs, io};

use super::tree::UringTree;
use crate::terms::Stamp;
use crate::world::uring::tests::in_ring;
use crate::world::{Attributes, FileKind, NewFile, Tree, TreeFile};

fn any() -> Attributes {
    Attributes {
        mode: 0o600,
        mtime: Stamp {
            seconds: 1,
            nanos: 2,
        },
        ..Attributes::default()
    }
}

#[test]
fn one_unreadable_file_does_not_stop_the_others() {
    in_ring(async {
        let dir = tempfile::tempdir().expect("a directory");
        let path = |name: &str| dir.path().join(name).as_os_str().as_bytes().to_vec();
        fs::write(dir.path().join("a"), b"first").expect("writes");
        fs::create_dir(dir.path().join("dir")).expect("makes");
        symlink("a", dir.path().join("link")).expect("links");
        fs::write(dir.path().join("z"), b"last").expect("writes");
        let tree = UringTree::new().expect("starts");
        let asked = ["a", "missing", "dir", "link", "z"].map(path).to_vec();
        let read = tree.read_many(asked, 4).await;
        let bytes: Vec<_> = read
            .iter()
            .map(|one| one.as_ref().ok().map(|whole| whole.bytes.as_slice()))
            .collect();
        assert_eq!(
            bytes,
            [Some(b"firs".as_slice()), None, None, None, Some(b"last")]
        );
        assert_eq!(read[0].as_ref().expect("is read").stat.size, 5);
        let missing = read[1].as_ref().expect_err("is missing");
        assert_eq!(missing.kind(), io::ErrorKind::NotFound);
    });
}

#[test]
fn a_file_written_in_pieces_is_read_in_pieces() {
    in_ring(async {
        let dir = tempfile::tempdir().expect("a directory");
        let target = dir.path().join("to");
        let tree = UringTree::new().expect("starts");
        let root = tree
            .root(target.as_os_str().as_bytes())
            .await
            .expect("opens");
        assert!(tree.root_is_empty(&root).await.expect("tells"));
        tree.make_dir(&root, b"d").await.expect("makes");
        let file = tree.create(&root, b"d/big").await.expect("creates");
        file.set_len(10).await.expect("extends");
        let (written, bytes) = file.write_at(vec![7; 4], 3).await;
        written.expect("writes");
        assert_eq!(bytes, [7; 4]);
        assert_eq!(file.stat().await.expect("tells").size, 10);
        tree.finish(&root, file, b"d/big", any())
            .await
            .expect("ends");
        tree.sync(&root).await.expect("syncs");

        let file = tree
            .open(target.join("d/big").as_os_str().as_bytes())
            .await
            .expect("opens");
        let mut into = Vec::with_capacity(64);
        into.push(1);
        let room = into.as_ptr();
        let (read, into) = file.read_at(into, 5, 2).await;
        assert_eq!(
            (read.expect("reads"), into.as_slice()),
            (5, [1, 0, 7, 7, 7, 7].as_slice())
        );
        assert_eq!(into.as_ptr(), room, "the room that was there is used");
        let (read, into) = file.read_at(into, 100, 8).await;
        assert_eq!((read.expect("reads"), into.len()), (2, 8));
        let (read, into) = file.read_at(into, 100, 10).await;
        assert_eq!((read.expect("is at the end"), into.len()), (0, 8));
        let refused = tree.finish(&root, file, b"d/big", any()).await;
        assert_eq!(
            refused.expect_err("was only read").kind(),
            io::ErrorKind::InvalidInput
        );
    });
}

#[test]
fn many_files_are_written_in_one_go_and_a_discarded_one_is_gone() {
    in_ring(async {
        let dir = tempfile::tempdir().expect("a directory");
        let target = dir.path().as_os_str().as_bytes();
        let tree = UringTree::new().expect("starts");
        let root = tree.root(target).await.expect("opens");
        let half = tree.create(&root, b"half").await.expect("creates");
        let files = [b"a".as_slice(), b"gone/b", b"c"]
            .map(|path| NewFile {
                path: path.to_vec(),
                bytes: path.to_vec(),
                has_holes: false,
                attributes: any(),
            })
            .to_vec();
        let written = tree.write_many(&root, files).await;
        let fine: Vec<bool> = written.iter().map(Result::is_ok).collect();
        assert_eq!(fine, [true, false, true]);
        tree.discard(&root, half).await;
        tree.make_symlink(&root, b"link", b"\xff")
            .await
            .expect("links");
        tree.set(&root, b"link", any()).await.expect("sets");
        let listed = tree.list(target, b"", 1000).await.expect("lists");
        let names: Vec<_> = (0..listed.len()).filter_map(|at| listed.get(at)).collect();
        assert_eq!(names, [b"a".as_slice(), b"c", b"link"]);
        let looked = tree.look(target, vec![b"a".to_vec()]).await;
        let found = looked[0].stat.expect("is there");
        assert_eq!((found.mtime, found.size), (any().mtime, 1));
        let link = [target, b"/link"].concat();
        assert_eq!(
            tree.stat(&link).await.expect("is there").kind,
            FileKind::Symlink
        );
        assert_eq!(tree.read_link(&link).await.expect("reads"), b"\xff");
        let device = tree.file_system(target).await.expect("tells").device;
        assert_eq!(device, found.device);
    });
}

#[test]
fn a_directory_swapped_for_a_link_after_it_was_listed_leads_nowhere() {
    in_ring(async {
        let dir = tempfile::tempdir().expect("a directory");
        let at = |name: &str| dir.path().join(name);
        let bytes = |name: &str| at(name).as_os_str().as_bytes().to_vec();
        for name in ["real/data/inner", "secret/inner"] {
            fs::create_dir_all(at(name)).expect("makes");
            fs::write(at(name).join("file"), name).expect("writes");
        }
        // The way to the data set may pass through links.
        symlink(at("real"), at("way")).expect("links");
        let tree = UringTree::new().expect("starts").within(&bytes("way/data"));
        let read = async |tree: &UringTree| {
            let names = vec![b"file".to_vec()];
            let path = bytes("way/data/inner/file");
            let all = [
                tree.stat(&path).await.is_ok(),
                tree.list(&bytes("way/data/inner"), b"", 100).await.is_ok(),
                tree.look(&bytes("way/data/inner"), names).await[0]
                    .stat
                    .is_ok(),
                tree.open(&path).await.is_ok(),
                tree.xattrs(&path).await.is_ok(),
                tree.read_many(vec![path.clone()], 100).await[0].is_ok(),
                tree.file_system(&path).await.is_ok(),
            ];
            assert!(all.iter().all(|ok| *ok == all[0]), "{all:?}");
            all[0]
        };
        assert!(read(&tree).await);
        assert!(tree.list(&bytes("way/data"), b"", 100).await.is_ok());
        fs::rename(at("real/data/inner"), at("aside")).expect("moves");
        symlink(at("secret/inner"), at("real/data/inner")).expect("links");
        assert!(!read(&tree).await, "it led to what nobody named");
        let link = tree.read_link(&bytes("way/data/inner")).await;
        link.expect("the link itself is told as one");
        let free = UringTree::new().expect("starts");
        assert!(free.stat(&bytes("way/data/inner/file")).await.is_ok());
    });
}
