//! Two Boxes, or a Box and somebody else, at the ends of one in-memory link with paused time.

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "tests on tokio's paused time"
)]

mod flow;
mod handshake;
mod harness;
mod hostile;
