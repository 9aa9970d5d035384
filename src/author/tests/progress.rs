//! Stories of how far a snapshot says it is: of what is to be read, as soon as that is known, and never more than all.

use std::future::poll_fn;
use std::rc::Rc;

use super::house::{House, bytes, run};
use crate::author::{Phase, Progress};

/// What was said at one moment of the walk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Said {
    read: u64,
    to_read: Option<u64>,
    files: u64,
    files_all: Option<u64>,
}

/// Takes a snapshot and looks at each of its steps how far it says it is.
async fn watched(house: &House) -> (Vec<Said>, u64) {
    let progress = Rc::new(Progress::default());
    let mut taking = Box::pin(house.take_showing(&progress));
    let mut said = Vec::new();
    let report = poll_fn(|cx| {
        let polled = taking.as_mut().poll(cx);
        if progress.phase.get() == Phase::Walking {
            said.push(Said {
                read: progress.bytes_read.get(),
                to_read: progress.bytes_ahead.get(),
                files: progress.files.get(),
                files_all: progress.files_ahead.get(),
            });
        }
        polled
    });
    report.await.expect("taken");
    let read = progress.bytes_read.get();
    assert_eq!(
        progress.bytes_ahead.get(),
        Some(read),
        "all of it at its end"
    );
    assert_eq!(progress.files_ahead.get(), Some(progress.files.get()));
    (said, read)
}

/// Noise that is more than the window of what is on its way.
fn add_films(house: &House, name: &str) {
    for number in 0..6 {
        let film = bytes(name, number, 1 << 20);
        house.world.tree.file(format!("/d/{name}{number}"), film);
    }
}

#[test]
fn the_first_snapshot_knows_from_its_start_what_is_to_be_read() {
    run(async {
        let house = House::furnished(2, (2, 2));
        add_films(&house, "film");
        let (said, read) = watched(&house).await;
        let under_way = said.iter().filter(|said| said.read > 0);
        let under_way: Vec<_> = under_way.collect();
        assert!(under_way.iter().any(|said| said.read < read), "{said:?}");
        for said in under_way {
            // What is no more than zeros is a hole to the walk that reads it.
            let all = said.to_read.expect("looked at before");
            assert!((read..read + 100_000).contains(&all), "{all} of {read}");
            assert!(said.files <= said.files_all.expect("looked at before"));
        }
    });
}

#[test]
fn a_later_one_looks_ahead_once_it_has_read_much_and_counts_only_what_is_new() {
    run(async {
        let mut house = House::furnished(2, (2, 2));
        add_films(&house, "film");
        house.options.sizes.much_bytes = 1 << 20;
        house.take().await.expect("taken");
        let files = {
            let (said, read) = watched(&house).await;
            assert_eq!(read, 0, "nothing was new");
            assert!(said.iter().all(|said| said.to_read.is_none()), "{said:?}");
            said.last().expect("it walked").files_all.expect("known")
        };
        add_films(&house, "more");
        let (said, read) = watched(&house).await;
        assert_eq!(read, 6 << 20);
        let known: Vec<_> = said.iter().filter(|said| said.to_read.is_some()).collect();
        assert!(known.iter().any(|said| said.read < read), "{said:?}");
        for said in &known {
            assert_eq!(said.to_read, Some(read));
            assert_eq!(said.files_all, Some(files + 6));
        }
        let before = said.iter().filter(|said| said.to_read.is_none());
        for said in before {
            assert!(said.files_all.is_none_or(|all| all == files), "{said:?}");
        }
    });
}
