//! Images that Stable Diffusion's safety checker flags, left out of a set.

use super::examples::{Example, Portion};
use anyhow::{Context, Result};
use candle_core::Device;
use domain::dataset::{Dropped, Reason};
use domain::prepare::ImageFilterSpec;
use evaluation::safety_checker::{SafetyChecker, Verdict};
use files::sha256;
use image::RgbImage;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Examples checked at a time.
const CHUNK: usize = 16;

/// The checker of a folder, loaded when it is first needed.
#[derive(Debug)]
pub struct ImageFilter {
    folder: PathBuf,
    device: Device,
    checker: Option<SafetyChecker>,
}

/// SHA-256 of each file that decides what the filter says, by its name.
///
/// # Errors
/// One cannot be read.
pub fn hashes(spec: &ImageFilterSpec) -> Result<BTreeMap<String, String>> {
    let of = |file: PathBuf| {
        let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Ok((name, sha256::of_file(&file).context("image_filter.safety_checker")?))
    };
    SafetyChecker::files(Path::new(&spec.safety_checker)).into_iter().map(of).collect()
}

impl ImageFilter {
    /// As a spec asks for.
    #[must_use]
    pub fn new(spec: &ImageFilterSpec, device: &Device) -> Self {
        Self { folder: PathBuf::from(&spec.safety_checker), device: device.clone(), checker: None }
    }

    /// Moves examples with a flagged image to those that are dropped.
    ///
    /// # Errors
    /// A checker that cannot be read, or candle's.
    pub fn sift(&mut self, portion: &mut Portion) -> Result<()> {
        let checker = match &mut self.checker {
            Some(checker) => checker,
            none => none.insert(
                SafetyChecker::open(&self.folder, &self.device).context("image_filter.safety_checker")?,
            ),
        };
        let mut sound = Vec::with_capacity(portion.examples.len());
        let mut left = std::mem::take(&mut portion.examples).into_iter();
        loop {
            let examples: Vec<Example> = left.by_ref().take(CHUNK).collect();
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
                        sound.push(example);
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
        portion.examples = sound;
        Ok(())
    }
}

fn flags<'a>(checker: &SafetyChecker, images: impl Iterator<Item = &'a RgbImage>) -> Result<Vec<bool>> {
    let images: Vec<RgbImage> = images.cloned().collect();
    Ok(checker.check(&images)?.iter().map(Verdict::is_unsafe).collect())
}
