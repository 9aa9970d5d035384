//! An index that lies, signed by a member: the real command writes nothing outside its target and ends in a clear error.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    reason = "a story looks at the machine itself"
)]

#[path = "hostile/liar.rs"]
mod liar;
mod stage;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use liar::{Liar, dir, file, link};
use serde_json::Value;
use stage::{BoxProcess, Stage, make_tree, tree};

const MEMORY_KIB_MAX: u64 = 64 << 10;

/// A lie: which snapshot it is, and what the command says of it.
struct Lie {
    number: u64,
    told: &'static str,
}

/// Lies of one page.
fn of_one_page(liar: &mut Liar, outside: &str) -> Vec<Lie> {
    let absolute = format!("{outside}/escaped");
    let lies = [
        (vec![dir(""), file("../escaped", 1)], "leads outside"),
        (
            vec![dir(""), dir("a"), file("a/../../escaped", 1)],
            "leads outside",
        ),
        (
            vec![dir(""), dir(".."), file("../escaped", 1)],
            "leads outside",
        ),
        (vec![dir(""), file(&absolute, 1)], "leads outside"),
        (
            vec![dir(""), link("a", outside), file("a/escaped", 1)],
            "does not come before it",
        ),
        (
            vec![dir(""), link("a", ".."), file("a/escaped", 1)],
            "does not come before it",
        ),
        (
            vec![dir(""), link("a", outside), dir("a"), file("a/escaped", 1)],
            "not in order",
        ),
        (
            vec![link("", outside), file("escaped", 1)],
            "does not come before it",
        ),
        (vec![dir(""), file("a", 1), file("a", 1)], "not in order"),
    ];
    let lies = lies.into_iter().map(|(entries, told)| {
        let root = liar.page(&entries);
        let number = liar.sign(&root, 0, |_| {});
        Lie { number, told }
    });
    lies.collect()
}

/// Lies of a whole tree.
fn of_many_pages(liar: &mut Liar, outside: &str) -> Vec<Lie> {
    let mut lies = Vec::new();
    let mut lie = |number, told| lies.push(Lie { number, told });

    let page = liar.page(&[dir(""), file("a", 1)]);
    lie(
        liar.sign(&page, 0, |set| set.name = "../escaped".into()),
        "is no name",
    );
    lie(
        liar.sign(&page, 0, |set| set.entries = 1),
        "more things than its manifest tells",
    );
    // On the page before it is a link, on the next a directory.
    let first = liar.page(&[dir(""), link("a", outside)]);
    let second = liar.page(&[file("a/escaped", 1)]);
    let root = liar.node(1, vec![first, second]);
    lie(liar.sign(&root, 1, |_| {}), "does not come before it");
    // A node that stands where another was told.
    let root = liar.node(1, vec![page.clone()]);
    lie(liar.sign(&root, 2, |_| {}), "not on the level");
    // Few bytes to send, and without end to write: a page that comes sixty-four times on each of ten levels, and one file that has
    // the same bytes again and again.
    let mut top = page;
    for level in 1..=10 {
        top = liar.node(level, vec![top; 64]);
    }
    lie(
        liar.sign(&top, 10, |set| set.bytes = 1 << 20),
        "do not rise",
    );
    let page = liar.page(&[dir(""), file("bomb", 1000)]);
    lie(
        liar.sign(&page, 0, |_| {}),
        "longer than its manifest tells",
    );
    // A million things of one name.
    let root = liar.page(&[dir("")]);
    let mut same = liar.page(&[file("a", 1)]);
    for level in 1..=2 {
        same = liar.node(level, vec![same; 512]);
    }
    let root = liar.node(1, vec![root]);
    let root = liar.node(2, vec![root]);
    let root = liar.node(3, [vec![root], vec![same; 4]].concat());
    lie(liar.sign(&root, 3, |_| {}), "do not rise");
    lies
}

fn names(dir: &Path) -> Vec<PathBuf> {
    let mut names: Vec<_> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    names.sort();
    names
}

/// What stands beside the target, and elsewhere where a lie points to.
struct Surroundings {
    beside: PathBuf,
    outside: PathBuf,
    before: String,
}

impl Surroundings {
    fn of(stage: &Stage) -> Self {
        let (beside, outside) = (stage.path("beside"), stage.path("outside"));
        fs::create_dir(&beside).unwrap();
        make_tree(&outside, 0);
        let before = format!("{:?}", tree(&outside));
        Self {
            beside,
            outside,
            before,
        }
    }

    #[track_caller]
    fn are_untouched(&self, target: &Path, what: &str) {
        assert_eq!(format!("{:?}", tree(&self.outside)), self.before, "{what}");
        assert!(
            names(&self.beside).iter().all(|name| name == target),
            "{what}"
        );
    }
}

/// Runs a command that gets no more memory than it is promised to take, whatever it is told to make.
fn bounded(on: &BoxProcess, args: &[&str]) -> Output {
    let bounded = format!("ulimit -d {MEMORY_KIB_MAX}; exec \"$0\" \"$@\"");
    Command::new("bash")
        .args(["-c", &bounded, stage::program()])
        .args(args)
        .env("RESERVE_DIR", &on.dir)
        .output()
        .unwrap()
}

