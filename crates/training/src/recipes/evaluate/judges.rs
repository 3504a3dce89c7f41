//! What images are scored by.

use super::prompts::Task;
use anyhow::{Context, Error, Result};
use candle_core::Device;
use diffusion::part_folders::PartFolders;
use domain::evaluate::{Metric, RewardSpec};
use evaluation::cache::CachedReward;
use evaluation::clip::Clip;
use evaluation::preprocess::PillowImage;
use evaluation::rewards::{Reward, RewardFiles};
use image::RgbImage;
use shapes::Image;
use shapes::judge::judge;
use shapes::world::HeldOutPrompt;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Scores of some images: of each metric one per image, none where the metric has nothing to say.
pub type Scores = BTreeMap<Metric, Vec<Option<f64>>>;

/// Everything that judges.
#[derive(Debug)]
pub struct Judges {
    clip: Option<Clip>,
    rewards: Vec<(Metric, CachedReward)>,
}

impl Judges {
    /// Those that a model brings, its CLIP, if it has one, and the bundled world's rule; and reward models, whose scores are
    /// kept in `cache`.
    ///
    /// # Errors
    /// A file that is missing or damaged.
    pub fn of(folders: &PartFolders, rewards: &[RewardSpec], cache: &Path, device: &Device) -> Result<Self> {
        let clip = match folders.part("clip") {
            Ok(folder) => Some(Clip::load(&folder, device)?),
            Err(_) => None,
        };
        let open = |spec: &RewardSpec| -> Result<(Metric, CachedReward)> {
            // The two crates may not know each other: they meet in the names.
            let kind = spec.metric.as_str().parse().map_err(Error::msg)?;
            let path = |path: &Option<String>| path.as_ref().map(PathBuf::from);
            let files = RewardFiles {
                weights: PathBuf::from(&spec.weights),
                vocabulary: path(&spec.vocabulary),
                backbone: path(&spec.backbone),
            };
            let reward = Reward::open(kind, &files, device)
                .and_then(|reward| if spec.antialias { reward.with_antialias() } else { Ok(reward) })
                .with_context(|| spec.metric.label())?;
            Ok((spec.metric, CachedReward::open(cache, reward)?))
        };
        Ok(Self { clip, rewards: rewards.iter().map(open).collect::<Result<_>>()? })
    }

    /// What each metric's number is, for the report.
    #[must_use]
    pub fn statements(&self) -> BTreeMap<Metric, String> {
        let by_clip = "cosine of image and prompt by the baseline's own CLIP, neither scaled nor clamped; not comparable \
                       with figures by other networks";
        let by_rule =
            "1 where the image shows the asked shape and colour by the bundled world's rule, 0 elsewhere";
        let clip = self.clip.iter().map(|_| (Metric::ClipScore, by_clip.to_owned()));
        let rewards = self.rewards.iter().map(|(metric, cached)| (*metric, cached.reward().statement()));
        clip.chain([(Metric::ShapeAndColour, by_rule.to_owned())]).chain(rewards).collect()
    }

    /// Scores images, each of its own task.
    ///
    /// # Errors
    /// The networks'.
    pub fn scores(&mut self, tasks: &[&Task], images: &[RgbImage]) -> Result<Scores> {
        let mut scores = Scores::new();
        if images.is_empty() {
            return Ok(scores);
        }
        let prompts: Vec<&str> = tasks.iter().map(|task| task.prompt.as_str()).collect();
        let known = |values: Vec<f32>| -> Vec<Option<f64>> {
            values.into_iter().map(|value| Some(f64::from(value))).collect()
        };
        if let Some(clip) = &self.clip {
            scores.insert(Metric::ClipScore, known(clip.scores(images, &prompts)?));
        }
        let seen = images.iter().map(|image| {
            let (width, height) = (image.width() as usize, image.height() as usize);
            PillowImage::of_bytes(width, height, 3, image.as_raw().clone()).context("an image of no pixels")
        });
        let seen = seen.collect::<Result<Vec<PillowImage>>>()?;
        for (metric, reward) in &mut self.rewards {
            scores.insert(*metric, known(reward.scores(&seen, &prompts)?));
        }
        let rule = |(task, image): (&&Task, &RgbImage)| {
            let right = task.held_out.as_ref().and_then(|asked| shows(asked, image))?;
            Some(f64::from(u8::from(right)))
        };
        let rule: Vec<Option<f64>> = tasks.iter().zip(images).map(rule).collect();
        if rule.iter().any(Option::is_some) {
            scores.insert(Metric::ShapeAndColour, rule);
        }
        Ok(scores)
    }
}

/// Whether an image shows the asked shape and colour; `None` if it is not of the bundled world's size.
fn shows(asked: &HeldOutPrompt, image: &RgbImage) -> Option<bool> {
    let image = Image::from_pixels(image.as_raw().clone())?;
    Some(judge(&image).satisfies(asked))
}

#[cfg(test)]
mod tests {
    use domain::evaluate::Metric;
    use evaluation::rewards::RewardKind;

    #[test]
    fn every_reward_model_of_the_contract_is_there_and_every_one_that_is_there_is_in_the_contract() {
        let ours: Vec<&str> =
            Metric::ALL.into_iter().filter(|metric| metric.is_reward()).map(Metric::as_str).collect();
        assert_eq!(ours, RewardKind::ALL.map(RewardKind::as_str));
    }
}
