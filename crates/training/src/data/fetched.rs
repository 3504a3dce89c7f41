//! Sets of the hub as files: what a run wants of a split is fetched into the hub's cache, once, and read
//! there as in any folder.

use anyhow::{Context, Result, ensure};
use datasets::pick_a_pic;
use datasets::rows::Pairs;
use domain::data::{DataSpec, PickAPicSpec};
use files::write_atomically;
use hub::{Hub, HubSettings, RepoType};
use process::stop_signal::StopSignal;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// What a run fetched, in its own folder.
const FILE: &str = "fetched.json";
/// The revision that is meant when none is named.
const REVISION: &str = "main";

/// A set of the hub as files.
#[derive(Debug, Deserialize, Serialize)]
struct Fetched {
    /// The repository's commit: a run that goes on learns from the same one, whatever was pushed meanwhile.
    commit: String,
    /// The files.
    data: PickAPicSpec,
}

/// What a command asks between two files: whether it was told to stop.
pub fn unless_stopped(stop: StopSignal) -> impl FnMut() -> Result<()> {
    move || {
        ensure!(!stop.received(), "stopped while the set was fetched; what arrived is kept");
        Ok(())
    }
}

/// A spec with the files in place of a repository, which are fetched; any other spec as it is. `between` is called
/// before each file; its error ends the work, and what is there stays.
///
/// # Errors
/// The repository cannot be had or holds no such set, or what `between` returns.
pub fn fetch(
    data: &DataSpec,
    settings: &HubSettings,
    between: &mut dyn FnMut() -> Result<()>,
) -> Result<DataSpec> {
    match data {
        DataSpec::PickAPic(spec) if spec.hub.is_some() => {
            let revision = spec.revision.as_deref().unwrap_or(REVISION);
            Ok(DataSpec::PickAPic(at(spec, revision, settings, between)?.data))
        }
        other => Ok(other.clone()),
    }
}

/// Fetches what a run learns from, where its spec names a repository. A run that goes on keeps its commit.
///
/// # Errors
/// As for [`fetch`], or the run's folder cannot be written.
pub fn fetch_for(
    data: &DataSpec,
    run: &Path,
    settings: &HubSettings,
    between: &mut dyn FnMut() -> Result<()>,
) -> Result<()> {
    let DataSpec::PickAPic(spec @ PickAPicSpec { hub: Some(_), .. }) = data else { return Ok(()) };
    let known = of_run(run)?;
    if known.as_ref().is_some_and(|known| pick_a_pic::files(&known.data).is_ok()) {
        return Ok(());
    }
    let revision = known.as_ref().map(|known| known.commit.as_str());
    let revision = revision.or(spec.revision.as_deref()).unwrap_or(REVISION);
    let fetched = at(spec, revision, settings, between)?;
    std::fs::create_dir_all(run).with_context(|| format!("cannot make {}", run.display()))?;
    Ok(write_atomically(&run.join(FILE), &serde_json::to_vec_pretty(&fetched)?)?)
}

/// The files that were fetched for a run.
///
/// # Errors
/// None were.
pub(super) fn files_of(run: &Path) -> Result<DataSpec> {
    let fetched = of_run(run)?.with_context(|| {
        format!(
            "data.hub: nothing was fetched into {}: begin the run with diff-contrast-trainer",
            run.display()
        )
    })?;
    Ok(DataSpec::PickAPic(fetched.data))
}

fn of_run(run: &Path) -> Result<Option<Fetched>> {
    let file = run.join(FILE);
    if !file.is_file() {
        return Ok(None);
    }
    let text = std::fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?;
    let fetched = serde_json::from_slice(&text);
    Ok(Some(fetched.with_context(|| format!("{} is damaged: remove it", file.display()))?))
}

fn at(
    spec: &PickAPicSpec,
    revision: &str,
    settings: &HubSettings,
    between: &mut dyn FnMut() -> Result<()>,
) -> Result<Fetched> {
    let name = spec.hub.as_deref().unwrap_or_default();
    let snapshot = Hub::new(settings)?.snapshot(RepoType::Dataset, name, revision).context("data.hub")?;
    let files =
        pick_a_pic::files_among(snapshot.names.iter().map(String::as_str), spec).context("data.hub")?;
    let folder = snapshot.folder.join(&spec.folder).to_string_lossy().into_owned();
    let mut data = PickAPicSpec { folder, hub: None, revision: None, ..spec.clone() };
    let mut wanted = spec.max_pairs;
    for (i, file) in (1..).zip(&files) {
        between()?;
        let path = snapshot.fetch(file).context("data.hub")?;
        if i == 1 {
            // What is wrong with a whole set shows before the rest of it is fetched.
            pick_a_pic::check(&path).context("data.hub")?;
        }
        let Some(wanted) = &mut wanted else { continue };
        *wanted -= pairs_in(path, &PickAPicSpec { max_pairs: Some(*wanted), ..data.clone() })?;
        if *wanted == 0 {
            // Said in the spec, since a later run may fetch the others into the same folder.
            data.max_files = Some(i);
            break;
        }
    }
    Ok(Fetched { commit: snapshot.commit, data })
}

/// Pairs that a file gives, as far as they are wanted.
fn pairs_in(file: PathBuf, spec: &PickAPicSpec) -> Result<u32> {
    let rows = pick_a_pic::open_files(spec, vec![file])?;
    let mut pairs = Pairs::new(rows, spec.prompt_filter.as_ref(), spec.max_pairs);
    pairs.try_fold(0, |count, pair| pair.map(|_| count + 1)).context("data.hub")
}