/// Who only looks comes to an end too, with an answer or an error.
#[track_caller]
fn can_be_looked_at(on: &BoxProcess, number: u64, honest: u64) {
    let (number, honest) = (number.to_string(), honest.to_string());
    let ls = ["ls", "--author", "home", "--snapshot", &number];
    let diff = ["diff", "--author", "home", &honest, &number];
    for args in [ls, diff] {
        let ended = bounded(on, &args);
        let is_an_end = matches!(ended.status.code(), Some(0 | 1 | 4));
        assert!(is_an_end, "{args:?}: {ended:?}");
    }
}

fn retrieve(from: &BoxProcess, number: u64, target: &Path) -> (Option<i32>, Value, Value) {
    let (number, to) = (number.to_string(), target.to_str().unwrap());
    let args = [
        "retrieve",
        "--author",
        "home",
        "--snapshot",
        &number,
        "--json",
        "--to",
        to,
    ];
    let ended = bounded(from, &args);
    let last = |bytes: &[u8]| {
        let text = String::from_utf8_lossy(bytes).into_owned();
        let line = text.lines().last().map(serde_json::from_str);
        line.map_or(Value::Null, Result::unwrap_or_default)
    };
    (
        ended.status.code(),
        last(&ended.stdout),
        last(&ended.stderr),
    )
}

#[test]
fn an_index_that_lies_is_refused_by_its_rule_and_nothing_is_written_outside_the_target() {
    let stage = Stage::new();
    let files = stage.path("files");
    make_tree(&files, 0);
    let mut home = stage.first_box("home", &files);
    let mut office = stage.joined_box("office", &home);
    home.stop();
    office.stop();

    let around = Surroundings::of(&stage);
    let outside = around.outside.to_str().unwrap();
    let mut liar = Liar::in_the_place_of(&home);
    let mut lies = of_one_page(&mut liar, outside);
    lies.extend(of_many_pages(&mut liar, outside));
    // Between the link and what is below it a page is lost, so directories nobody told of are made.
    let first = liar.page(&[dir(""), link("a", outside), file("above", 1)]);
    let lost = liar.lost_page(&[dir("b")]);
    let third = liar.page(&[file("b/below", 1), file("c", 1)]);
    let tree_of_b = liar.node(1, vec![first, lost, third]);
    let with_gap = liar.sign(&tree_of_b, 1, |_| {});
    let first = liar.page(&[dir(""), link("a", outside)]);
    let lost = liar.lost_page(&[dir("a/b")]);
    let third = liar.page(&[file("a/escaped", 1), file("c", 1)]);
    let below_a_link = liar.node(1, vec![first, lost, third]);
    let below_a_link = liar.sign(&below_a_link, 1, |_| {});
    let honest = liar.page(&[dir(""), file("a", 2)]);
    let honest = liar.sign(&honest, 0, |set| set.bytes *= 2);
    liar.plant(&office);
    office.start();

    let mut rules = Vec::new();
    for Lie { number, told } in lies {
        let target = around.beside.join("target");
        let (status, said, error) = retrieve(&office, number, &target);
        assert_eq!(status, Some(1), "{number}: {said} {error}");
        let what = error["fault"]["what"].as_str().unwrap();
        if !what.contains(told) {
            rules.push(format!("{number}, {told}: {what}"));
        }
        for part in ["unchanged", "todo"] {
            assert!(
                !error["fault"][part].as_str().unwrap().is_empty(),
                "{error}"
            );
        }
        around.are_untouched(&target, told);
        let _ = fs::remove_dir_all(&target);
        can_be_looked_at(&office, number, honest);
    }
    assert!(rules.is_empty(), "{rules:#?}");

    // What is lost is told, the rest comes back; below a link nothing does.
    let target = around.beside.join("target");
    let (status, said, error) = retrieve(&office, with_gap, &target);
    assert_eq!(status, Some(4), "{said} {error}");
    assert!(
        target.join("b/below").exists() && target.join("c").exists(),
        "{said}"
    );
    around.are_untouched(&target, "a gap");
    fs::remove_dir_all(&target).unwrap();
    let (status, said, error) = retrieve(&office, below_a_link, &target);
    assert_eq!(status, Some(4), "{said} {error}");
    let failed = said["failed"].as_array().unwrap();
    assert!(failed.iter().any(|one| one[0] == "a/escaped"), "{said}");
    assert!(target.join("c").exists(), "{said}");
    around.are_untouched(&target, "a gap below a link");
    fs::remove_dir_all(&target).unwrap();

    // The same Box serves what is honest.
    let (status, said, error) = retrieve(&office, honest, &target);
    assert_eq!(status, Some(0), "{said} {error}");
    assert_eq!(
        fs::read(target.join("a")).unwrap(),
        liar::CONTENTS.repeat(2)
    );
    assert!(office.peak_kib() <= MEMORY_KIB_MAX, "{}", office.peak_kib());
    office.stop();
}
