//! `reserve report`: what support needs to know of a Box, and nothing else.
//!
//! It is made by choosing: figures, codes and versions are copied, texts never are. Names become `box-1`, `data-1`; paths, addresses,
//! keys and words have no way in.

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use serde_json::{Value, json};

use super::at_rest::AtRest;
use super::cli::Report;
use super::client::{Client, NoService};
use super::control::{Reply, StatusView, Want};
use super::event_view::{EventView, SubjectView};
use super::fault::{Exit, Fault};
use super::{doctor, events, setup, text};
use crate::dispatcher::{FactName, FactValue};

/// Events in a report, the newest.
const EVENTS_MAX: usize = 500;

/// `reserve report`
pub fn run(dir: &Path, args: &Report) -> Result<Exit, Fault> {
    let report = serde_json::to_string_pretty(&make(dir)).expect("plain data");
    let Some(to) = &args.to else {
        text::print(&report)?;
        return Ok(Exit::Done);
    };
    std::fs::File::options()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(to)
        .and_then(|mut file| {
            file.write_all(report.as_bytes())
                .and_then(|()| file.sync_all())
        })
        .map_err(|error| {
            Fault::new(
                format!("the report {}: {error}", to.display()),
                "Nothing else was changed.",
                "Name a new file with --to.",
            )
        })?;
    text::tell(&format!(
        "{} holds figures, codes and versions: no names, paths, addresses or keys. Read it before you send it.",
        to.display()
    ));
    Ok(Exit::Done)
}

fn make(dir: &Path) -> Value {
    let checks: Vec<Value> = doctor::look(dir)
        .into_iter()
        .map(|line| {
            let numbers: serde_json::Map<String, Value> = line
                .numbers
                .into_iter()
                .map(|(name, number)| (name.to_owned(), number.into()))
                .collect();
            json!({ "check": line.code, "verdict": line.verdict, "numbers": numbers })
        })
        .collect();
    let status = status(dir);
    let names = Names::of(status.as_ref());
    json!({
        "report": 1,
        "version": env!("CARGO_PKG_VERSION"),
        "kernel": rustix::system::uname().release().to_string_lossy(),
        "machine": rustix::system::uname().machine().to_string_lossy(),
        "made_seconds": text::now_seconds(),
        "checks": checks,
        "configuration": configuration(dir),
        "status": status.as_ref().map(|view| figures(view, &names)),
        "events": history(dir).iter().map(|event| shown(event, &names)).collect::<Vec<_>>(),
    })
}

fn status(dir: &Path) -> Option<StatusView> {
    match Client::call(dir, Want::Status {}) {
        Ok(mut client) => match client.reply() {
            Ok(Reply::Status(view)) => Some(*view),
            _ => None,
        },
        Err(_) => setup::status_at_rest(dir).ok(),
    }
}

fn configuration(dir: &Path) -> Option<Value> {
    let config = AtRest::new(dir).load().ok()?.config;
    Some(json!({
        "listen": config.listen.len(),
        "listen_ports": config.listen.iter().map(|address| address.port()).collect::<Vec<_>>(),
        "advertise": config.advertise.len(),
        "data_sets": config.data.len(),
        "capacity_bytes": config.store.capacity_bytes,
        "store_has_its_own_place": config.store.path.is_some(),
        "table_chunks": config.store.table_chunks,
    }))
}

fn figures(view: &StatusView, names: &Names) -> Value {
    let peers = view.peers.iter().map(|peer| {
        json!({
            "box": names.of_box(&peer.name),
            "is_me": peer.is_me,
            "connected": peer.connected,
            "version": peer.version,
            "addresses": peer.addresses.len(),
        })
    });
    json!({
        "running": view.running,
        "safe": view.safe,
        "copies": view.copies,
        "factor": view.factor,
        "factor_min": view.factor_min,
        "since_seconds": view.since_seconds,
        "proven_seconds": view.proven_seconds,
        "unread": view.unread_count,
        "newest_number": view.latest.as_ref().map(|latest| latest.number),
        "newest_chunks": view.latest.as_ref().map(|latest| latest.chunks),
        "newest_bytes": view.latest.as_ref().map(|latest| latest.sealed_bytes),
        "store": view.store,
        "memory_bytes": view.memory_bytes,
        "peers": peers.collect::<Vec<_>>(),
        "standing": view.standing.iter().map(|event| shown(event, names)).collect::<Vec<_>>(),
    })
}

/// The newest events of the journal, oldest first.
fn history(dir: &Path) -> Vec<EventView> {
    let mut newest = std::collections::VecDeque::new();
    let mut keep = |view: EventView| {
        if newest.len() == EVENTS_MAX {
            newest.pop_front();
        }
        newest.push_back(view);
    };
    let want = Want::Events {
        since: None,
        follow: false,
    };
    match Client::call(dir, want) {
        Ok(mut client) => {
            while let Ok(Reply::Event(view)) = client.reply() {
                keep(*view);
            }
        }
        Err(NoService::NotRunning) => {
            // What cannot be read is missing from the report, and the doctor's lines say why.
            let _ = events::at_rest(dir, None, |view| {
                keep(view);
                Ok(())
            });
        }
        Err(NoService::Fault(_)) => {}
    }
    newest.into()
}

fn shown(event: &EventView, names: &Names) -> Value {
    let facts: serde_json::Map<String, Value> = event
        .facts
        .iter()
        .filter_map(|(name, value)| match value {
            FactValue::Number(number) => Some((name.clone(), (*number).into())),
            FactValue::Text(text) if name == FactName::Version.name() => {
                Some((name.clone(), text.as_str().into()))
            }
            FactValue::Text(_) => None,
        })
        .collect();
    let subject = match &event.subject {
        SubjectView::Itself => "itself".to_owned(),
        SubjectView::Box(name) => names.of_box(name),
        SubjectView::DataSet(name) => names.of_data_set(name),
        SubjectView::Snapshot(number) => format!("snapshot {number}"),
        SubjectView::Chunk(_) => "a chunk".to_owned(),
        SubjectView::Reserve => "the reserve".to_owned(),
    };
    json!({
        "sequence": event.sequence,
        "time_seconds": event.time_seconds,
        "type": event.event_type,
        "kind": event.kind,
        "phase": event.phase,
        "episode": event.episode,
        "subject": subject,
        "facts": facts,
    })
}

/// Names people gave, as they stand in a report.
struct Names {
    boxes: Vec<String>,
    data_sets: Vec<String>,
}

impl Names {
    fn of(status: Option<&StatusView>) -> Self {
        let boxes = status.map(|view| view.peers.iter().map(|peer| peer.name.clone()).collect());
        let data_sets = status.map(|view| view.data.iter().map(|(name, _)| name.clone()).collect());
        Self {
            boxes: boxes.unwrap_or_default(),
            data_sets: data_sets.unwrap_or_default(),
        }
    }

    fn of_box(&self, name: &str) -> String {
        number("box", &self.boxes, name)
    }

    fn of_data_set(&self, name: &str) -> String {
        number("data", &self.data_sets, name)
    }
}

fn number(what: &str, known: &[String], name: &str) -> String {
    known.iter().position(|other| other == name).map_or_else(
        || format!("another {what}"),
        |at| format!("{what}-{}", at + 1),
    )
}
