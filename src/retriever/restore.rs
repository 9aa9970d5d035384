//! Restores a snapshot, or a part of it, into a directory: the order of things, and what a hostile index may not do.
//!
//! Runs with the rights of the caller and knows no keys: chunks arrive verified, lengths are checked here. Directories are
//! made 0700 before their contents and get their own attributes after them. What fails is told by path; the rest goes on.
//!
//! Where things go: one data set (the snapshot's only one, or the one asked for) goes directly into the target; several go
//! into a directory each, named like the data set. A data set that is a single file keeps its own last name in there.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use tokio::sync::Semaphore;

use super::Source;
use super::files::{RESTORE_WINDOW_KIB, Work};
use super::links::Links;
use super::packs::Packs;
use super::rebuild::Rebuild;
use super::report::{Progress, RetrieveError, RetrieveReport, Writing};
use super::room;
use super::selection::{Selection, placed};
use super::unfinished;
use crate::format::head::{DataSet, Manifest};
use crate::format::roster::name_is_legal;
use crate::world::{Tree, World};

/// What to restore, and where.
#[derive(Debug, Clone, Copy)]
pub struct Request<'r> {
    /// The snapshot.
    pub manifest: &'r Manifest,
    /// Only this data set of it.
    pub data_set: Option<&'r str>,
    /// Only these paths and what lies below them: relative to the data set, or, when several data sets are restored, beginning
    /// with a data set's name. None is everything.
    pub paths: &'r [Vec<u8>],
    /// The directory to restore into; made if it is not there.
    pub target: &'r [u8],
    /// The target may have things in it. They stay.
    pub into_nonempty: bool,
    /// With `into_nonempty`: files in the way are replaced.
    pub overwrite: bool,
    /// Begin also when there seems to be too little room.
    pub try_anyway: bool,
}

/// Restores what is asked for. An error means that it ended early; files under their final names are whole even then.
pub async fn retrieve<W: World, S: Source>(
    world: &W,
    source: &S,
    request: Request<'_>,
    progress: &Progress,
) -> Result<RetrieveReport, RetrieveError> {
    let mut report = Writing::new(progress);
    let (sets, unknown) = chosen(request.manifest, request.data_set, request.paths)?;
    for name in unknown {
        report.is_absent(&name, "the snapshot has no data set of that name");
    }
    let tree = world.tree();
    let unusable = |why| RetrieveError::Target {
        path: String::from_utf8_lossy(request.target).into_owned(),
        why,
    };
    let root = tree.root(request.target).await.map_err(unusable)?;
    let is_empty = tree.root_is_empty(&root).await.map_err(unusable)?;
    let (existing, going) = unfinished::begin(world, &root, &request, is_empty).await?;
    let work = Rc::new(Work {
        world: world.clone(),
        source: source.clone(),
        root,
        existing,
        going,
        progress: progress.clone(),
        report: RefCell::new(report),
        packs: Packs::default(),
        links: Links::default(),
        window: Arc::new(Semaphore::new(RESTORE_WINDOW_KIB as usize)),
        finished: Rc::default(),
        stopped: RefCell::new(None),
        given_up: Cell::new(false),
    });
    let _gives_up = GivesUp(work.clone());
    room::check(&work, &sets, &request).await?;
    work.leave_note().await.map_err(unusable)?;
    for Chosen {
        set,
        base,
        selection,
    } in &sets
    {
        let mut rebuild = Rebuild::new(&work, set, base);
        let walked = rebuild.walk(selection).await;
        let has_gap = rebuild.has_gap();
        rebuild.settle(walked.is_ok()).await;
        let stopped = work.why_stopped();
        let stopped = stopped.and(walked).and_then(|()| work.is_wanted());
        if stopped.is_err() {
            work.save_note(false).await;
            return stopped.map(|()| RetrieveReport::default());
        }
        for path in selection.not_met() {
            let place = placed(base, path);
            if has_gap {
                work.fail(&place, "it was not found; a part of the index is lost");
            } else {
                let mut report = work.report.borrow_mut();
                report.is_absent(&place, "the snapshot has nothing of that name");
            }
        }
    }
    work.world
        .tree()
        .sync(&work.root)
        .await
        .map_err(RetrieveError::Sync)?;
    let report = work.report.borrow_mut().take();
    // With something missing the same command may be given again, when the Box that has it is back.
    if report.failed_count > report.absent_count {
        work.save_note(true).await;
    } else {
        work.remove_note().await?;
    }
    Ok(report)
}

/// Tells tasks still under way that nobody waits for them.
struct GivesUp<W: World, S: Source>(Rc<Work<W, S>>);

impl<W: World, S: Source> Drop for GivesUp<W, S> {
    fn drop(&mut self) {
        self.0.given_up.set(true);
    }
}

/// A data set to restore, the directory it goes into (empty: the target itself), and what of it is wanted.
pub(super) struct Chosen<'r> {
    pub(super) set: &'r DataSet,
    pub(super) base: Vec<u8>,
    pub(super) selection: Selection,
}

/// The data sets that are meant, where each goes, and what of it is wanted; and names that are no data set's.
pub(super) fn chosen<'r>(
    manifest: &'r Manifest,
    data_set: Option<&str>,
    paths: &[Vec<u8>],
) -> Result<(Vec<Chosen<'r>>, Vec<Vec<u8>>), RetrieveError> {
    let sets: Vec<&DataSet> = match data_set {
        None => manifest.data_sets.iter().collect(),
        Some(name) => {
            let found = manifest.data_sets.iter().find(|s| s.name == name);
            vec![found.ok_or_else(|| RetrieveError::NoSuchDataSet(name.to_owned()))?]
        }
    };
    if !sets.iter().all(|set| name_is_legal(&set.name)) {
        return Err(RetrieveError::wrong_index(
            "the name of a data set is no name",
        ));
    }
    if let [set] = sets.as_slice() {
        let (base, selection) = (Vec::new(), Selection::new(paths)?);
        return Ok((
            vec![Chosen {
                set,
                base,
                selection,
            }],
            Vec::new(),
        ));
    }
    let mut paths_of: BTreeMap<&[u8], Vec<Vec<u8>>> = BTreeMap::new();
    for path in paths {
        let end = path.iter().position(|byte| *byte == b'/');
        let (name, rest) = match end {
            Some(end) => (&path[..end], &path[end + 1..]),
            None => (path.as_slice(), &[][..]),
        };
        paths_of.entry(name).or_default().push(rest.to_vec());
    }
    let mut kept = Vec::new();
    for set in sets {
        let base = set.name.as_bytes().to_vec();
        // One that is a single file is found by the name it gets as well.
        let is_single = set.entries == 1 && set.files == 1;
        let last = set.path.rsplit(|byte| *byte == b'/').next();
        if let Some(paths) = paths_of.get_mut(base.as_slice())
            && is_single
        {
            let is_its_name = |path: &Vec<u8>| Some(path.as_slice()) == last;
            paths
                .iter_mut()
                .filter(|path| is_its_name(path))
                .for_each(Vec::clear);
        }
        let selection = match paths_of.remove(base.as_slice()) {
            Some(paths) => Selection::new(&paths)?,
            None if paths.is_empty() => Selection::default(),
            None => continue,
        };
        kept.push(Chosen {
            set,
            base,
            selection,
        });
    }
    Ok((kept, paths_of.into_keys().map(<[u8]>::to_vec).collect()))
}
