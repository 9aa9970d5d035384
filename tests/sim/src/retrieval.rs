//! What a person does after a flood: everything of a snapshot, back onto a Box.

use std::error::Error;

use reserve::format::head::Head;
use reserve::retriever::{Progress, Request, RetrieveReport, Source, manifest_of, retrieve};
use reserve::world::World;

use crate::sim_box::SimBox;
use crate::snapshot::TreeSnapshot;

/// A snapshot that came back with something missing: a loss, and no fault of how it was asked for.
#[derive(Debug, thiserror::Error)]
#[error("not everything came back: {0:?}")]
pub struct Incomplete(pub RetrieveReport);

/// Brings a whole snapshot back into an empty directory of a Box, and gives what is there then.
///
/// # Errors
/// If the Box loses power, or not everything came back ([`Incomplete`]).
pub async fn bring_back<S: Source>(
    home: &SimBox,
    head: Head,
    target: &str,
    source: impl FnOnce() -> S + 'static,
) -> Result<TreeSnapshot, Box<dyn Error>> {
    let (world, into) = (home.clone(), target.to_owned());
    let restored = home.run(async move {
        let source = source();
        let manifest = manifest_of(&source, &head).await?;
        let request = Request {
            manifest: &manifest,
            data_set: None,
            paths: &[],
            target: into.as_bytes(),
            into_nonempty: false,
            overwrite: false,
            try_anyway: false,
        };
        retrieve(&world, &source, request, &Progress::default()).await
    });
    let report = restored.await??;
    if !report.is_complete() {
        return Err(Incomplete(report).into());
    }
    Ok(home.tree().snapshot(target)?)
}
