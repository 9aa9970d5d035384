//! Several names of one thing, pipes, devices, attributes: what comes back, and what a hostile index cannot make of them.

use super::{Bench, file};
use crate::format::index::What;
use crate::retriever::mock::{Draft, Thing, data_set, dir, empty, link, packed, pages, part};
use crate::world::FileKind;

/// The same thing under another name.
fn named(path: &str, draft: &Draft, group: u64) -> Draft {
    let mut other = draft.clone();
    other.entry.path = serde_bytes::ByteBuf::from(path.as_bytes());
    other.entry.hard_link = Some(group);
    other
}

fn special(path: &str, what: What) -> Draft {
    let mut draft = empty(path);
    draft.entry.what = what;
    draft
}

fn links(bench: &Bench) -> Vec<(String, String)> {
    let text = |path: &Vec<u8>| String::from_utf8_lossy(path).into_owned();
    let state = bench.world.tree.0.borrow();
    let links = state.links.iter();
    links.map(|(path, to)| (text(path), text(to))).collect()
}

fn pair(a: &str, b: &str) -> (String, String) {
    (a.to_owned(), b.to_owned())
}

#[test]
fn names_of_one_thing_are_linked_whatever_it_is_and_wherever_they_stand() {
    for per_page in [1, 3, 100] {
        let bench = Bench::default();
        let pack = bench.keep(b"helloworld".to_vec());
        let one = bench.keep(vec![1; 300_000]);
        let two = bench.keep(vec![2; 200_000]);
        let small = packed("", pack, 0, 5);
        let large = part(
            "",
            600_000,
            0,
            true,
            &[(Some(one), 300_000), (None, 300_000)],
        );
        let target = link("", "anywhere");
        let pipe = special("", What::Fifo);
        // A file of two parts, under two names.
        let begun = part("", 400_000, 0, false, &[(Some(two), 200_000)]);
        let ended = part("", 400_000, 1, true, &[(Some(two), 200_000)]);
        let drafts = [
            dir(""),
            dir("a"),
            named("a/large", &large, 2),
            named("a/small", &small, 1),
            named("a/small2", &small, 1),
            named("b-large", &large, 2),
            named("c-link", &target, 3),
            named("c-link2", &target, 3),
            named("d-pipe", &pipe, 4),
            named("d-pipe2", &pipe, 4),
            named("e-parts", &begun, 5),
            named("e-parts", &ended, 5),
            named("f-parts", &begun, 5),
            named("f-parts", &ended, 5),
            named("z-small", &small, 1),
        ];
        let report = bench.restore_drafts(&drafts, per_page);
        assert!(report.is_complete(), "{report:?}");
        assert_eq!(
            links(&bench),
            [
                pair("a/small2", "a/small"),
                pair("b-large", "a/large"),
                pair("c-link2", "c-link"),
                pair("d-pipe2", "d-pipe"),
                pair("f-parts", "e-parts"),
                pair("z-small", "a/small"),
            ]
        );
        assert_eq!(bench.thing("z-small"), file(b"hello"));
        assert_eq!(bench.thing("f-parts"), file(&[2; 400_000]));
        assert_eq!((report.files, report.symlinks, report.specials), (7, 2, 2));
        assert_eq!(bench.progress.view().files, 7);
        let data = bench.source.fetched(crate::terms::Kind::Data);
        assert_eq!(
            data, 4,
            "each name's bytes were fetched once, the two parts' twice"
        );
    }
}

#[test]
fn a_name_that_is_asked_for_alone_has_its_contents() {
    let bench = Bench::default();
    let pack = bench.keep(b"helloworld".to_vec());
    let small = packed("", pack, 0, 5);
    let drafts = [dir(""), named("a", &small, 1), named("b", &small, 1)];
    let set = data_set(&bench.source, "photos", &pages(&drafts, 9), 16);
    let report = bench.try_with(vec![set], |wishes| wishes.paths = vec![b"b".to_vec()]);
    assert!(report.expect("a good snapshot").is_complete());
    assert_eq!((bench.thing("a"), bench.thing("b")), (None, file(b"hello")));
}

#[test]
fn when_the_first_name_cannot_be_made_the_second_is() {
    for per_page in [1, 100] {
        let bench = Bench::default();
        let pack = bench.keep(b"helloworld".to_vec());
        let small = packed("", pack, 0, 5);
        let large = part("", 5, 0, true, &[(Some(bench.keep(b"large".to_vec())), 5)]);
        let refused = [b"a".to_vec(), b"d".to_vec()].map(|path| (path, std::io::ErrorKind::Other));
        bench.world.tree.0.borrow_mut().refused.extend(refused);
        let drafts = [
            dir(""),
            named("a", &small, 1),
            named("b", &small, 1),
            named("c", &small, 1),
            named("d", &large, 2),
            named("e", &large, 2),
            named("f", &large, 2),
        ];
        let report = bench.restore_drafts(&drafts, per_page);
        assert_eq!(report.failed_count, 2, "{report:?}");
        assert_eq!(bench.thing("c"), file(b"hello"));
        assert_eq!(bench.thing("f"), file(b"large"));
        assert_eq!(links(&bench).len(), 2, "{:?}", links(&bench));
    }
}

