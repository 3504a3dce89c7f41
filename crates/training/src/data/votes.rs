//! The team's votes as files, for a run to read like any other set. They are written once, when the run begins: what is
//! voted later must not change a run that goes on.

use super::fetched;
use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use catalogue::models::Catalogue;
use datasets::votes::{JudgedPair, judged_pairs, write_parquet_file};
use domain::data::{DataSpec, PickAPicSpec, VotesSpec};
use domain::preference::JudgedImage;
use std::io;
use std::path::Path;
use store::Artifacts;

/// The folder in a run's own, and the file in it.
const FOLDER: &str = "votes";
const FILE: &str = "votes.parquet";

/// The spec of what a run reads: of votes, the files that were written for it; of a repository, those that were fetched.
///
/// # Errors
/// Nobody wrote or fetched any.
pub fn as_files(data: &DataSpec, run: &Path) -> Result<DataSpec> {
    let votes = match data {
        DataSpec::Votes(votes) => votes,
        DataSpec::PickAPic(PickAPicSpec { hub: Some(_), .. }) => return fetched::files_of(run),
        other => return Ok(other.clone()),
    };
    let folder = run.join(FOLDER);
    ensure!(
        folder.join(FILE).is_file(),
        "data.source: votes lie in the database: submit the run as a job, or write them to a file with export-votes \
         and train from that as pick_a_pic"
    );
    Ok(DataSpec::PickAPic(PickAPicSpec {
        folder: folder.to_string_lossy().into_owned(),
        prompt_filter: votes.prompt_filter.clone(),
        ..PickAPicSpec::default()
    }))
}

/// Writes the votes that a run learns from, unless an earlier attempt has.
///
/// # Errors
/// No vote says that one image is better, or a file cannot be written.
pub async fn write_votes(catalogue: &Catalogue, spec: &VotesSpec, run: &Path) -> Result<()> {
    let file = run.join(FOLDER).join(FILE);
    if file.is_file() {
        return Ok(());
    }
    let pairs = judged_pairs(&catalogue.store.judged_votes(spec.question).await?, spec);
    ensure!(
        pairs.iter().any(|pair| !pair.is_tie()),
        "data: none of {} judged pairs that the spec asks for has a winner: collect votes first",
        pairs.len()
    );
    std::fs::create_dir_all(run.join(FOLDER)).with_context(|| format!("cannot make {}", run.display()))?;
    write(&catalogue.artifacts, &pairs, &file)
}

/// Writes judged pairs with their images, of which a few are held at a time.
///
/// # Errors
/// An image is gone, or the file cannot be written.
pub fn write(artifacts: &Artifacts, pairs: &[JudgedPair], file: &Path) -> Result<()> {
    let fetch = |image: &JudgedImage| {
        let path = artifacts.path(&image.artifact).map_err(io::Error::other)?;
        let gone = |error| io::Error::other(format!("the image {} is gone: {error}", image.artifact));
        std::fs::read(path).map(Bytes::from).map_err(gone)
    };
    write_parquet_file(file, pairs, fetch).with_context(|| format!("cannot write {}", file.display()))
}
