//! The spec of an evaluation.

use super::metric::Metric;
use super::prompts::PromptSpec;
use crate::image::{Sampler, validate_sampling};
use crate::limits::{MAX_MODELS, MAX_PROMPTS, MAX_SEED};
use crate::name::{OUTSIDE_WORKING_FOLDER, is_below_working_folder};
use crate::problem::Problems;
use serde::{Deserialize, Serialize};

/// An evaluation of one model, or a comparison of several on the same prompts and noise.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "openapi", schema(example = json!({
    "models": ["shapes", "winter-contrast"], "baseline": "shapes",
    "prompts": { "source": "shapes_held_out", "count": 16 }, "seed": 0
})))]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EvaluateSpec {
    /// Name or id of the model to evaluate. It may be absent if `models` names one.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[cfg_attr(feature = "openapi", schema(default = ""))]
    pub model: String,
    /// Names or ids of more models to evaluate. With `model` they are at most 32.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub models: Vec<String>,
    /// The model that the others are compared with, one of those named; the first when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub baseline: Option<String>,
    /// The prompts; captions of a run's validation examples when absent.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(default = PromptSpec::default))]
    pub prompts: PromptSpec,
    /// Images of each prompt, 1 to 16.
    #[serde(default = "images_per_prompt", skip_serializing_if = "is_one")]
    #[cfg_attr(feature = "openapi", schema(default = images_per_prompt, minimum = 1, maximum = 16))]
    pub images_per_prompt: u32,
    /// The CLIP of the CLIP score: the name of a folder in the models folder, a folder, or a repository of the hub
    /// (OWNER/NAME). The baseline's own when absent; published Stable Diffusion models have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(example = "openai/clip-vit-large-patch14"))]
    pub clip: Option<String>,
    /// Seed of the first image's noise; image i uses seed + i, for every model the same.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(default = 0, maximum = 9007199254740991i64))]
    pub seed: u64,
    /// Denoising steps, 1 to 1000; the model's default when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(minimum = 1, maximum = 1000))]
    pub steps: Option<u32>,
    /// Guidance scale, 0 to 50; the model's default when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(minimum = 0, maximum = 50))]
    pub guidance_scale: Option<f64>,
    /// The sampler; the model's default when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sampler: Option<Sampler>,
    /// Reward models that score the images, besides the model's own CLIP and the rule of the bundled world.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rewards: Vec<RewardSpec>,
    /// Images whose distance (FID) from each model's images is measured; no distance when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fid: Option<FidSpec>,
}

/// Most images of each prompt.
const MAX_IMAGES_PER_PROMPT: u32 = 16;

pub(crate) fn images_per_prompt() -> u32 {
    1
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_one(number: &u32) -> bool {
    *number == 1
}

/// A reward model and its published files.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "openapi", schema(example = json!({
    "metric": "pick_score", "weights": "PickScore_v1", "vocabulary": "PickScore_v1"
})))]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RewardSpec {
    /// The metric, one that is a reward model; each at most once.
    pub metric: Metric,
    /// The weights: a file, or a folder that holds them under their usual name.
    pub weights: String,
    /// The vocabulary: CLIP's `bpe_simple_vocab_16e6.txt.gz` or a folder with `vocab.json` and `merges.txt`; for
    /// ImageReward the `vocab.txt` of bert-base-uncased. The aesthetic predictor needs none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vocabulary: Option<String>,
    /// Only for the aesthetic predictor: the weights of OpenAI's ViT-L/14, whose features it reads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backbone: Option<String>,
    /// Only for `hps_v2_0`, `hps_v2_1` and `clip_score_h14`: resizes images with antialiasing, as torchvision does
    /// since 0.17. The published scores were measured without; scores with and without are not comparable.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    #[cfg_attr(feature = "openapi", schema(default = false))]
    pub antialias: bool,
}

/// Modes of FID, by the package whose numbers they reproduce.
const FID_MODES: [&str; 3] = ["pytorch-fid", "clean-fid", "torch-fidelity"];

/// The images from which each model's images are measured.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "openapi", schema(example = json!({ "reference": "shapes:winter:256:99" })))]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FidSpec {
    /// A folder of images, a `.npz` file of statistics, or a set of the bundled world as `shapes:SET:COUNT[:SEED]`.
    pub reference: String,
    /// Weights of the Inception network. When absent, the distance is of CLIP features, which is not FID.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weights: Option<String>,
    /// The package whose FID is reproduced: `pytorch-fid`, `clean-fid` or `torch-fidelity`; `pytorch-fid` when
    /// absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<String>,
}

