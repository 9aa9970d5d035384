//! What a phase of a run cost: read at its beginning and at its end, for each Box.

use std::collections::BTreeMap;
use std::time::Duration;

use reserve::console::service::{Compared, Service};
use tokio::time::Instant;

use crate::house::House;
use crate::reserve::Reserve;
use crate::traffic::Traffic;

/// The least, the middle one and the most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Spread {
    /// Of the Box that has least.
    pub least: u64,
    /// Of the one in the middle.
    pub middle: u64,
    /// Of the one that has most.
    pub most: u64,
}

/// What a phase cost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Phase {
    /// Which.
    pub name: &'static str,
    /// Simulated time it took.
    pub took: Duration,
    /// Bytes each Box received and sent.
    pub wire: Spread,
    /// The same of all together; each byte is counted once.
    pub wire_all: u64,
    /// What all comparisons together came to.
    pub compared: Compared,
    /// Chunks the author brought.
    pub brought: u64,
    /// Different sets of authors and holders that the chunks of a Box have, at its end.
    pub sets: Spread,
    /// Chunks of a Box, at its end.
    pub chunks: Spread,
    /// Bytes of the largest chunk table.
    pub table_bytes: u64,
    /// Bytes of a Box's roster as it is told, at its end.
    pub roster_bytes: u64,
    /// Boxes that run, at its end.
    pub boxes: u64,
    /// Bytes this process has taken, at its end, if that is counted.
    pub heap_bytes: u64,
}

/// What stands at the beginning of a phase.
pub struct Meter {
    began: Instant,
    heap: fn() -> u64,
    boxes: BTreeMap<String, (Traffic, Compared)>,
}

impl Spread {
    /// Of these.
    pub fn of(values: impl IntoIterator<Item = u64>) -> Self {
        let mut values: Vec<u64> = values.into_iter().collect();
        values.sort_unstable();
        let at = |place: usize| values.get(place).copied().unwrap_or_default();
        Self {
            least: at(0),
            middle: at(values.len() / 2),
            most: at(values.len().saturating_sub(1)),
        }
    }
}

impl Meter {
    /// Reads what stands now.
    pub fn begin(reserve: &Reserve, heap: fn() -> u64) -> Self {
        let houses = reserve.houses.iter();
        Self {
            began: Instant::now(),
            heap,
            boxes: houses
                .map(|house| (house.name().to_owned(), read(house)))
                .collect(),
        }
    }

    /// What passed since.
    pub fn end(self, reserve: &Reserve, name: &'static str, brought: u64) -> Phase {
        let (mut wires, mut all) = (Vec::new(), 0);
        let mut compared = Compared::default();
        for house in &reserve.houses {
            let (traffic, now) = read(house);
            let (traffic_before, before) =
                self.boxes.get(house.name()).copied().unwrap_or_default();
            let came = traffic.bytes_in - traffic_before.bytes_in;
            let went = traffic.bytes_out - traffic_before.bytes_out;
            if house.runs() {
                wires.push(came + went);
            }
            all += went;
            // A service that was started anew began to count anew.
            let since = |now: u64, before: u64| now.checked_sub(before).unwrap_or(now);
            compared.comparisons += since(now.comparisons, before.comparisons);
            compared.questions += since(now.questions, before.questions);
            compared.taken += since(now.taken, before.taken);
        }
        let services = || {
            reserve
                .houses
                .iter()
                .filter_map(|house| house.service.as_ref())
        };
        let roster = reserve.houses[0].home.files("roster");
        Phase {
            name,
            took: self.began.elapsed(),
            wire: Spread::of(wires),
            wire_all: all,
            compared,
            brought,
            sets: Spread::of(services().map(|service| bounded(service, "sets of authors"))),
            chunks: Spread::of(services().map(|service| bounded(service, "chunks"))),
            table_bytes: services()
                .map(|service| service.store_now().table_bytes as u64)
                .max()
                .unwrap_or_default(),
            roster_bytes: roster.iter().map(|(_, bytes)| bytes).sum(),
            boxes: services().count() as u64,
            heap_bytes: (self.heap)(),
        }
    }
}

fn read(house: &House) -> (Traffic, Compared) {
    let compared = house.service.as_ref().map(Service::compared_now);
    (house.home.traffic(), compared.unwrap_or_default())
}

/// One of the things whose number is bounded.
pub fn bounded(service: &Service<crate::SimBox>, what: &str) -> u64 {
    let all = service.bounded_now().into_iter();
    all.filter(|bounded| bounded.what == what)
        .map(|bounded| bounded.now)
        .sum()
}
