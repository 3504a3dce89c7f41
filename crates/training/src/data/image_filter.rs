//! Drops examples whose images Stable Diffusion's safety checker flags.

use super::example::Example;
use super::examples::Portion;
use anyhow::{Context, Result};
use candle_core::Device;
use domain::dataset::{Dropped, Reason};
use domain::prepare::ImageFilterSpec;
use evaluation::safety_checker::{SafetyChecker, Verdict};
use files::sha256;
use image::RgbImage;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Examples that are checked at a time.
const BATCH: usize = 16;

/// A safety checker, loaded when it is first used.
#[derive(Debug)]
pub(super) struct ImageFilter {
    folder: PathBuf,
    device: Device,
    checker: Option<SafetyChecker>,
}

/// SHA-256 of each file that decides the filter's verdicts, by file name.
///
/// # Errors
/// Fails if a file cannot be read.
pub(super) fn hashes(spec: &ImageFilterSpec) -> Result<BTreeMap<String, String>> {
    let of = |file: PathBuf| {
        let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Ok((name, sha256::of_file(&file).context("image_filter.safety_checker")?))
    };
    let files =
        SafetyChecker::files(Path::new(&spec.safety_checker)).context("image_filter.safety_checker")?;
    files.into_iter().map(of).collect()
}

impl ImageFilter {
    /// The filter of a spec.
    pub(super) fn new(spec: &ImageFilterSpec, device: &Device) -> Self {
        Self { folder: PathBuf::from(&spec.safety_checker), device: device.clone(), checker: None }
    }

    /// Moves examples with a flagged image to the portion's dropped rows.
    ///
    /// # Errors
    /// Fails if the checker cannot be read, or if a tensor operation fails.
    pub(super) fn apply(&mut self, portion: &mut Portion) -> Result<()> {
        let checker = match &mut self.checker {
            Some(checker) => checker,
            none => none.insert(
                SafetyChecker::open(&self.folder, &self.device).context("image_filter.safety_checker")?,
            ),
        };
        let mut kept = Vec::with_capacity(portion.examples.len());
        let mut unchecked = std::mem::take(&mut portion.examples).into_iter();
        loop {
            let examples: Vec<Example> = unchecked.by_ref().take(BATCH).collect();
            if examples.is_empty() {
                break;
            }
            let winners = flags(checker, examples.iter().map(|example| &example.winner))?;
            let losers = flags(checker, examples.iter().filter_map(|example| example.loser.as_ref()))?;
            let mut losers = losers.into_iter();
            for (example, winner) in examples.into_iter().zip(winners) {
                let loser = if example.loser.is_some() { losers.next() } else { None };
                let detail = match (winner, loser.unwrap_or(false)) {
                    (false, false) => {
                        kept.push(example);
                        continue;
                    }
                    (true, false) => "the safety checker flags the winner",
                    (false, true) => "the safety checker flags the loser",
                    (true, true) => "the safety checker flags both images",
                };
                let Example { source, .. } = example;
                let detail = detail.to_owned();
                portion.dropped.push(Dropped { reason: Reason::FlaggedImage, source, rows: 1, detail });
            }
        }
        portion.examples = kept;
        Ok(())
    }
}

/// Whether each image is flagged.
fn flags<'a>(checker: &SafetyChecker, images: impl Iterator<Item = &'a RgbImage>) -> Result<Vec<bool>> {
    let images: Vec<RgbImage> = images.cloned().collect();
    Ok(checker.check(&images)?.iter().map(Verdict::is_unsafe).collect())
}
