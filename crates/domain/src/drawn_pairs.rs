//! Pairs of images that a run's base draws itself, ranked by a metric: on-policy preference data.

use crate::evaluate::{Metric, PromptSpec, RewardSpec};
use crate::image::{Sampler, validate_sampling};
use crate::limits::MAX_SEED;
use crate::problem::Problems;
use serde::{Deserialize, Serialize};

/// Pairs of the base's own images. Before the run begins, the base draws several images of each prompt, a metric scores
/// them, and the best is paired with the worst. Prompts whose images score alike give no pair.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DrawnPairsSpec {
    /// The prompts, as for an evaluation. `validation` is refused: the run has no validation examples yet.
    pub prompts: PromptSpec,
    /// The metric that ranks the images of a prompt; of two images the one with the higher score wins.
    pub metric: Metric,
    /// The files of the metric, if it is a reward model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reward: Option<RewardSpec>,
    /// Images of each prompt, 2 to 64.
    #[serde(default = "images_per_prompt")]
    #[cfg_attr(feature = "openapi", schema(default = images_per_prompt, minimum = 2, maximum = 64))]
    pub images_per_prompt: u32,
    /// Draws this many images of each prompt first, and the others only of prompts whose first ones differ in score by more than
    /// `least_gap`: fewer images for as many pairs. 2 to `images_per_prompt`; all images of every prompt when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(minimum = 2, maximum = 64))]
    pub first_images: Option<u32>,
    /// Most pairs of a prompt, 1 to 64: those with the largest difference of scores; of equal ones, those whose images are in
    /// the fewest pairs.
    #[serde(default = "pairs_per_prompt")]
    #[cfg_attr(feature = "openapi", schema(default = pairs_per_prompt, minimum = 1, maximum = 64))]
    pub pairs_per_prompt: u32,
    /// Keeps the images of a prompt as one list, ranked by the metric, in place of pairs; images of equal score rank equally. It needs
    /// an even `images_per_prompt` and no `pairs_per_prompt`. For the objective `diffusion_lpo`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    #[cfg_attr(feature = "openapi", schema(default = false))]
    pub lists: bool,
    /// Two images form a pair if their scores differ by more than this, 0 or more.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(default = 0.0, minimum = 0))]
    pub least_gap: f64,
    /// Seed of the first image, 0 to 2^52 - 1; image i of all has seed + i.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(default = 0))]
    pub seed: u64,
    /// Denoising steps, 1 to 1000; the model's default when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub steps: Option<u32>,
    /// Guidance scale, 0 to 50; the model's default when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guidance_scale: Option<f64>,
    /// The sampler; the model's default when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sampler: Option<Sampler>,
}

/// Most images of a prompt.
const MAX_IMAGES_PER_PROMPT: u32 = 64;
/// Most pairs of a prompt.
const MAX_PAIRS_PER_PROMPT: u32 = 64;

fn images_per_prompt() -> u32 {
    4
}

fn pairs_per_prompt() -> u32 {
    1
}

impl DrawnPairsSpec {
    /// The files and folders of this machine that the spec names: fields, and paths.
    #[must_use]
    pub fn paths(&self) -> Vec<(String, &str)> {
        let mut paths = Vec::new();
        if let PromptSpec::Captions { data, .. } = &self.prompts {
            paths.extend(
                data.folders().into_iter().map(|(field, path)| (format!("data.prompts.{field}"), path)),
            );
        } else if let Some((field, path)) = self.prompts.path() {
            paths.push((format!("data.{field}"), path));
        }
        if let Some(reward) = &self.reward {
            paths.extend(reward.paths().map(|path| ("data.reward".to_owned(), path)));
        }
        paths
    }

    pub(crate) fn validate(&self, p: &mut Problems) {
        let mut problems = Problems::default();
        self.prompts.validate(&mut problems);
        p.extend_below("data", problems);
        p.require(
            !matches!(self.prompts, PromptSpec::Validation { .. }),
            "data.prompts.source",
            "validation examples come from a run that has begun: use captions, text or another source",
        );
        match &self.reward {
            Some(reward) => {
                reward.validate("data.reward", false, p);
                p.require(
                    reward.metric == self.metric,
                    "data.reward.metric",
                    "use the metric of data.metric",
                );
            }
            None => p.require(
                !self.metric.is_reward(),
                "data.reward",
                "data.metric is a reward model: name its files here",
            ),
        }
        p.require(
            (2..=MAX_IMAGES_PER_PROMPT).contains(&self.images_per_prompt),
            "data.images_per_prompt",
            format!("use 2 to {MAX_IMAGES_PER_PROMPT}"),
        );
        p.require(
            self.first_images.is_none_or(|first| (2..=self.images_per_prompt).contains(&first)),
            "data.first_images",
            "use 2 to images_per_prompt, or remove it",
        );
        p.require(
            (1..=MAX_PAIRS_PER_PROMPT).contains(&self.pairs_per_prompt),
            "data.pairs_per_prompt",
            format!("use 1 to {MAX_PAIRS_PER_PROMPT}"),
        );
        p.require(
            !self.lists || self.pairs_per_prompt == pairs_per_prompt(),
            "data.pairs_per_prompt",
            "a list holds every image of its prompt: remove this, or data.lists",
        );
        p.require(
            !self.lists || self.images_per_prompt.is_multiple_of(2),
            "data.images_per_prompt",
            "use an even number with data.lists: the images of a list are kept in pairs",
        );
        p.require(self.least_gap >= 0.0 && self.least_gap.is_finite(), "data.least_gap", "use 0 or more");
        p.require(self.seed <= MAX_SEED / 2, "data.seed", format!("use 0 to {}", MAX_SEED / 2));
        validate_sampling(self.steps, self.guidance_scale, "data.", p);
    }