impl EvaluateSpec {
    /// An evaluation of one model with its default settings.
    #[must_use]
    pub fn of(model: &str, prompts: PromptSpec) -> Self {
        Self {
            model: model.to_owned(),
            models: Vec::new(),
            baseline: None,
            prompts,
            images_per_prompt: 1,
            clip: None,
            seed: 0,
            steps: None,
            guidance_scale: None,
            sampler: None,
            rewards: Vec::new(),
            fid: None,
        }
    }

    /// All models without repetitions, in the order named.
    #[must_use]
    pub fn all_models(&self) -> Vec<&str> {
        let mut all = Vec::new();
        for model in std::iter::once(&self.model).chain(&self.models) {
            if !model.is_empty() && !all.contains(&model.as_str()) {
                all.push(model.as_str());
            }
        }
        all
    }

    /// The model that the others are compared with.
    #[must_use]
    pub fn baseline(&self) -> &str {
        let first = || self.all_models().first().copied().unwrap_or_default();
        self.baseline.as_deref().unwrap_or_else(first)
    }

    /// # Errors
    /// Returns every field that is empty, out of range or contradicts another.
    pub fn validate(&self) -> Result<(), Problems> {
        let mut p = Problems::default();
        self.validate_models(&mut p);
        self.prompts.validate(&mut p);
        p.require(
            (1..=MAX_IMAGES_PER_PROMPT).contains(&self.images_per_prompt),
            "images_per_prompt",
            format!("use 1 to {MAX_IMAGES_PER_PROMPT}"),
        );
        p.require(
            self.clip.as_ref().is_none_or(|clip| !clip.trim().is_empty()),
            "clip",
            "name a folder or a repository, or remove it",
        );
        // Image i uses seed + i, and every seed must stay below the bound.
        let max_seed = MAX_SEED - u64::from(MAX_PROMPTS);
        p.require(self.seed <= max_seed, "seed", format!("use 0 to {max_seed}"));
        validate_sampling(self.steps, self.guidance_scale, "", &mut p);
        for (i, reward) in self.rewards.iter().enumerate() {
            let is_repeated = self.rewards[..i].iter().any(|other| other.metric == reward.metric);
            reward.validate(&format!("rewards.{i}"), is_repeated, &mut p);
        }
        if let Some(fid) = &self.fid {
            fid.validate(&mut p);
        }
        p.into_result()
    }

    fn validate_models(&self, p: &mut Problems) {
        let models = self.all_models();
        p.require(!models.is_empty(), "model", "name the model to evaluate");
        p.require(
            self.models.iter().all(|model| !model.trim().is_empty()) && models.len() <= MAX_MODELS,
            "models",
            format!("give at most {MAX_MODELS} models, each with a name"),
        );
        if let Some(baseline) = &self.baseline {
            p.require(
                models.contains(&baseline.as_str()),
                "baseline",
                "is not one of the models: add it to models",
            );
        }
    }

    /// As [`EvaluateSpec::validate`], for a job: jobs can be submitted over HTTP, so they may read only files below
    /// the worker's current folder.
    ///
    /// # Errors
    /// Returns every field that is invalid, or names a file elsewhere.
    pub fn validate_job(&self) -> Result<(), Problems> {
        let mut p = self.validate().err().unwrap_or_default();
        let inside = is_below_working_folder;
        let remedy = OUTSIDE_WORKING_FOLDER;
        p.require(self.clip.as_deref().is_none_or(inside), "clip", remedy);
        if let Some((field, path)) = self.prompts.path() {
            p.require(inside(path), field, remedy);
        }
        if let PromptSpec::Captions { data, .. } = &self.prompts {
            let losers = data.folders().into_iter().filter(|(field, _)| field != "data.folder");
            for (field, folder) in losers {
                p.require(inside(folder), format!("prompts.{field}"), remedy);
            }
        }
        for (i, reward) in self.rewards.iter().enumerate() {
            p.require(reward.paths().all(inside), format!("rewards.{i}"), remedy);
        }
        if let Some(fid) = &self.fid {
            p.require(inside(&fid.reference), "fid.reference", remedy);
            p.require(fid.weights.as_deref().is_none_or(inside), "fid.weights", remedy);
        }
        p.into_result()
    }
}

