//! The store at the size it is made for, on a real disk and a real ring: many small chunks, a million of them, torn tails.
//!
//! Nothing here asserts a time. The measurements run only when asked for:
//! `cargo test --release --test scale -- --ignored --nocapture`.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    reason = "a story looks at the machine itself"
)]

mod stage;

#[path = "scale/caller.rs"]
mod caller;
#[path = "scale/commits.rs"]
mod commits;
#[path = "scale/filling.rs"]
mod filling;
#[path = "scale/five.rs"]
mod five;
#[path = "scale/million.rs"]
mod million;
#[path = "scale/throughput.rs"]
mod throughput;
#[path = "scale/torn.rs"]
mod torn;
