//! `reserve store new`: a person says that the disk with the store was replaced, or is lost for good.

use std::path::Path;

use super::fault::{Exit, Fault};
use super::setup::in_world;
use super::store_place;
use super::text;
use crate::keeper::{self, Presence};
use crate::world::World;

pub(super) fn begin_anew(dir: &Path) -> Result<Exit, Fault> {
    super::at_rest::AtRest::new(dir).load()?;
    let found = in_world(dir, async |world| {
        let found = keeper::begin_anew(world.disk()).await;
        found.map_err(|error| {
            Fault::new(
                format!("the store cannot be looked at: {error}"),
                "Nothing was changed.",
                "Run this as the user the keeper runs as; look at `reserve doctor`.",
            )
        })
    })?;
    match found {
        Presence::Here => {
            text::tell("The store is where it should be: nothing was changed.");
            Ok(Exit::Done)
        }
        Presence::Gone => {
            text::tell(
                "A new store begins: a running keeper goes on with it in a moment, another at its next start. The other Boxes fill it again.",
            );
            Ok(Exit::Done)
        }
        Presence::Other => Err(Fault::new(
            format!("another store is in {}", store_place::of(dir).display()),
            "Nothing was changed.",
            "If the disk is to be used here, move what is on it away, then repeat the command.",
        )),
    }
}
