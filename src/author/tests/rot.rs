//! Stories of files whose bytes changed although nobody wrote them: found by the sweep, told by path, and never taken for a change.

use super::house::{House, bytes, run};
use crate::author::{
    DataSetConfig, Extent, FileProgress, FileSweep, Sizes, SnapshotReport, sweep_files,
};
use crate::world::FileKind;

const DUE: Extent = Extent::Due { period_days: 30 };
const DAY: i64 = 86_400;

async fn sweep(house: &House, extent: Extent) -> FileSweep {
    let sets = [DataSetConfig {
        name: "d".into(),
        path: b"/d".to_vec(),
    }];
    let how = (Sizes::small(), extent);
    let (world, street, identity) = (&house.world, &house.street, &house.identity);
    let progress = FileProgress::default();
    let swept = sweep_files(world, street, identity, &sets, how, &progress).await;
    let swept = swept.expect("the disk works");
    assert_eq!(progress.files.get(), swept.files);
    swept
}

fn rotten(swept: &FileSweep) -> Vec<String> {
    let paths = swept.rotten.iter();
    let mut paths: Vec<_> = paths
        .map(|(_, path)| String::from_utf8_lossy(path).into_owned())
        .collect();
    paths.sort();
    assert_eq!(paths.len() as u64, swept.rotten_count);
    paths
}

fn told(report: &SnapshotReport, path: &str) -> bool {
    let mut unread = report.unread.iter();
    unread.any(|told| told.path == path.as_bytes() && told.reason.contains("its disk damaged it"))
}

/// A house with files of all sizes, in a snapshot.
async fn lived_in() -> House {
    let house = House::furnished(2, (2, 2));
    let report = Box::pin(house.take()).await.expect("taken");
    assert_eq!(report.unread_count, 0, "{:?}", report.unread);
    house
}

#[test]
fn rot_is_found_in_small_files_large_ones_and_long_ones_and_nothing_else_is_said() {
    run(async {
        let house = lived_in().await;
        let tree = &house.world.tree;
        let whole = sweep(&house, Extent::All).await;
        assert_eq!((rotten(&whole), whole.undecided), (Vec::new(), 0));
        assert!(whole.files > 85, "{whole:?}");
        let good = house.expected();
        let flipped = |path: &str, at: usize| {
            let mut contents = good[path.as_bytes()].clone();
            contents[at] ^= 1;
            tree.swap(&format!("/d/{path}"), contents);
        };
        flipped("a/small7", 3);
        flipped("a/large", 19_999);
        flipped("b/huge", 390_000);
        // Written a moment ago, with all that shows it: a person's change.
        tree.swap("/d/a.txt", b"t3xt".to_vec());
        tree.change("/d/a.txt", |stat| stat.mtime.nanos += 1);
        let found = sweep(&house, Extent::All).await;
        assert_eq!(rotten(&found), ["a/large", "a/small7", "b/huge"]);
        assert_eq!(found.known.files.len(), 3);

        // A snapshot keeps the good versions and names them, also when somebody changes what is not their contents.
        tree.change("/d/a/small7", |stat| {
            stat.mode = 0o600;
            stat.ctime.nanos += 5;
        });
        let mut good = good;
        good.insert(b"a.txt".to_vec(), b"t3xt".to_vec());
        for _ in 0..2 {
            let report = house.take().await.expect("taken");
            for path in ["a/small7", "a/large", "b/huge"] {
                assert!(told(&report, path), "{path}: {:?}", report.unread);
            }
            assert_eq!(report.unread_count, 3, "{:?}", report.unread);
            assert_eq!(house.contents(&report), good);
        }
        // And the next sweep says it again.
        let found = sweep(&house, Extent::All).await;
        assert_eq!(rotten(&found), ["a/large", "a/small7", "b/huge"]);

        // Put back by hand, or written anew: it is over.
        tree.file("/d/a/small7", good[b"a/small7".as_slice()].clone());
        tree.file("/d/a/large", *b"something else");
        tree.swap("/d/b/huge", good[b"b/huge".as_slice()].clone());
        let found = sweep(&house, Extent::All).await;
        assert_eq!((rotten(&found), found.known.files.len()), (Vec::new(), 0));
        let report = house.take().await.expect("taken");
        assert_eq!(report.unread_count, 0, "{:?}", report.unread);
        assert_eq!(house.contents(&report), house.expected());
    });
}

#[test]
fn an_untouched_file_that_is_read_for_another_reason_does_not_bring_its_rot_in() {
    run(async {
        let house = House::new(2, (2, 2));
        let tree = &house.world.tree;
        for number in 0..8u8 {
            tree.file(format!("/d/{number}"), bytes("pack", number, 100));
        }
        house.take().await.expect("taken");
        let good = house.expected();
        // Of its pack less than half is left, so what is left is read and packed anew.
        for number in 0..6u8 {
            tree.remove(&format!("/d/{number}"));
        }
        house.take().await.expect("taken");
        tree.swap("/d/7", bytes("rot", 0, 100));
        let report = house.take().await.expect("taken");
        assert!(tree.0.files_read.get() > 8, "it was read again");
        assert!(told(&report, "7"), "{:?}", report.unread);
        assert_eq!(
            house.contents(&report)[b"7".as_slice()],
            good[b"7".as_slice()]
        );
    });
}

#[test]
fn a_round_goes_on_where_it_was_and_reads_each_file_once() {
    run(async {
        let house = lived_in().await;
        let all = sweep(&house, Extent::All).await.files;
        let now = house.world.clock.0.get();
        // A new round begins when the period is over.
        assert_eq!(sweep(&house, DUE).await.files, 0);
        let mut files = 0;
        let mut slices = 0;
        for day in (30..=60).step_by(5) {
            house.world.clock.0.set(now + day * DAY);
            let slice = sweep(&house, DUE).await;
            assert_eq!(rotten(&slice), Vec::<String>::new());
            slices += u32::from(slice.files > 0);
            files += slice.files;
        }
        assert_eq!(files, all);
        assert!(slices >= 2, "{slices}");
    });
}

#[test]
fn what_no_keeper_can_say_is_not_called_rotten() {
    run(async {
        let house = lived_in().await;
        let tree = &house.world.tree;
        tree.swap("/d/b/huge", bytes("other", 0, 400_000));
        house.street.set_away(1, true);
        house.street.set_away(2, true);
        let swept = sweep(&house, Extent::All).await;
        assert_eq!((rotten(&swept), swept.undecided), (Vec::new(), 1));
    });
}

#[test]
fn a_file_that_cannot_be_read_any_more_is_told_and_one_that_may_not_be_read_is_not() {
    run(async {
        let house = lived_in().await;
        let tree = &house.world.tree;
        let broken = b"/d/a/large".to_vec();
        tree.0.broken_from.borrow_mut().insert(broken, 5000);
        let stat = tree.at(b"/d/b/large").expect("it is there").1;
        tree.add("/d/b/large", super::world::Thing::Locked(FileKind::File));
        tree.change("/d/b/large", |now| *now = stat);
        let swept = sweep(&house, Extent::All).await;
        assert_eq!(rotten(&swept), ["a/large"]);
    });
}
