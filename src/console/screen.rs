//! `reserve status`: one screen, made of a view. Pure.

use std::fmt::Write as _;

use super::control::{CopiesView, MendingView, StatusView, StoreView};
use super::text::{ago, bytes, count, days, how_far, peers};
use crate::dispatcher::EventType;

/// `reserve status`
pub fn status(view: &StatusView, now_seconds: i64) -> String {
    let mut text = format!("{}\n", view.sentence);
    if !view.todo.is_empty() {
        let _ = writeln!(text, "{}", view.todo);
    }
    let _ = writeln!(text);
    if let Some(latest) = &view.latest {
        let _ = writeln!(
            text,
            "newest snapshot   {} (number {}), taken {}",
            latest.id,
            latest.number,
            ago(latest.taken_seconds, now_seconds)
        );
        if let Some(looked) = view.up_to_date_seconds
            && looked > latest.taken_seconds
        {
            let _ = writeln!(
                text,
                "last look         {}: nothing had changed since",
                ago(looked, now_seconds)
            );
        }
        let _ = writeln!(
            text,
            "copies elsewhere  {} of {} wanted, {} at least",
            view.copies, view.factor, view.factor_min
        );
        if let Some(since) = view.since_seconds {
            let _ = writeln!(text, "since             {}", ago(since, now_seconds));
        }
        if let Some(proven) = view.proven_seconds {
            let _ = writeln!(text, "last proven       {}", ago(proven, now_seconds));
        }
    }
    for (name, path) in &view.data {
        let _ = writeln!(text, "data set          {name} = {path}");
    }
    for event in &view.standing {
        let mark = match event.event_type {
            EventType::Normal => "normal",
            EventType::Warning => "WARNING",
            EventType::Failure => "FAILURE",
        };
        let _ = writeln!(
            text,
            "{mark:<17} {}, since {}",
            event.text,
            ago(event.time_seconds, now_seconds)
        );
    }
    if let Some(job) = &view.job {
        let _ = writeln!(text, "now               {}: {}", job.phase, how_far(job));
    }
    for former in &view.former {
        let copies = match (former.copies, &former.looked_after_by) {
            (Some(copies), _) => format!("{copies} of {} copies confirmed", former.factor),
            (None, Some(by)) => format!("looked after by {by}"),
            (None, None) => "looked after by nobody in reach".to_owned(),
        };
        let how = if former.is_lost { "lost" } else { "left" };
        let _ = writeln!(
            text,
            "former Box        {} ({how}), snapshots up to {}: {copies}",
            former.name, former.newest
        );
    }
    if let Some(since) = view.mending_since_seconds {
        let _ = writeln!(text, "more to hold      {}", ago(since, now_seconds));
    }
    if let Some(mending) = &view.mending {
        let _ = writeln!(
            text,
            "copies again      {} at {}: snapshot {}{}, {} chunks confirmed",
            mending.author,
            mending.keeper,
            mending.number,
            of_how_many(mending),
            mending.chunks
        );
    }
    for waiting in &view.released {
        let _ = writeln!(
            text,
            "let go            {} ({}) at {}, gone in {} at the earliest: `reserve forget --undo` takes it back",
            count(waiting.snapshots, "snapshot", "snapshots"),
            bytes(waiting.bytes),
            waiting.keeper,
            days(waiting.effective_seconds)
        );
    }
    if let Some(store) = &view.store {
        let _ = writeln!(
            text,
            "keeps for others  {} chunks ({} at most), {}, {} free{}",
            store.chunks,
            store.chunks_max,
            bytes(store.bytes),
            bytes(store.free_bytes),
            if store.free_bytes == 0 {
                ": it takes no more data until it has more space"
            } else {
                ""
            }
        );
        if store.released_bytes > 0 {
            let released = bytes(store.released_bytes);
            let _ = writeln!(text, "given up          {released} wait for their time");
        }
        let _ = writeln!(text, "read again        {}", swept(store, now_seconds));
        if let Some(copies) = &store.copies {
            let _ = writeln!(text, "{}", compared(copies, now_seconds));
        }
        if store.damaged > 0 {
            let _ = writeln!(
                text,
                "damaged           {} chunks are not whole here",
                store.damaged
            );
        }
    }
    if let Some((now, peak)) = view.memory_bytes {
        let _ = writeln!(
            text,
            "memory            {}, at most {}",
            bytes(now),
            bytes(peak)
        );
    }
    let _ = write!(text, "\n{}", peers(&view.peers, view.running));
    text
}

/// Which of the snapshots that are looked at it is.
fn of_how_many(mending: &MendingView) -> String {
    match mending.snapshots_total {
        Some(total) => format!(" ({} of {total})", (mending.snapshots + 1).min(total)),
        None => String::new(),
    }
}

/// How far the sweep of a store is.
fn swept(store: &StoreView, now_seconds: i64) -> String {
    let (all, days) = (store.segments.0, store.sweep_period_days);
    let Some(since) = store.read_seconds else {
        return format!("nothing of it within {days} days yet");
    };
    let how_much = match store.segments_read {
        read if read >= all => "all of it".to_owned(),
        read => format!("{read} of {all} segments"),
    };
    let since = ago(since, now_seconds);
    format!("{how_much} within {days} days, the oldest part {since}")
}

/// What comparisons told of the copies of what is kept here.
fn compared(copies: &CopiesView, now_seconds: i64) -> String {
    let mut text = format!(
        "their copies      {} of {} are on as many Boxes as they should",
        copies.enough, copies.chunks
    );
    if copies.few > 0 {
        let _ = write!(text, ", {} on too few", copies.few);
    }
    if copies.lacking > 0 {
        let _ = write!(text, ", {} are lacking here", copies.lacking);
    }
    if copies.extra > 0 {
        let _ = write!(text, ", {} belong elsewhere by now", copies.extra);
    }
    let _ = write!(
        text,
        "; compared {}",
        ago(copies.compared_seconds, now_seconds)
    );
    text
}

#[cfg(test)]
mod tests;
