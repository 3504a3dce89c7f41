//! Sets of the Hugging Face hub: the files of a split that a run needs are downloaded into the hub's cache once, and
//! read there like those of any folder.

use anyhow::{Context, Result, ensure};
use catalogue::run_folder::FETCHED;
use datasets::pick_a_pic;
use datasets::rows::Pairs;
use domain::data::{DataSpec, PickAPicSpec};
use files::write_atomically;
use hub::{Hub, HubSettings, RepoType};
use process::stop_signal::StopSignal;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

const DEFAULT_REVISION: &str = "main";

/// A downloaded set.
#[derive(Debug, Deserialize, Serialize)]
struct Fetched {
    /// The repository's commit. A resumed run reads the same commit, whatever was pushed in between.
    commit: String,
    /// The downloaded files.
    data: PickAPicSpec,
}

/// A callback for [`fetch`] and [`fetch_for`] that stops the download after a stop signal.
pub fn unless_stopped(stop: StopSignal) -> impl FnMut() -> Result<()> {
    move || {
        ensure!(!stop.received(), "stopped while the set was downloaded; finished files are kept");
        Ok(())
    }
}

/// Downloads the files of a spec that names a repository, and returns the spec of these files; any other spec is
/// returned unchanged. `between` is called before each file; its error stops the download, and finished files stay.
///
/// # Errors
/// Fails if the repository cannot be read or has no such set, or if `between` fails.
pub fn fetch(
    data: &DataSpec,
    settings: &HubSettings,
    between: &mut dyn FnMut() -> Result<()>,
) -> Result<DataSpec> {
    match data {
        DataSpec::PickAPic(spec) if spec.hub.is_some() => {
            let revision = spec.revision.as_deref().unwrap_or(DEFAULT_REVISION);
            Ok(DataSpec::PickAPic(download(spec, revision, settings, between)?.data))
        }
        other => Ok(other.clone()),
    }
}

/// Downloads the set of a run whose spec names a repository, and records it in the run's folder. A resumed run keeps
/// its commit.
///
/// # Errors
/// As [`fetch`]; also fails if the run's folder cannot be written.
pub fn fetch_for(
    data: &DataSpec,
    run: &Path,
    settings: &HubSettings,
    between: &mut dyn FnMut() -> Result<()>,
) -> Result<()> {
    let DataSpec::PickAPic(spec @ PickAPicSpec { hub: Some(_), .. }) = data else { return Ok(()) };
    let earlier = read_record(run)?;
    if earlier.as_ref().is_some_and(|earlier| pick_a_pic::files(&earlier.data).is_ok()) {
        return Ok(());
    }
    let revision = earlier.as_ref().map(|earlier| earlier.commit.as_str());
    let revision = revision.or(spec.revision.as_deref()).unwrap_or(DEFAULT_REVISION);
    let fetched = download(spec, revision, settings, between)?;
    std::fs::create_dir_all(run).with_context(|| format!("cannot create {}", run.display()))?;
    Ok(write_atomically(&run.join(FETCHED), &serde_json::to_vec_pretty(&fetched)?)?)
}

/// The files that were downloaded for a run.
///
/// # Errors
/// Fails if none were.
pub(super) fn files_of(run: &Path) -> Result<DataSpec> {
    let fetched = read_record(run)?.with_context(|| {
        format!(
            "data.hub: the set was not downloaded for the run in {}: start the run with diff-contrast-trainer",
            run.display()
        )
    })?;
    Ok(DataSpec::PickAPic(fetched.data))
}

fn read_record(run: &Path) -> Result<Option<Fetched>> {
    let file = run.join(FETCHED);
    if !file.is_file() {
        return Ok(None);
    }
    let text = std::fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?;
    let fetched = serde_json::from_slice(&text);
    Ok(Some(
        fetched
            .with_context(|| format!("{} is damaged: remove it to download the set again", file.display()))?,
    ))
}

/// Downloads as many files of the split as the spec's `max_pairs` needs.
fn download(
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
    let mut missing_pairs = spec.max_pairs;
    for (i, file) in (1..).zip(&files) {
        between()?;
        let path = snapshot.fetch(file).context("data.hub")?;
        if i == 1 {
            // A set in another format is refused before the rest of it is downloaded.
            pick_a_pic::check(&path).context("data.hub")?;
        }
        let Some(missing) = &mut missing_pairs else { continue };
        *missing -= pairs_in(path, &PickAPicSpec { max_pairs: Some(*missing), ..data.clone() })?;
        if *missing == 0 {
            // The limit is part of the spec, because another run may download further files into the same folder.
            data.max_files = Some(i);
            break;
        }
    }
    Ok(Fetched { commit: snapshot.commit, data })
}

/// Number of pairs in a file, up to the spec's `max_pairs`.
fn pairs_in(file: PathBuf, spec: &PickAPicSpec) -> Result<u32> {
    let rows = pick_a_pic::open_files(spec, vec![file])?;
    let mut pairs = Pairs::new(rows, spec.prompt_filter.as_ref(), spec.max_pairs);
    pairs.try_fold(0, |count, pair| pair.map(|_| count + 1)).context("data.hub")
}
