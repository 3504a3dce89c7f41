//! The scorers of images: CLIP, the rule of the bundled world, and reward models.

use anyhow::{Context, Result, ensure};
use candle_core::Device;
use diffusion::layout::CLIP;
use diffusion::part_folders::PartFolders;
use domain::evaluate::{Metric, RewardSpec};
use evaluation::cache::CachedReward;
use evaluation::clip::Clip;
use evaluation::clip::files::ClipFiles;
use evaluation::preprocess::PillowImage as ScoredImage;
use evaluation::rewards::{Reward, RewardFiles, RewardKind};
use image::RgbImage;
use shapes::Image;
use shapes::judge::{clarity, follows, judge};
use shapes::world::Statement;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Scores of some images: by metric, one per image, `None` where the metric does not apply.
pub type Scores = BTreeMap<Metric, Vec<Option<f64>>>;

/// The scorers of images.
#[derive(Debug)]
pub(crate) struct Judges {
    clip: Option<Clip>,
    rewards: Vec<(Metric, CachedReward)>,
}

impl Judges {
    /// Opens the CLIP of the model in `folders`, if it has one, and the reward models, whose scores are cached in the
    /// folder `cache`.
    ///
    /// # Errors
    /// Fails if a file is missing or damaged.
    pub(crate) fn open(
        folders: &PartFolders,
        rewards: &[RewardSpec],
        cache: &Path,
        device: &Device,
    ) -> Result<Self> {
        let clip = match folders.part(CLIP) {
            Ok(folder) => Some(Clip::load(&folder, device)?),
            Err(_) => None,
        };
        let open = |spec: &RewardSpec| -> Result<(Metric, CachedReward)> {
            let kind = reward_kind(spec.metric)
                .with_context(|| format!("rewards: {} is not a reward model", spec.metric.as_str()))?;
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

    /// Checks that the files of all scorers exist, before hours are spent on images.
    ///
    /// # Errors
    /// Names the scorer and the file that is missing.
    pub(crate) fn check_files(folders: &PartFolders, rewards: &[RewardSpec]) -> Result<()> {
        if let Ok(folder) = folders.part(CLIP) {
            ClipFiles::locate(&folder).context("clip")?;
        }
        for spec in rewards {
            for path in spec.paths() {
                ensure!(Path::new(path).exists(), "rewards: {}: {path} does not exist", spec.metric.as_str());
            }
        }
        Ok(())
    }

    /// What the numbers of each metric are, for the report.
    pub(crate) fn statements(&self) -> BTreeMap<Metric, String> {
        let by_clip = "cosine of image and prompt by the CLIP that the spec names, else the baseline's own; neither scaled nor \
                       clamped; not comparable with \
                       the scores of other networks";
        let by_rule = [
            (
                Metric::ShapeAndColour,
                "1 if the image shows the shape and colour of the prompt by the bundled world's rule, 0 if not",
            ),
            (
                Metric::PromptFollowed,
                "1 if the image shows everything that the prompt states (shapes, colours, size, relation, background) by the \
                 bundled world's rule, 0 if not",
            ),
            (
                Metric::Clarity,
                "mean of focus, grain, contrast and blocks by the bundled world's rule: 1 for its clean images, 0 for an image \
                 with every flaw of the quality set",
            ),
        ];
        let by_rule = by_rule.map(|(metric, statement)| (metric, statement.to_owned()));
        let clip = self.clip.iter().map(|_| (Metric::ClipScore, by_clip.to_owned()));
        let rewards = self.rewards.iter().map(|(metric, cached)| (*metric, cached.reward().statement()));
        clip.chain(by_rule).chain(rewards).collect()
    }

    /// Scores images, one per prompt.
    ///
    /// # Errors
    /// Fails if an image has no pixels, or if a scorer fails.
    pub(crate) fn scores(&mut self, prompts: &[&str], images: &[RgbImage]) -> Result<Scores> {
        let mut scores = Scores::new();
        if images.is_empty() {
            return Ok(scores);
        }
        let known = |values: Vec<f32>| -> Vec<Option<f64>> {
            values.into_iter().map(|value| Some(f64::from(value))).collect()
        };
        if let Some(clip) = &self.clip {
            scores.insert(Metric::ClipScore, known(clip.scores(images, prompts)?));
        }
        let scored_images = images.iter().map(|image| {
            let (width, height) = (image.width() as usize, image.height() as usize);
            ScoredImage::of_bytes(width, height, 3, image.as_raw().clone()).context("an image has no pixels")
        });
        let scored_images = scored_images.collect::<Result<Vec<_>>>()?;
        for (metric, reward) in &mut self.rewards {
            scores.insert(*metric, known(reward.scores(&scored_images, prompts)?));
        }
        let rules: Vec<Option<[f64; 3]>> =
            prompts.iter().zip(images).map(|(prompt, image)| by_rules(image, prompt)).collect();
        if rules.iter().any(Option::is_some) {
            for (index, metric) in RULES.into_iter().enumerate() {
                scores
                    .insert(metric, rules.iter().map(|values| values.map(|values| values[index])).collect());
            }
        }
        Ok(scores)
    }
}

/// The reward model of a metric; `None` for metrics that need none. `domain` and `evaluation` do not depend on each
/// other, so their names meet here.
fn reward_kind(metric: Metric) -> Option<RewardKind> {
    match metric {
        Metric::ClipScore | Metric::ShapeAndColour | Metric::PromptFollowed | Metric::Clarity => None,
        Metric::HpsV20 => Some(RewardKind::HpsV20),
        Metric::HpsV21 => Some(RewardKind::HpsV21),
        Metric::PickScore => Some(RewardKind::PickScore),
        Metric::Aesthetic => Some(RewardKind::Aesthetic),
        Metric::ClipScoreH14 => Some(RewardKind::ClipScoreH14),
        Metric::ClipScoreL14 => Some(RewardKind::ClipScoreL14),
        Metric::ImageReward => Some(RewardKind::ImageReward),
    }
}

/// The rules of the bundled world, in the order of `by_rules`.
const RULES: [Metric; 3] = [Metric::ShapeAndColour, Metric::PromptFollowed, Metric::Clarity];

/// The values of `RULES`. `None` if the image does not have the bundled world's size, or if the prompt is no caption of
/// that world. Shape and colour are those of the largest object.
fn by_rules(image: &RgbImage, prompt: &str) -> Option<[f64; 3]> {
    let image = Image::from_pixels(image.as_raw().clone())?;
    let statement = Statement::parse(prompt)?;
    let verdict = judge(&image);
    let (shape, colour) = *statement.objects.first()?;
    let looks = verdict.shape == Some(shape) && verdict.colour == Some(colour);
    let truth = |holds: bool| f64::from(u8::from(holds));
    Some([truth(looks), truth(follows(&image, &statement)), f64::from(clarity(&image).mean())])
}

#[cfg(test)]
mod tests {
    use super::reward_kind;
    use domain::evaluate::Metric;
    use evaluation::rewards::RewardKind;

    #[test]
    fn metrics_and_reward_models_use_the_same_names() {
        for metric in Metric::ALL {
            let kind = reward_kind(metric);
            assert_eq!(kind.is_some(), metric.is_reward(), "{metric:?}");
            assert!(kind.is_none_or(|kind| kind.as_str() == metric.as_str()), "{metric:?}");
        }
        let kinds: Vec<RewardKind> = Metric::ALL.into_iter().filter_map(reward_kind).collect();
        assert_eq!(kinds, RewardKind::ALL);
    }
}
