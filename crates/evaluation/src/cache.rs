//! A cache of scores on disk: one file per reward model and weights, to which lines are only appended. A killed process
//! loses at most the line that it was writing.

use crate::preprocess::PillowImage;
use crate::rewards::Reward;
use diffusion::{Error, Result};
use files::sha256::{of_bytes, of_parts};
use std::borrow::Borrow;
use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

/// The version of the computation, a part of the file's name. Raise it when the same image, prompt and weights get
/// another score.
const VERSION: u32 = 1;

/// A reward model and the scores it has computed.
#[derive(Debug)]
pub struct CachedReward {
    reward: Reward,
    file: PathBuf,
    out: File,
    scores: HashMap<String, f32>,
}

impl CachedReward {
    /// Opens the cache of a reward model in a folder, which is created if it is missing.
    ///
    /// # Errors
    /// Fails if the folder or the file cannot be created, read or written.
    pub fn open(folder: &Path, reward: Reward) -> Result<Self> {
        let weights = of_bytes(reward.sha256().as_bytes());
        let name = format!("{}-v{VERSION}-{weights}.scores", reward.identity());
        let file = folder.join(name);
        let failed = |source| Error::File { file: file.clone(), source };
        std::fs::create_dir_all(folder).map_err(failed)?;
        let mut out = OpenOptions::new().read(true).append(true).create(true).open(&file).map_err(failed)?;
        let mut text = Vec::new();
        out.read_to_end(&mut text).map_err(failed)?;
        if text.last().is_some_and(|&last| last != b'\n') {
            // Ends the line that a killed process left incomplete. Its check fails, so it is ignored.
            out.write_all(b"\n").map_err(failed)?;
        }
        let scores = String::from_utf8_lossy(&text).lines().filter_map(parse_line).collect();
        Ok(Self { reward, file, out, scores })
    }

    /// As [`Reward::scores`], but computes only scores that are not in the cache, and adds them to it.
    ///
    /// # Errors
    /// Fails if [`Reward::scores`] does or the file cannot be written.
    pub fn scores<P: Borrow<PillowImage> + Sync>(
        &mut self,
        images: &[P],
        prompts: &[&str],
    ) -> Result<Vec<f32>> {
        if images.len() != prompts.len() {
            // Returns its error.
            return self.reward.scores(images, prompts);
        }
        let keys: Vec<String> = images
            .iter()
            .zip(prompts)
            .map(|(image, prompt)| key(&self.reward, image.borrow(), prompt))
            .collect();
        let mut missing: Vec<usize> =
            (0..keys.len()).filter(|&i| !self.scores.contains_key(&keys[i])).collect();
        // An image and prompt that occur twice are scored once.
        let mut seen = std::collections::HashSet::new();
        missing.retain(|&i| seen.insert(&keys[i]));
        let (new_images, new_prompts): (Vec<&PillowImage>, Vec<&str>) =
            missing.iter().map(|&i| (images[i].borrow(), prompts[i])).unzip();
        let new = self.reward.scores(&new_images, &new_prompts)?;
        let mut lines = String::new();
        for (&i, &score) in missing.iter().zip(&new) {
            lines.push_str(&line(&keys[i], score));
        }
        let failed = |source| Error::File { file: self.file.clone(), source };
        self.out.write_all(lines.as_bytes()).and_then(|()| self.out.sync_data()).map_err(failed)?;
        self.scores.extend(missing.iter().map(|&i| keys[i].clone()).zip(new));
        Ok(keys.iter().filter_map(|key| self.scores.get(key).copied()).collect())
    }

    /// The reward model.
    #[must_use]
    pub fn reward(&self) -> &Reward {
        &self.reward
    }

    /// The number of scores in the cache.
    #[cfg(test)]
    pub(crate) fn known(&self) -> usize {
        self.scores.len()
    }
}

/// SHA-256 of image and prompt; of the image alone if scores do not depend on the prompt.
fn key(reward: &Reward, image: &PillowImage, prompt: &str) -> String {
    let prompt = if reward.kind().reads_prompt() { prompt } else { "" };
    of_parts([&image.sha256()[..], prompt.as_bytes()])
}

/// A line of the file: the key, the bits of the score, and the first 8 digits of the SHA-256 of both, which detect
/// incomplete lines.
fn line(key: &str, score: f32) -> String {
    let entry = format!("{key} {:08x}", score.to_bits());
    format!("{entry} {}\n", check(&entry))
}

fn check(entry: &str) -> String {
    of_bytes(entry.as_bytes())[..8].to_owned()
}

/// Key and score of a line; `None` if the line is damaged.
fn parse_line(line: &str) -> Option<(String, f32)> {
    let (entry, found) = line.rsplit_once(' ')?;
    let (key, bits) = entry.split_once(' ')?;
    if key.len() != 64 || check(entry) != found {
        return None;
    }
    Some((key.to_owned(), f32::from_bits(u32::from_str_radix(bits, 16).ok()?)))
}

#[cfg(test)]
mod tests {
    use super::{CachedReward, key, line, parse_line};
    use crate::preprocess::PillowImage;
    use crate::rewards::{Reward, RewardFiles, RewardKind};
    use candle_core::Device;
    use std::path::Path;

    #[test]
    fn a_line_is_parsed_back_and_a_damaged_one_is_ignored() {
        let key = "ab".repeat(32);
        for value in [0.0, -1.5, 27.4, f32::MIN_POSITIVE] {
            let line = line(&key, value);
            assert_eq!(parse_line(line.trim_end()), Some((key.clone(), value)));
            assert_eq!(parse_line(&line[..line.len() - 2]), None);
            assert_eq!(parse_line(&line.replacen("ab", "ac", 1)), None);
        }
    }

    /// The cached score is one that no model computes.
    #[test]
    fn a_cached_score_is_not_computed_again() {
        let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
        let files = RewardFiles {
            weights: fixtures.join("rewards/HPS_v2_compressed.pt"),
            vocabulary: Some(fixtures.join("texts/bpe.txt.gz")),
            backbone: None,
        };
        let reward = || Reward::open(RewardKind::HpsV21, &files, &Device::Cpu).expect("a model");
        let folder = tempfile::tempdir().expect("a folder");
        let image = PillowImage::of_bytes(2, 2, 3, vec![9; 12]).expect("an image");
        let cached = CachedReward::open(folder.path(), reward()).expect("a cache");
        std::fs::write(&cached.file, line(&key(&cached.reward, &image, "x"), 1e9)).expect("a file");
        let mut cached = CachedReward::open(folder.path(), reward()).expect("a cache");
        let scores = cached.scores(&[&image, &image], &["x", "y"]).expect("scores");
        assert!(scores[0] == 1e9 && scores[1].abs() <= 100.0, "{scores:?}");
    }
}
