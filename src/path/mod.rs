//! How Boxes find each other: one live session with each member, called for again whenever it ends.
//!
//! Both sides call, since either may have moved; of two sessions between the same pair both sides keep the same one
//! (`rule`). Today every way is TCP; what a session runs over is not known above this room.

mod mesh;
mod rule;

pub use mesh::{Callee, Host, Mesh};