    /// Numbers of the winner and the loser of each pair of a prompt, from the scores of its images; images without a
    /// score take no part.
    #[must_use]
    pub fn pairs_of(&self, scores: &[Option<f64>]) -> Vec<(usize, usize)> {
        let known: Vec<(usize, f64)> =
            scores.iter().enumerate().filter_map(|(i, score)| Some((i, (*score)?))).collect();
        let mut candidates: Vec<(usize, usize, f64)> = known
            .iter()
            .flat_map(|&(winner, best)| {
                known.iter().map(move |&(loser, worst)| (winner, loser, best - worst))
            })
            .filter(|&(_, _, gap)| gap > self.least_gap)
            .collect();
        let mut uses = vec![0_u32; scores.len()];
        let mut pairs = Vec::new();
        while pairs.len() < self.pairs_per_prompt as usize {
            let used = |&(winner, loser, _): &(usize, usize, f64)| uses[winner] + uses[loser];
            let better = |one: &(usize, usize, f64), other: &(usize, usize, f64)| {
                other.2.total_cmp(&one.2).then(used(one).cmp(&used(other)))
            };
            let Some(next) = (0..candidates.len()).min_by(|&a, &b| better(&candidates[a], &candidates[b]))
            else {
                break;
            };
            let (winner, loser, _) = candidates.remove(next);
            uses[winner] += 1;
            uses[loser] += 1;
            pairs.push((winner, loser));
        }
        pairs
    }
}

impl DrawnPairsSpec {
    /// Numbers of the images of a prompt in groups of equal score, from the best to the worst. None if an image has no score, or if
    /// the best and the worst differ by no more than `least_gap`.
    #[must_use]
    pub fn ranking_of(&self, scores: &[Option<f64>]) -> Option<Vec<Vec<usize>>> {
        let mut known: Vec<(usize, f64)> = Vec::new();
        for (image, score) in scores.iter().enumerate() {
            known.push((image, (*score)?));
        }
        known.sort_by(|(_, one), (_, other)| other.total_cmp(one));
        let gap = known.first()?.1 - known.last()?.1;
        if gap <= self.least_gap {
            return None;
        }
        let equal = |one: &(usize, f64), other: &(usize, f64)| one.1.total_cmp(&other.1).is_eq();
        Some(known.chunk_by(equal).map(|group| group.iter().map(|(image, _)| *image).collect()).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::DrawnPairsSpec;
    use crate::problem::Problems;

    fn spec(more: &str) -> DrawnPairsSpec {
        let text = format!(
            r#"{{"prompts": {{"source": "list", "prompts": ["a red circle"]}}, "metric": "clarity"{more}}}"#
        );
        serde_json::from_str(&text).expect("a spec")
    }

    fn fields(spec: &DrawnPairsSpec) -> Vec<String> {
        let mut problems = Problems::default();
        spec.validate(&mut problems);
        problems.0.into_iter().map(|problem| problem.field).collect()
    }

    #[test]
    fn the_best_wins_over_the_worst_and_equal_images_form_no_pair() {
        let scores = [Some(0.2), Some(0.9), None, Some(0.4), Some(0.1)];
        assert_eq!(spec("").pairs_of(&scores), [(1, 4)]);
        let three = spec(r#", "pairs_per_prompt": 3"#);
        assert_eq!(three.pairs_of(&scores), [(1, 4), (1, 0), (1, 3)]);
        assert_eq!(three.pairs_of(&[Some(1.0), Some(1.0), Some(0.0)]), [(0, 2), (1, 2)]);
        let right_and_wrong = [Some(1.0), Some(0.0), Some(1.0), Some(0.0)];
        assert_eq!(three.pairs_of(&right_and_wrong), [(0, 1), (2, 3), (0, 3)], "few uses of an image first");
        assert!(three.pairs_of(&[Some(1.0); 4]).is_empty());
        let apart = spec(r#", "pairs_per_prompt": 9, "least_gap": 0.6"#);
        assert_eq!(apart.pairs_of(&scores), [(1, 4), (1, 0)]);
    }

    #[test]
    fn a_list_ranks_every_image_and_equal_ones_alike() {
        let lists = spec(r#", "lists": true"#);
        assert!(fields(&lists).is_empty());
        let scores = [Some(0.2), Some(0.9), Some(0.2), Some(0.4)];
        assert_eq!(lists.ranking_of(&scores), Some(vec![vec![1], vec![3], vec![0, 2]]));
        assert_eq!(lists.ranking_of(&[Some(0.5); 4]), None, "nothing is told apart");
        assert_eq!(
            lists.ranking_of(&[Some(0.5), None, Some(0.1), Some(0.2)]),
            None,
            "an image without a score"
        );
        let refused = spec(r#", "lists": true, "pairs_per_prompt": 2, "images_per_prompt": 5"#);
        assert_eq!(fields(&refused), ["data.pairs_per_prompt", "data.images_per_prompt"]);
    }

    #[test]
    fn settings_that_contradict_each_other_are_named() {
        assert!(fields(&spec("")).is_empty());
        assert_eq!(fields(&spec(r#", "pairs_per_prompt": 65"#)), ["data.pairs_per_prompt"]);
        let text = r#"{"prompts": {"source": "validation"}, "metric": "pick_score"}"#;
        let refused: DrawnPairsSpec = serde_json::from_str(text).expect("a spec");
        assert_eq!(fields(&refused), ["data.prompts.source", "data.reward"]);
    }
}
