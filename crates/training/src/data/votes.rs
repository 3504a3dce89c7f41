//! The team's votes as a file that a run reads like any other set. The file is written once, when the run starts, so
//! that later votes do not change a resumed run.

use super::fetched;
use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use catalogue::models::Catalogue;
use catalogue::run_folder::VOTES;
use datasets::votes::{JudgedPair, judged_pairs, write_parquet_file};
use domain::data::{DataSpec, PickAPicSpec, VotesSpec};
use domain::preference::JudgedImage;
use std::io;
use std::path::Path;
use store::Artifacts;

const FILE: &str = "votes.parquet";

/// The spec of the files that a run reads: for votes, the file that was written for the run; for a repository, the
/// files that were downloaded.
///
/// # Errors
/// Fails if they were not written or downloaded.
pub(crate) fn as_files(data: &DataSpec, run: &Path) -> Result<DataSpec> {
    let votes = match data {
        DataSpec::Votes(votes) => votes,
        DataSpec::PickAPic(PickAPicSpec { hub: Some(_), .. }) => return fetched::files_of(run),
        other => return Ok(other.clone()),
    };
    let folder = run.join(VOTES);
    ensure!(
        folder.join(FILE).is_file(),
        "data.source: votes are in the database: submit the run as a job, or write them to a file with export-votes \
         and train on that with source = \"pick_a_pic\""
    );
    Ok(DataSpec::PickAPic(PickAPicSpec {
        folder: folder.to_string_lossy().into_owned(),
        prompt_filter: votes.prompt_filter.clone(),
        ..PickAPicSpec::default()
    }))
}

/// Writes the votes that a run trains on, unless an earlier attempt of the run did.
///
/// # Errors
/// Fails if no judged pair has a winner, if the database cannot be read, or if the file cannot be written.
pub async fn write_votes(catalogue: &Catalogue, spec: &VotesSpec, run: &Path) -> Result<()> {
    let file = run.join(VOTES).join(FILE);
    if file.is_file() {
        return Ok(());
    }
    let pairs = judged_pairs(&catalogue.store.judged_votes(spec.question).await?, spec);
    ensure!(
        pairs.iter().any(|pair| !pair.is_tie()),
        "data: none of the {} judged pairs that match the spec has a winner: collect votes first",
        pairs.len()
    );
    std::fs::create_dir_all(run.join(VOTES)).with_context(|| format!("cannot create {}", run.display()))?;
    write(&catalogue.artifacts, &pairs, &file)
}

/// Writes judged pairs with their images as a parquet file. Only a few images are in memory at a time.
///
/// # Errors
/// Fails if an image file is missing, or if the file cannot be written.
pub fn write(artifacts: &Artifacts, pairs: &[JudgedPair], file: &Path) -> Result<()> {
    let fetch = |image: &JudgedImage| {
        let path = artifacts.path(&image.artifact).map_err(io::Error::other)?;
        let missing = |error| io::Error::other(format!("the image {} is missing: {error}", image.artifact));
        std::fs::read(path).map(Bytes::from).map_err(missing)
    };
    write_parquet_file(file, pairs, fetch).with_context(|| format!("cannot write {}", file.display()))
}