#[test]
fn a_group_of_different_things_comes_back_as_different_things() {
    let bench = Bench::default();
    let pack = bench.keep(b"helloworld".to_vec());
    let one = named("a", &packed("", pack, 0, 5), 1);
    let other = named("b", &packed("", pack, 5, 5), 1);
    let mut third = named("c", &packed("", pack, 0, 5), 1);
    third.entry.mode = 0o4777;
    let drafts = [
        dir(""),
        one,
        other,
        third,
        named("d", &link("", "/etc/passwd"), 1),
        named("e", &special("", What::Fifo), 1),
        named("f", &empty(""), 1),
    ];
    let report = bench.restore_drafts(&drafts, 9);
    assert!(report.is_complete(), "{report:?}");
    assert_eq!(links(&bench), []);
    assert_eq!(bench.thing("a"), file(b"hello"));
    assert_eq!(bench.thing("b"), file(b"world"));
    assert_eq!(bench.thing("f"), file(b""));
}

#[test]
fn names_in_different_data_sets_are_never_linked() {
    let bench = Bench::default();
    let pack = bench.keep(b"helloworld".to_vec());
    let small = packed("", pack, 0, 5);
    let sets = ["a", "b"].map(|name| {
        let drafts = [dir(""), named("x", &small, 1)];
        data_set(&bench.source, name, &pages(&drafts, 9), 16)
    });
    let report = bench.restore(sets.to_vec());
    assert!(report.is_complete(), "{report:?}");
    assert_eq!(links(&bench), []);
}

#[test]
fn a_second_name_does_not_replace_what_is_to_stay() {
    for overwrite in [false, true] {
        let bench = Bench::default();
        let pack = bench.keep(b"helloworld".to_vec());
        let small = packed("", pack, 0, 5);
        let theirs = Thing::File(b"theirs".to_vec());
        let state = &bench.world.tree.0;
        state.borrow_mut().things.insert(b"b".to_vec(), theirs);
        let drafts = [dir(""), named("a", &small, 1), named("b", &small, 1)];
        let set = data_set(&bench.source, "photos", &pages(&drafts, 9), 16);
        let report = bench
            .try_with(vec![set], |wishes| {
                wishes.into_nonempty = true;
                wishes.overwrite = overwrite;
            })
            .expect("a good snapshot");
        let expected: &[u8] = if overwrite { b"hello" } else { b"theirs" };
        assert_eq!(bench.thing("b"), file(expected));
        assert_eq!(report.stayed_count, u64::from(!overwrite));
    }
}

#[test]
fn a_device_takes_rights_and_the_rest_comes_back_without_it() {
    let drafts = [
        dir(""),
        special(
            "disk",
            What::Device {
                is_block: true,
                rdev: 0x801,
            },
        ),
        special("pipe", What::Fifo),
        special(
            "tty",
            What::Device {
                is_block: false,
                rdev: 0x501,
            },
        ),
    ];
    let bench = Bench::default();
    let report = bench.restore_drafts(&drafts, 9);
    assert!(report.is_complete(), "{report:?}");
    assert_eq!(report.specials, 3);
    let disk = Thing::Special(FileKind::BlockDevice, 0x801);
    assert_eq!(bench.thing("disk"), Some(disk));
    let tty = Thing::Special(FileKind::CharDevice, 0x501);
    assert_eq!(bench.thing("tty"), Some(tty));

    let bench = Bench::default();
    bench.world.tree.0.borrow_mut().owner_cannot_be_set = true;
    let report = bench.restore_drafts(&drafts, 9);
    assert_eq!((report.failed_count, report.specials), (0, 1), "{report:?}");
    let not_made = report.not_set.iter().filter(|(_, how)| how.not_made);
    let not_made: Vec<&[u8]> = not_made.map(|(path, _)| path.as_slice()).collect();
    assert_eq!(not_made, [&b"disk"[..], b"tty"]);
}

#[test]
fn extended_attributes_come_back_and_those_refused_are_named() {
    let bench = Bench::default();
    let xattr = |name: &str, value: &str| {
        let bytes = |text: &str| serde_bytes::ByteBuf::from(text.as_bytes());
        (bytes(name), bytes(value))
    };
    let mut drafts = [
        dir(""),
        empty("a"),
        link("b", "c"),
        special("p", What::Fifo),
    ];
    for draft in &mut drafts {
        draft.entry.xattrs = vec![xattr("security.capability", "x"), xattr("user.tag", "boat")];
    }
    bench.world.tree.0.borrow_mut().xattr_refused = Some(b"security.capability".to_vec());
    let report = bench.restore_drafts(&drafts, 9);
    assert_eq!(
        (report.failed_count, report.not_set_count),
        (0, 4),
        "{report:?}"
    );
    for (_, how) in &report.not_set {
        assert_eq!(how.xattrs, [b"security.capability"]);
    }
    let state = bench.world.tree.0.borrow();
    for path in ["", "a", "b", "p"] {
        let set = &state.attributes[path.as_bytes()].xattrs;
        assert_eq!(set[1], (b"user.tag".to_vec(), b"boat".to_vec()), "{path}");
    }
}
