//! Of the corpora: their shape is what targets.md says, version 2 is what it says, and it can be undone.

use std::path::Path;

use super::compare::compare;
use super::corpus::{Corpus, Plan};

const MIB: u64 = 1 << 20;

#[test]
fn media_is_400_files_of_2_to_8_mib_and_2_of_512() {
    let plan = Corpus::Media.plan(1);
    assert_eq!((plan.files.len(), plan.bytes()), (402, 3_048 * MIB));
    let (large, others): (Vec<_>, Vec<_>) =
        plan.files.iter().partition(|file| file.bytes == 512 * MIB);
    assert_eq!(large.len(), 2);
    assert!(
        others
            .iter()
            .all(|file| (2 * MIB..=8 * MIB).contains(&file.bytes))
    );
}

#[test]
fn small_is_40_000_files_in_400_directories() {
    let plan = Corpus::Small.plan(1);
    let mut dirs: Vec<_> = plan.files.iter().map(|file| file.path.parent()).collect();
    dirs.dedup();
    assert_eq!((plan.files.len(), dirs.len()), (40_000, 400));
    assert!(
        plan.files
            .iter()
            .all(|file| (512..=16_384).contains(&file.bytes))
    );
    assert!(
        (170..=182).contains(&(plan.bytes() / MIB)),
        "{} MiB",
        plan.bytes() / MIB
    );
    assert_eq!(Corpus::Small10.plan(1).files.len(), 400_000);
}

#[test]
fn a_tenth_is_a_tenth() {
    let plan = Corpus::Media.plan(10);
    assert_eq!(plan.files.len(), 42);
    assert!(
        (300..=310).contains(&(plan.bytes() / MIB)),
        "{} MiB",
        plan.bytes() / MIB
    );
    assert_eq!(Corpus::Small.plan(10).files.len(), 4_000);
}

fn made(plan: &Plan, root: &Path) {
    plan.make(root, &|| false).expect("it is made");
}

#[test]
fn version_2_changes_what_it_says_and_can_be_undone() {
    for corpus in [Corpus::Media, Corpus::Small] {
        let dir = tempfile::tempdir().expect("a directory");
        let [one, two, aside] = ["one", "two", "aside"].map(|name| dir.path().join(name));
        let mut plan = corpus.plan(400);
        // The shape counts here, not the length.
        for file in &mut plan.files {
            file.bytes = file.bytes.min(70_000);
        }
        made(&plan, &one);
        made(&plan, &two);
        compare(&one, &two).expect("made from names, so the same twice");
        let changes = plan.changes();
        changes.make(&two, &aside).expect("it is changed");
        compare(&one, &two).expect_err("it is another version");
        changes.undo(&two, &aside).expect("it is changed back");
        compare(&one, &two).expect("nothing of version 2 is left");
    }
}

#[test]
fn version_2_changes_two_in_a_hundred_adds_one_and_takes_one_away() {
    let dir = tempfile::tempdir().expect("a directory");
    let [one, two, aside] = ["one", "two", "aside"].map(|name| dir.path().join(name));
    let plan = Corpus::Small.plan(100);
    made(&plan, &one);
    made(&plan, &two);
    plan.changes().make(&two, &aside).expect("it is changed");
    let bytes = |root: &Path, path: &Path| std::fs::read(root.join(path)).ok();
    let (mut changed, mut deleted) = (0, 0);
    for file in &plan.files {
        match (bytes(&one, &file.path), bytes(&two, &file.path)) {
            (_, None) => deleted += 1,
            (Some(before), Some(after)) if before != after => {
                assert_eq!(after.len(), before.len() + 100);
                let half = before.len() / 2;
                assert!(before[..half] == after[..half] && before[half..] == after[half + 100..]);
                changed += 1;
            }
            _ => {}
        }
    }
    assert_eq!((plan.files.len(), changed, deleted), (400, 8, 4));
}
