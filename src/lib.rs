//! Personal Data Reserve: keeps copies of what is on each of a person's Boxes on the others.
//!
//! The map of the house, in reading order. `src/README.md` tells how a byte and an event walk through it.

pub mod terms;

pub mod format;

pub mod world;

pub mod session;

pub mod path;

pub mod roster;

pub mod keeper;

pub mod author;

pub mod retriever;

pub mod monitor;

pub mod dispatcher;

pub mod console;