impl RewardSpec {
    /// The files and folders that it names.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        let paths = [Some(&self.weights), self.vocabulary.as_ref(), self.backbone.as_ref()];
        paths.into_iter().flatten().map(String::as_str)
    }

    /// `field`: path of this reward model in the spec. `is_repeated`: whether an earlier one has the same metric.
    pub(crate) fn validate(&self, field: &str, is_repeated: bool, p: &mut Problems) {
        p.require(
            self.metric.is_reward(),
            format!("{field}.metric"),
            "needs no files and is scored anyway: name a reward model",
        );
        p.require(!is_repeated, format!("{field}.metric"), "is listed twice: remove one");
        p.require(!self.weights.is_empty(), format!("{field}.weights"), "name its published weights");
        p.require(
            !self.antialias || self.metric.resizes_tensors(),
            format!("{field}.antialias"),
            "applies to hps_v2_0, hps_v2_1 and clip_score_h14 only: remove it",
        );
    }
}

impl FidSpec {
    fn validate(&self, p: &mut Problems) {
        p.require(!self.reference.is_empty(), "fid.reference", "name the images to compare with");
        p.require(
            self.mode.as_deref().is_none_or(|mode| FID_MODES.contains(&mode)),
            "fid.mode",
            format!("use one of {}", FID_MODES.join(", ")),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::{EvaluateSpec, PromptSpec, RewardSpec};

    #[test]
    fn antialiasing_is_off_by_default_and_only_for_metrics_that_resize_tensors() {
        let spec = |metric: &str| {
            read(&format!(
                r#"{{"model": "a", "prompts": {{"source": "text", "file": "p.txt"}},
                "rewards": [{{"metric": "{metric}", "weights": "x", "antialias": true}}]}}"#
            ))
        };
        spec("hps_v2_1").validate().expect("HPSv2 resizes tensors");
        let problems = spec("pick_score").validate().expect_err("PickScore resizes with Pillow");
        assert_eq!(problems.0[0].field, "rewards.0.antialias");
        let off = r#"{"metric":"hps_v2_1","weights":"x"}"#;
        let reward: RewardSpec = serde_json::from_str(off).expect("a reward model");
        assert!(!reward.antialias);
        assert_eq!(serde_json::to_string(&reward).expect("text"), off);
    }

    #[test]
    fn a_metric_without_files_is_not_a_reward_model_and_none_is_listed_twice() {
        let text = r#"{"model": "a", "prompts": {"source": "text", "file": "p.txt"}, "rewards": [
            {"metric": "clip_score", "weights": "x"}, {"metric": "pick_score", "weights": "x"},
            {"metric": "pick_score", "weights": "y"}]}"#;
        let problems = read(text).validate().expect_err("two problems");
        let fields: Vec<&str> = problems.0.iter().map(|p| p.field.as_str()).collect();
        assert_eq!(fields, ["rewards.0.metric", "rewards.2.metric"]);
    }

    fn read(text: &str) -> EvaluateSpec {
        serde_json::from_str(text).expect("a spec")
    }

    #[test]
    fn a_spec_of_one_model_keeps_its_json() {
        let text = r#"{"model":"shapes","prompts":{"source":"shapes_held_out","count":3},"seed":0}"#;
        let spec = read(text);
        assert_eq!(spec, EvaluateSpec::of("shapes", PromptSpec::ShapesHeldOut { count: 3 }));
        assert_eq!(serde_json::to_string(&spec).expect("text"), text);
        assert_eq!((spec.all_models(), spec.baseline()), (vec!["shapes"], "shapes"));
    }

    #[test]
    fn the_baseline_is_one_of_the_models() {
        let several = |rest: &str| {
            read(&format!(r#"{{"models":["a","b","a"],"prompts":{{"source":"text","file":"p.txt"}}{rest}}}"#))
        };
        assert_eq!((several("").all_models(), several("").baseline()), (vec!["a", "b"], "a"));
        assert_eq!(several(r#","baseline":"b""#).baseline(), "b");
        let problems = several(r#","baseline":"c""#).validate().expect_err("c is not a model of it");
        assert_eq!(problems.0[0].field, "baseline");
    }

    #[test]
    fn a_job_cannot_read_files_outside_the_workers_folder() {
        for path in ["/etc/passwd", "../secrets.txt", "prompts/../../x"] {
            let spec = EvaluateSpec::of("a", PromptSpec::Text { file: path.to_owned() });
            spec.validate().expect("valid on the command line");
            assert_eq!(spec.validate_job().expect_err("invalid as a job").0[0].field, "prompts.file");
        }
        let spec = EvaluateSpec::of("a", PromptSpec::Text { file: "prompts/mine.txt".to_owned() });
        spec.validate_job().expect("valid as a job");
    }
}
