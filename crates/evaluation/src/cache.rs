//! Scores that were computed before: a file of lines per reward model and weights, to which lines are only added, so
//! that what was interrupted loses nothing but the line that it was writing.

use crate::preprocess::Image;
use crate::rewards::Reward;
use diffusion::{Error, Result};
use sha2::{Digest, Sha256};
use std::borrow::Borrow;
use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

/// Changes whenever the same image, prompt and weights would come to another score, so that old scores are not taken.
const VERSION: u32 = 1;

/// A reward model and its known scores.
#[derive(Debug)]
pub struct CachedReward {
    reward: Reward,
    file: PathBuf,
    out: File,
    scores: HashMap<String, f32>,
}

impl CachedReward {
    /// Opens the scores by this reward model's weights in a folder; makes it if it is not there.
    ///
    /// # Errors
    /// It cannot be read or made.
    pub fn open(folder: &Path, reward: Reward) -> Result<Self> {
        let name = format!("{}-v{VERSION}-{}.scores", reward.identity(), hash([reward.sha256().as_bytes()]));
        let file = folder.join(name);
        let failed = |source| Error::File { file: file.clone(), source };
        std::fs::create_dir_all(folder).map_err(failed)?;
        let mut out = OpenOptions::new().read(true).append(true).create(true).open(&file).map_err(failed)?;
        let mut text = Vec::new();
        out.read_to_end(&mut text).map_err(failed)?;
        if text.last().is_some_and(|&last| last != b'\n') {
            // The line that a killed process left half written ends here; it has no score.
            out.write_all(b"\n").map_err(failed)?;
        }
        let scores = String::from_utf8_lossy(&text).lines().filter_map(score).collect();
        Ok(Self { reward, file, out, scores })
    }

    /// Scores as [`Reward::scores`] gives them, each computed at most once.
    ///
    /// # Errors
    /// The reward model's, or the file cannot be written.
    pub fn scores<P: Borrow<Image> + Sync>(&mut self, images: &[P], prompts: &[&str]) -> Result<Vec<f32>> {
        if images.len() != prompts.len() {
            // The reward model says what is wrong.
            return self.reward.scores(images, prompts);
        }
        let keys: Vec<String> = images
            .iter()
            .zip(prompts)
            .map(|(image, prompt)| key(&self.reward, image.borrow(), prompt))
            .collect();
        let mut missing: Vec<usize> =
            (0..keys.len()).filter(|&i| !self.scores.contains_key(&keys[i])).collect();
        // The same image and prompt twice is scored once.
        let mut seen = std::collections::HashSet::new();
        missing.retain(|&i| seen.insert(&keys[i]));
        let (new_images, new_prompts): (Vec<&Image>, Vec<&str>) =
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

    /// How many scores are known.
    #[must_use]
    pub fn len(&self) -> usize {
        self.scores.len()
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.scores.is_empty()
    }
}

/// SHA-256 of image and prompt; of the image alone where the prompt does not matter.
fn key(reward: &Reward, image: &Image, prompt: &str) -> String {
    let prompt = if reward.kind().reads_prompt() { prompt } else { "" };
    hash([&image.sha256()[..], prompt.as_bytes()])
}

fn hash<const N: usize>(parts: [&[u8]; N]) -> String {
    let hash = parts.iter().fold(Sha256::new(), |hash, part| hash.chain_update(part));
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The key, the score's bits, and the check of both: a line torn and written on is no score.
fn line(key: &str, score: f32) -> String {
    let entry = format!("{key} {:08x}", score.to_bits());
    format!("{entry} {}\n", &hash([entry.as_bytes()])[..8])
}

fn score(line: &str) -> Option<(String, f32)> {
    let (entry, check) = line.rsplit_once(' ')?;
    let (key, bits) = entry.split_once(' ')?;
    let is_whole = key.len() == 64 && hash([entry.as_bytes()])[..8] == *check;
    is_whole.then_some(())?;
    Some((key.to_owned(), f32::from_bits(u32::from_str_radix(bits, 16).ok()?)))
}

#[cfg(test)]
mod tests {
    use super::{CachedReward, key, line, score};
    use crate::preprocess::Image;
    use crate::rewards::{Reward, RewardFiles, RewardKind};
    use candle_core::Device;
    use std::path::Path;

    #[test]
    fn a_line_leads_back_or_is_none() {
        let key = "ab".repeat(32);
        for value in [0.0, -1.5, 27.4, f32::MIN_POSITIVE] {
            let line = line(&key, value);
            assert_eq!(score(line.trim_end()), Some((key.clone(), value)));
            assert_eq!(score(&line[..line.len() - 2]), None);
            assert_eq!(score(&line.replacen("ab", "ac", 1)), None);
        }
    }

    /// A number in the file that no model gives is what comes back: nothing was computed.
    #[test]
    fn a_known_score_is_not_computed() {
        let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
        let files = RewardFiles {
            weights: fixtures.join("rewards/HPS_v2_compressed.pt"),
            vocabulary: Some(fixtures.join("texts/bpe.txt.gz")),
            backbone: None,
        };
        let reward = || Reward::open(RewardKind::HpsV21, &files, &Device::Cpu).expect("a model");
        let folder = tempfile::tempdir().expect("a folder");
        let image = Image::of_bytes(2, 2, 3, vec![9; 12]).expect("an image");
        let cached = CachedReward::open(folder.path(), reward()).expect("a cache");
        std::fs::write(&cached.file, line(&key(&cached.reward, &image, "x"), 1e9)).expect("a file");
        let mut cached = CachedReward::open(folder.path(), reward()).expect("a cache");
        let scores = cached.scores(&[&image, &image], &["x", "y"]).expect("scores");
        assert!(scores[0] == 1e9 && scores[1].abs() <= 100.0, "{scores:?}");
    }
}
