//! Stories of all that is more than bytes under a name: several names, holes, pipes and devices, extended attributes.

use std::collections::BTreeMap;

use super::house::{House, bytes, run};
use super::world::Thing;
use crate::format::index::{Content, Entry, Piece, What};
use crate::world::{FileKind, Xattrs};

fn entries(house: &House, report: &crate::author::SnapshotReport) -> BTreeMap<Vec<u8>, Vec<Entry>> {
    let mut found: BTreeMap<Vec<u8>, Vec<Entry>> = BTreeMap::new();
    for (entry, _) in house.entries(report) {
        found.entry(entry.path.to_vec()).or_default().push(entry);
    }
    found
}

#[test]
fn a_file_with_many_names_is_read_once_and_each_name_has_its_contents() {
    run(async {
        let house = House::new(2, (2, 2));
        let tree = &house.world.tree;
        tree.add("/d", Thing::Dir);
        tree.file("/d/a-small", bytes("small", 0, 200));
        tree.file("/d/b-large", bytes("large", 0, 20_000));
        // Long enough for entries of its own.
        tree.file("/d/c-huge", bytes("huge", 0, 100_000));
        for number in 0..5 {
            for name in ["a-small", "b-large", "c-huge"] {
                tree.link(&format!("/d/{name}"), &format!("/d/{name}-{number}"));
            }
            // What lies between closes a pack or two.
            for other in 0..20 {
                let path = format!("/d/b{number}-{other}");
                tree.file(&path, bytes(&path, 0, 250));
            }
        }
        let report = house.take().await.expect("taken");
        assert_eq!(house.contents(&report), house.expected());
        // 100 others and one small one in batches, and the two larger ones opened once each.
        assert_eq!(tree.0.files_read.get(), 103);
        assert_eq!(tree.0.bytes_read.get(), 120_000);
        let found = entries(&house, &report);
        for name in ["a-small", "b-large", "c-huge"] {
            let first = &found[name.as_bytes()];
            assert!(first[0].hard_link.is_some());
            for number in 0..5 {
                let other = &found[format!("{name}-{number}").as_bytes()];
                assert_eq!(other[0].hard_link, first[0].hard_link);
                assert_eq!(other.len(), first.len());
            }
        }
        assert!(found[&b"c-huge"[..]].len() > 2, "the story needs parts");

        let second = house.take().await.expect("taken");
        assert_eq!(tree.0.files_read.get(), 103, "nothing is read again");
        assert_eq!(second.files_reused, second.files);
        assert_eq!(house.contents(&second), house.expected());
    });
}

#[test]
fn a_name_whose_file_changed_meanwhile_is_read_anew() {
    run(async {
        let house = House::new(2, (2, 2));
        let tree = &house.world.tree;
        tree.add("/d", Thing::Dir);
        tree.file("/d/a", *b"one");
        tree.link("/d/a", "/d/b");
        // The same inode, but not what it was when it was read.
        tree.change("/d/b", |stat| stat.ctime.nanos += 1);
        let report = house.take().await.expect("taken");
        assert_eq!(tree.0.files_read.get(), 2);
        assert_eq!(house.contents(&report), house.expected());
    });
}

#[test]
fn long_holes_are_not_read_and_short_ones_do_not_make_crumbs() {
    run(async {
        let house = House::new(2, (2, 2));
        let tree = &house.world.tree;
        tree.add("/d", Thing::Dir);
        let mut sparse = vec![0; 1_000_000];
        sparse[500_000..520_000].copy_from_slice(&bytes("island", 0, 20_000));
        // Every 512 bytes one that is not zero: holes all over, but short ones.
        for at in (700_000..720_000).step_by(512) {
            sparse[at] = 1;
        }
        tree.file("/d/sparse", sparse);
        tree.change("/d/sparse", |stat| stat.blocks = 80);
        tree.file("/d/small", [vec![0; 200], vec![1; 20]].concat());
        tree.change("/d/small", |stat| stat.blocks = 0);
        tree.file("/d/nothing", vec![0; 300_000]);
        tree.change("/d/nothing", |stat| stat.blocks = 0);
        tree.file("/d/dense", bytes("dense", 0, 9_000));
        let report = house.take().await.expect("taken");
        assert_eq!(house.contents(&report), house.expected());
        let read = tree.0.bytes_read.get();
        assert!(read < 60_000, "{read} bytes were read");
        let found = entries(&house, &report);
        let of = |name: &str| -> (bool, Vec<Piece>) {
            let mut all = Vec::new();
            let mut holes = false;
            for entry in &found[name.as_bytes()] {
                let What::File {
                    content, has_holes, ..
                } = &entry.what
                else {
                    panic!("{name} is a file");
                };
                holes |= has_holes;
                if let Content::Pieces { pieces, .. } = content {
                    all.extend_from_slice(pieces);
                }
            }
            (holes, all)
        };
        let (has_holes, pieces) = of("sparse");
        assert!(has_holes);
        assert_eq!(pieces[0], Piece::Hole { bytes: 500_000 });
        // 40,000 bytes in pieces of a kilobyte or so, not one for each byte that is not zero.
        assert!(pieces.len() < 100, "{} pieces", pieces.len());
        assert!(of("small").0);
        assert_eq!(of("nothing"), (true, vec![Piece::Hole { bytes: 300_000 }]));
        assert!(!of("dense").0);
    });
}

#[test]
fn attributes_of_all_kinds_come_along_and_those_that_stay_behind_are_named() {
    run(async {
        let house = House::furnished(2, (2, 2));
        let tree = &house.world.tree;
        let paths = ["", "/a", "/link", "/pipe", "/a.txt", "/b/huge", "/b/small0"];
        for path in paths {
            let xattrs = Xattrs {
                kept: vec![(b"user.of".to_vec(), path.as_bytes().to_vec())],
                left_out: vec![(b"user.big".to_vec(), "it is too big".to_owned())],
            };
            let path = format!("/d{path}").into_bytes();
            tree.0.xattrs.borrow_mut().insert(path, xattrs);
        }
        let report = house.take().await.expect("taken");
        assert_eq!(report.unread_count, paths.len() as u64, "{report:?}");
        assert!(report.unread.iter().all(|told| {
            let reason = "its extended attribute user.big was left out: it is too big";
            told.reason == reason
        }));
        let holds = |report: &crate::author::SnapshotReport| {
            let found = entries(&house, report);
            for path in paths {
                let entries = &found[path.trim_start_matches('/').as_bytes()];
                let (name, value) = &entries[0].xattrs[0];
                assert_eq!(
                    (name.as_slice(), value.as_slice()),
                    (&b"user.of"[..], path.as_bytes())
                );
                assert!(entries[1..].iter().all(|part| part.xattrs.is_empty()));
            }
        };
        holds(&report);
        // Taken over with everything else: nobody looks at the attributes again.
        let read = tree.0.files_read.get();
        tree.0.xattrs.borrow_mut().clear();
        let second = house.take().await.expect("taken");
        assert_eq!(tree.0.files_read.get(), read);
        assert_eq!(second.unread_count, 0);
        holds(&second);
        assert_eq!(house.contents(&second), house.expected());
    });
}

#[test]
fn a_pipe_that_became_a_file_is_a_file() {
    run(async {
        let house = House::furnished(2, (2, 2));
        house.take().await.expect("taken");
        let tree = &house.world.tree;
        tree.file("/d/pipe", *b"no longer");
        tree.add("/d/a.txt", Thing::Special(FileKind::Fifo));
        let report = house.take().await.expect("taken");
        assert_eq!(house.contents(&report), house.expected());
    });
}
