//! The same test bodies on the simulated world and on the real one.

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "the real world's twin needs a real directory"
)]

use std::io;
use std::os::unix::ffi::OsStringExt;

use reserve::world::uring::{self, Uring};

macro_rules! on_the_simulated_world {
    ($($name:ident),+; $($tree_name:ident),+ $(,)?) => {
        mod simulated {
            use super::io;
            $(#[test]
            fn $name() -> io::Result<()> {
                sim::run(1, async |world| sim::twins::$name(world.box_named("home")).await).value
            })+
            $(#[test]
            fn $tree_name() -> io::Result<()> {
                let dir = b"/twin".to_vec();
                sim::run(1, async |world| {
                    sim::twins::$tree_name(world.box_named("home"), dir).await
                })
                .value
            })+
        }
    };
}

macro_rules! on_the_real_world {
    ($($name:ident),+; $($tree_name:ident),+ $(,)?) => {
        mod real {
            use super::{in_a_new_directory, io};
            $(#[test]
            fn $name() -> io::Result<()> {
                in_a_new_directory(async |world, _| sim::twins::$name(world).await)
            })+
            $(#[test]
            fn $tree_name() -> io::Result<()> {
                in_a_new_directory(async |world, dir| sim::twins::$tree_name(world, dir).await)
            })+
        }
    };
}

macro_rules! on_both_worlds {
    ($($list:tt)+) => {
        on_the_simulated_world!($($list)+);
        on_the_real_world!($($list)+);
    };
}

/// Runs a twin on the real world, with a state directory of its own and a directory beside it that is not there yet.
fn in_a_new_directory(twin: impl AsyncFnOnce(Uring, Vec<u8>) -> io::Result<()>) -> io::Result<()> {
    let dir = tempfile::tempdir()?;
    let state = dir.path().join("state");
    std::fs::create_dir(&state)?;
    let tree = dir.path().join("tree").into_os_string().into_vec();
    uring::run(async { twin(Uring::new(&state)?, tree).await }).unwrap_or_else(|no_ring| {
        eprintln!("skipped, because {no_ring}");
        Ok(())
    })
}

on_both_worlds!(
    what_was_appended_is_read_after_reopening,
    a_read_at_the_end_is_short,
    a_file_can_be_cut_and_extended,
    space_may_be_taken_in_advance_and_given_back,
    opening_tells_what_is_there_from_what_is_not,
    a_directory_lists_its_plain_files_sorted,
    a_small_file_is_replaced_as_a_whole,
    names_move_and_go,
    bytes_go_there_and_back,
    a_dropped_link_ends_the_stream,
    a_call_nobody_waits_for_is_refused;
    what_is_restored_reads_back,
    a_listing_is_sorted_as_bytes,
    a_link_is_read_and_never_opened,
    a_missing_small_file_does_not_stop_the_others,
    an_unfinished_file_never_has_its_name,
    a_second_name_is_the_same_file,
    a_pipe_has_its_attributes,
    holes_are_told_and_stay_holes,
    extended_attributes_come_back,
    nothing_is_written_through_a_link,
);
