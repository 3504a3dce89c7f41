//! Scoring by a reward model and feature extraction by Inception, for a batch of images in memory, with their
//! preprocessing.

use crate::step::Step;
use anyhow::{Context, Result};
use candle_core::{DType, Device};
use evaluation::fid::{Extractor, Mode};
use evaluation::inception::Inception;
use evaluation::preprocess::PillowImage;
use evaluation::rewards::{Reward, RewardFiles, RewardKind};
use image::{Rgb, RgbImage};
use std::path::Path;

/// File names in the folder that `xtask/bench/score.py make` writes.
const WEIGHTS: &str = "weights.pt";
const CLIP_VOCABULARY: &str = "bpe_simple_vocab_16e6.txt.gz";
const BERT_VOCABULARY: &str = "vocab.txt";
/// Height and width of the images: those that Stable Diffusion 1.5 generates.
const SIDE: u32 = 512;

/// Scores `batch` images, each with its own prompt. The result is the mean score.
pub(crate) fn score(folder: &Path, kind: RewardKind, batch: usize, device: &Device) -> Result<Step<'static>> {
    let vocabulary = if kind == RewardKind::ImageReward { BERT_VOCABULARY } else { CLIP_VOCABULARY };
    let files = RewardFiles {
        weights: folder.join(WEIGHTS),
        vocabulary: Some(folder.join(vocabulary)),
        ..RewardFiles::default()
    };
    let reward = Reward::open(kind, &files, device)?.with_batch(batch);
    let images: Vec<PillowImage> = (0..batch).map(image).map(PillowImage::from).collect();
    let prompts: Vec<String> = (0..batch).map(prompt).collect();
    Ok(Box::new(move || {
        let prompts: Vec<&str> = prompts.iter().map(String::as_str).collect();
        let scores = reward.scores(&images, &prompts)?;
        Ok(Some(scores.iter().map(|&score| f64::from(score)).sum::<f64>() / scores.len() as f64))
    }))
}

/// Extracts the features that pytorch-fid compares. The result is their mean.
pub(crate) fn fid(folder: &Path, batch: usize, device: &Device) -> Result<Step<'static>> {
    let inception = Inception::load(&folder.join(WEIGHTS), device)?;
    let extractor = Extractor::Inception(Box::new(inception), Mode::PytorchFid);
    let images: Vec<RgbImage> = (0..batch).map(image).collect();
    Ok(Box::new(move || {
        let mean = extractor.features(&images)?.to_dtype(DType::F64)?.mean_all()?.to_scalar();
        mean.map(Some).context("the mean of the features")
    }))
}

/// Image number i: ramps and a pattern, equal to the image that `score.py` makes.
fn image(i: usize) -> RgbImage {
    let i = i as u32;
    RgbImage::from_fn(SIDE, SIDE, |x, y| {
        Rgb([0, 1, 2].map(|c| (((x * (i % 5 + 1)) ^ (y * (c + 1))) + 31 * i) as u8))
    })
}

fn prompt(i: usize) -> String {
    format!("number {i}: a watercolour of a lighthouse on a cliff above a stormy sea, seen from a small boat")
}
