//! The team's votes as files, for a run to read like any other set. They are written once, when the run begins: what is
//! voted later must not change a run that goes on.

use crate::catalogue::Catalogue;
use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use datasets::votes::{JudgedPair, judged, write_parquet_file};
use domain::data::{DataSpec, PickAPicSpec, VotesSpec};
use std::collections::HashMap;
use std::io;
use std::path::Path;

/// The folder in a run's own, and the file in it.
const FOLDER: &str = "votes";
const FILE: &str = "votes.parquet";

/// The spec of what a run reads: of votes, the files that were written for it.
///
/// # Errors
/// Nobody wrote any.
pub fn as_files(data: &DataSpec, run: &Path) -> Result<DataSpec> {
    let DataSpec::Votes(votes) = data else { return Ok(data.clone()) };
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
/// No vote says that one picture is better, or a file cannot be written.
pub async fn write_votes(catalogue: &Catalogue, spec: &VotesSpec, run: &Path) -> Result<()> {
    let file = run.join(FOLDER).join(FILE);
    if file.is_file() {
        return Ok(());
    }
    let pairs = judged(&catalogue.store.judged_votes().await?, spec);
    ensure!(
        pairs.iter().any(|pair| !pair.is_tie()),
        "data: none of {} judged pairs that the spec asks for has a winner: collect votes first",
        pairs.len()
    );
    std::fs::create_dir_all(run.join(FOLDER)).with_context(|| format!("cannot make {}", run.display()))?;
    write(catalogue, &pairs, &file).await
}

/// Writes judged pairs with their pictures.
///
/// # Errors
/// A picture is gone, or the file cannot be written.
pub async fn write(catalogue: &Catalogue, pairs: &[JudgedPair], file: &Path) -> Result<()> {
    let mut pictures: HashMap<&str, Bytes> = HashMap::new();
    for picture in pairs.iter().flat_map(|pair| &pair.pictures) {
        if !pictures.contains_key(picture.artifact.as_str()) {
            let bytes = catalogue.artifacts.get(&picture.artifact).await?;
            let bytes = bytes.with_context(|| format!("the picture {} is gone", picture.artifact))?;
            pictures.insert(&picture.artifact, bytes.into());
        }
    }
    let fetch = |picture: &domain::preference::JudgedPicture| {
        let found = pictures.get(picture.artifact.as_str()).cloned();
        found.ok_or_else(|| io::Error::other("a picture that nobody asked for"))
    };
    write_parquet_file(file, pairs, fetch).with_context(|| format!("cannot write {}", file.display()))
}
