//! How a story runs: one thread, virtual time that jumps to the next deed, and a trace of all that happened.

use std::time::Duration;

use tokio::runtime::Builder;
use tokio::task::LocalSet;
use tokio::time::sleep;

use crate::sim_box::SimWorld;
use crate::trace::TraceHash;

/// How long a story may take unless it says otherwise: long enough for any wait of the product, short enough that a
/// forgotten one with a ticking task beside it ends soon.
const STORY_SECONDS_MAX: u64 = 24 * 3600;

/// What came of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ran<T> {
    /// What the story returned.
    pub value: T,
    /// The hash of everything that happened.
    pub trace: TraceHash,
}

/// Runs a story in a world made from a seed, for at most a virtual day.
///
/// # Panics
/// If the story or a task of one of its Boxes does, or if the story does not end.
pub fn run<T>(seed: u64, story: impl AsyncFnOnce(SimWorld) -> T) -> Ran<T> {
    run_within(seed, Duration::from_secs(STORY_SECONDS_MAX), story)
}

/// The same with another limit of virtual time.
///
/// # Panics
/// As [`run`].
pub fn run_within<T>(seed: u64, limit: Duration, story: impl AsyncFnOnce(SimWorld) -> T) -> Ran<T> {
    let runtime = Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime without I/O needs nothing from the system");
    LocalSet::new().block_on(&runtime, async {
        let world = SimWorld::new(seed);
        let told = Box::pin(story(world.clone()));
        let value = tokio::select! {
            biased;
            value = told => value,
            () = world.alarm() => panic!("seed {seed}: a task of a Box panicked; its message is above"),
            () = sleep(limit) => panic!("seed {seed}: the story did not end in {limit:?}: something waits for ever"),
        };
        Ran { value, trace: world.trace_hash() }
    })
}
