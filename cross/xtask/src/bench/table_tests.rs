//! Of the table: medians, ratios, answers, and that it fits on a screen.

use super::*;
use crate::bench::corpus::Corpus;
use crate::bench::measure::Part;
use crate::bench::rows::Work;

const FIRST: Row = Row {
    corpus: Some(Corpus::Media),
    work: Work::First,
};

fn cost(wall_s: f64, cpu_s: f64) -> Cost {
    let part = |name: &str, cpu_s| Part {
        name: name.to_owned(),
        cpu_s,
        peak_kib: 40 << 10,
    };
    Cost {
        wall_s,
        parts: vec![
            part("author keeper", cpu_s / 2.0),
            part("other keeper", cpu_s / 2.0),
        ],
        stored_bytes: Some(3 << 30),
        wakeups: None,
    }
}

fn table() -> Table {
    let mut table = Table::new(1);
    for wall_s in [6.0, 4.0, 5.0] {
        table.add(FIRST, OURS, Ok(cost(wall_s, 6.0)));
        table.add(FIRST, "bupstash", Ok(cost(wall_s + 5.0, 8.0)));
        table.add(FIRST, "borg", Ok(cost(10.0, 8.0)));
    }
    table.add(FIRST, "rustic", Err("not installed".to_owned()));
    table
}

#[test]
fn the_median_is_the_middle_of_all_runs() {
    assert_eq!(
        Spread::of([6.0, 4.0, 5.0]),
        Some(Spread {
            median: 5.0,
            min: 4.0,
            max: 6.0
        })
    );
    assert_eq!(
        Spread::of([1.0, 2.0]).map(|spread| spread.median),
        Some(1.5)
    );
    assert_eq!(Spread::of([]), None);
}

#[test]
fn a_target_is_met_by_the_ratio_of_medians() {
    let verdicts = table().verdicts(FIRST);
    let told: Vec<&str> = verdicts
        .iter()
        .map(|verdict| verdict.sentence.as_str())
        .collect();
    assert_eq!(
        told,
        [
            "wall <= 1 x bupstash: 0.50 yes",
            "CPU <= 0.6 x borg: 0.75 NO",
            "peak of each process <= 64 MiB: 40.00 yes"
        ]
    );
    assert_eq!(verdicts[1].is_met, Some(false));
}

#[test]
fn without_the_peer_a_target_cannot_be_told() {
    let mut table = Table::new(1);
    table.add(FIRST, OURS, Ok(cost(1.0, 1.0)));
    assert_eq!(table.verdicts(FIRST)[0].is_met, None);
    assert!(
        table.verdicts(FIRST)[0]
            .sentence
            .ends_with("cannot be told")
    );
}

#[test]
fn what_depends_on_the_corpus_shrinks_with_it() {
    let changed = Row {
        work: Work::Changed,
        ..FIRST
    };
    let mut table = Table::new(10);
    let grew = Cost {
        stored_bytes: Some(4 << 20),
        ..cost(1.0, 1.0)
    };
    table.add(changed, OURS, Ok(grew));
    assert_eq!(
        table.verdicts(changed)[1].sentence,
        "grew <= 3.3 MiB: 4.00 NO"
    );
}

#[test]
fn a_run_that_failed_is_the_outcome_of_its_line() {
    let mut table = table();
    assert!(!table.has_failures());
    table.add(FIRST, "borg", Err(format!("{FAILED}no such thing")));
    table.add(FIRST, "borg", Ok(cost(1.0, 1.0)));
    assert!(table.has_failures());
    assert!(
        table.text().contains("borg      FAILED: no such thing"),
        "{}",
        table.text()
    );
}

#[test]
fn more_memory_than_is_promised_is_a_failure_though_it_was_in_one_run_of_three() {
    let mut table = table();
    assert!(!table.has_failures());
    let mut more = cost(5.0, 6.0);
    more.parts[1].peak_kib = (64 << 10) + 1024;
    table.add(FIRST, OURS, Ok(more));
    table.add(FIRST, OURS, Ok(cost(5.0, 6.0)));
    assert!(table.has_failures());
    let text = table.text();
    let told = "target  peak of each process <= 64 MiB: 65.00 NO, AND IT IS PROMISED";
    assert!(text.contains(told), "{text}");
    assert!(text.contains("other keeper 3.00 s, 65 MiB"), "{text}");
}

#[test]
fn pieces_of_work_one_after_the_other_keep_the_most_memory_of_each_process() {
    let mut all = cost(5.0, 6.0);
    let mut more = cost(1.0, 2.0);
    more.parts[0].peak_kib = 50 << 10;
    more.parts[1].name = "retrieve".to_owned();
    all.and_then(more);
    let told: Vec<_> = all
        .parts
        .iter()
        .map(|part| (part.name.as_str(), part.cpu_s, part.peak_kib >> 10))
        .collect();
    let wanted = [
        ("author keeper", 4.0, 50),
        ("other keeper", 3.0, 40),
        ("retrieve", 1.0, 40),
    ];
    assert_eq!((all.wall_s, told), (6.0, wanted.to_vec()));
}

#[test]
fn the_table_fits_on_a_screen_and_tells_who_is_missing() {
    let mut many = cost(5.0, 6.0);
    let parts: Vec<Part> = ["third keeper", "new keeper", "snapshot", "retrieve"]
        .map(|name| Part {
            name: name.to_owned(),
            ..many.parts[0].clone()
        })
        .into();
    many.parts.extend(parts);
    let mut table = table();
    let row = Row {
        work: Work::Protected,
        ..FIRST
    };
    table.add(row, OURS, Ok(many));
    let text = table.text();
    assert!(text.contains("new keeper 3.00 s, 40 MiB"), "{text}");
    assert!(
        text.lines().all(|line| line.chars().count() <= 100),
        "{text}"
    );
    assert!(text.contains("rustic not installed"), "{text}");
    assert!(text.contains("wall 0.50  CPU 0.75"), "{text}");
    assert!(text.contains("author keeper 3.00 s, 40 MiB"), "{text}");
}

#[test]
fn programs_get_every_run() {
    let told = table().json();
    assert_eq!(told["lines"][0]["runs"].as_array().map(Vec::len), Some(3));
    assert_eq!(told["lines"][0]["runs"][0]["cpu_s"], 6.0);
    assert_eq!(told["targets"][1]["met"], false);
}
