//! What an evaluation is asked to do: images of prompts by one model or several, and their scores.

use crate::id::JobId;
use crate::image::Sampler;
use crate::problem::Problems;
use crate::train::MAX_SEED;
use serde::{Deserialize, Serialize};

/// An evaluation of one model, or of several on the same prompts and noise.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EvaluateSpec {
    /// The model's name or id. With several, the first is the one that the others are compared with, unless
    /// `baseline` names another.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub model: String,
    /// Further models' names or ids.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub models: Vec<String>,
    /// Which of the models the others are compared with; the first when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub baseline: Option<String>,
    /// What to image.
    pub prompts: PromptSpec,
    /// Of the first image's noise; image i uses seed + i, so that every model starts from the same noise.
    #[serde(default)]
    pub seed: u64,
    /// Denoising steps; the model's default when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub steps: Option<u32>,
    /// Guidance scale; the model's default when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guidance_scale: Option<f64>,
    /// Sampler; the model's default when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sampler: Option<Sampler>,
    /// Reward models that score, besides the model's own CLIP and the bundled world's rule.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rewards: Vec<RewardSpec>,
    /// Images to measure each model's distance from (FID); none when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fid: Option<FidSpec>,
}

/// A reward model and its published files.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RewardSpec {
    /// Which.
    pub metric: Metric,
    /// Its weights: a file, or a folder that has them under their usual name.
    pub weights: String,
    /// Its vocabulary: CLIP's `bpe_simple_vocab_16e6.txt.gz` or a folder with `vocab.json` and `merges.txt`;
    /// ImageReward's `vocab.txt` of bert-base-uncased. The aesthetic predictor has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vocabulary: Option<String>,
    /// Only for the aesthetic predictor: the weights of OpenAI's ViT-L/14, on which it stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backbone: Option<String>,
    /// Only for HPSv2 and the CLIP score by ViT-H/14, which resize tensors: with antialiasing, as torchvision does since
    /// 0.17. False when absent, as the published figures were made; scores of the two do not compare.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub antialias: bool,
}

/// What the models' images are held against as a whole.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FidSpec {
    /// A folder of images, a `.npz` file of statistics, or `shapes:SET:COUNT[:SEED]`.
    pub reference: String,
    /// Inception's weights. Without them CLIP's features are compared, which is not FID.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weights: Option<String>,
    /// Whose FID: `pytorch-fid` (the default), `clean-fid` or `torch-fidelity`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<String>,
}

/// Where prompts come from.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "source", rename_all = "snake_case", deny_unknown_fields)]
pub enum PromptSpec {
    /// Single objects of the bundled world in combinations it never shows in training.
    ShapesHeldOut {
        /// How many.
        count: u32,
    },
    /// Prompts given one by one.
    List {
        /// Them.
        prompts: Vec<String>,
    },
    /// HPSv2's benchmark: a folder with `anime.json`, `concept-art.json`, `paintings.json` and `photo.json`, each a list of
    /// prompts; the styles are the categories.
    HpsBenchmark {
        /// The folder.
        folder: String,
        /// Prompts of each style, from its first on; all when absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        per_style: Option<u32>,
    },
    /// PartiPrompts.tsv, with its categories.
    Parti {
        /// The file.
        file: String,
        /// So many from the first on; all when absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        count: Option<u32>,
    },
    /// A text file with a prompt in each line; empty lines do not count.
    Text {
        /// The file.
        file: String,
    },
    /// A file with an object `{"prompt": .., "category": ..}` in each line; the category may be absent.
    JsonLines {
        /// The file.
        file: String,
    },
}

impl PromptSpec {
    /// The file or folder that the prompts come from, with the field that names it.
    #[must_use]
    pub fn path(&self) -> Option<(&'static str, &str)> {
        match self {
            Self::ShapesHeldOut { .. } | Self::List { .. } => None,
            Self::HpsBenchmark { folder, .. } => Some(("prompts.folder", folder)),
            Self::Parti { file, .. } | Self::Text { file } | Self::JsonLines { file } => {
                Some(("prompts.file", file))
            }
        }
    }
}

/// Most prompts of an evaluation.
pub const MAX_PROMPTS: usize = 10_000;
/// Most models of an evaluation.
pub const MAX_MODELS: usize = 32;

/// What an image is scored by.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    /// Cosine of the image's and the prompt's CLIP features, by the model's own bundled CLIP.
    ClipScore,
    /// Whether the image shows the asked shape and colour, by the bundled world's rule (1 or 0).
    ShapeAndColour,
    /// HPSv2 v2.0, 100 times the cosine.
    #[serde(rename = "hps_v2_0")]
    HpsV20,
    /// HPSv2 v2.1, 100 times the cosine; not comparable with v2.0.
    #[serde(rename = "hps_v2_1")]
    HpsV21,
    /// PickScore v1, 100 times the cosine.
    PickScore,
    /// LAION's improved aesthetic predictor.
    Aesthetic,
    /// CLIP score by OpenCLIP's ViT-H/14: the cosine.
    #[serde(rename = "clip_score_h14")]
    ClipScoreH14,
    /// CLIP score by OpenAI's ViT-L/14: the cosine.
    #[serde(rename = "clip_score_l14")]
    ClipScoreL14,
    /// ImageReward v1.0, standardised.
    ImageReward,
}

impl Metric {
    /// All metrics.
    pub const ALL: [Self; 9] = [
        Self::ClipScore,
        Self::ShapeAndColour,
        Self::HpsV20,
        Self::HpsV21,
        Self::PickScore,
        Self::Aesthetic,
        Self::ClipScoreH14,
        Self::ClipScoreL14,
        Self::ImageReward,
    ];

    /// Whether it is a reward model, which has files of its own.
    #[must_use]
    pub fn is_reward(self) -> bool {
        !matches!(self, Self::ClipScore | Self::ShapeAndColour)
    }

    /// Whether its images are resized as tensors, with antialiasing or without.
    #[must_use]
    pub fn resizes_tensors(self) -> bool {
        matches!(self, Self::HpsV20 | Self::HpsV21 | Self::ClipScoreH14)
    }

    /// The word in bodies and columns.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ClipScore => "clip_score",
            Self::ShapeAndColour => "shape_and_colour",
            Self::HpsV20 => "hps_v2_0",
            Self::HpsV21 => "hps_v2_1",
            Self::PickScore => "pick_score",
            Self::Aesthetic => "aesthetic",
            Self::ClipScoreH14 => "clip_score_h14",
            Self::ClipScoreL14 => "clip_score_l14",
            Self::ImageReward => "image_reward",
        }
    }

    /// The words for people.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::ClipScore => "CLIP score",
            Self::ShapeAndColour => "Shape & colour",
            Self::HpsV20 => "HPS v2.0",
            Self::HpsV21 => "HPS v2.1",
            Self::PickScore => "PickScore",
            Self::Aesthetic => "Aesthetics",
            Self::ClipScoreH14 => "CLIP score (H/14)",
            Self::ClipScoreL14 => "CLIP score (L/14)",
            Self::ImageReward => "ImageReward",
        }
    }
}

impl std::str::FromStr for Metric {
    type Err = String;
    fn from_str(s: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|m| m.as_str() == s).ok_or_else(|| format!("{s:?} is no metric"))
    }
}

/// A form in which an evaluation's report is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReportFile {
    /// One page with everything in it.
    Page,
    /// The same figures for programs.
    Figures,
    /// Every score, a line each.
    Scores,
}

impl ReportFile {
    /// All forms.
    pub const ALL: [Self; 3] = [Self::Page, Self::Figures, Self::Scores];

    /// The file's name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Page => "report.html",
            Self::Figures => "report.json",
            Self::Scores => "scores.csv",
        }
    }

    /// What a browser is told that it is.
    #[must_use]
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Page => "text/html; charset=utf-8",
            Self::Figures => "application/json",
            Self::Scores => "text/csv; charset=utf-8",
        }
    }

    /// The artifact in which a worker keeps it.
    #[must_use]
    pub fn artifact(self, job: JobId) -> String {
        format!("evaluations/{job}/{}", self.name())
    }
}

impl std::str::FromStr for ReportFile {
    type Err = String;
    fn from_str(s: &str) -> Result<Self, String> {
        let names = || Self::ALL.map(Self::name).join(", ");
        Self::ALL
            .into_iter()
            .find(|file| file.name() == s)
            .ok_or_else(|| format!("{s:?} is no file of a report: use {}", names()))
    }
}

impl EvaluateSpec {
    /// An evaluation of one model with its own settings.
    #[must_use]
    pub fn of(model: &str, prompts: PromptSpec) -> Self {
        Self {
            model: model.to_owned(),
            models: Vec::new(),
            baseline: None,
            prompts,
            seed: 0,
            steps: None,
            guidance_scale: None,
            sampler: None,
            rewards: Vec::new(),
            fid: None,
        }
    }

    /// All models, each once, in the order named.
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
    /// Every field that cannot be accepted, with the remedy.
    pub fn validate(&self) -> Result<(), Problems> {
        let mut p = Problems::default();
        let models = self.all_models();
        p.require(!models.is_empty(), "model", "name the model to evaluate");
        p.require(
            self.models.iter().all(|model| !model.trim().is_empty()) && models.len() <= MAX_MODELS,
            "models",
            format!("give at most {MAX_MODELS} models, each with a name"),
        );
        if let Some(baseline) = &self.baseline {
            p.require(models.contains(&baseline.as_str()), "baseline", "is not among the models: add it");
        }
        match &self.prompts {
            PromptSpec::ShapesHeldOut { count } | PromptSpec::Parti { count: Some(count), .. } => {
                p.require((1..=10_000).contains(count), "prompts.count", "use 1 to 10000");
            }
            PromptSpec::HpsBenchmark { per_style: Some(count), .. } => {
                p.require((1..=800).contains(count), "prompts.per_style", "use 1 to 800");
            }
            PromptSpec::List { prompts } => {
                p.require(
                    (1..=10_000).contains(&prompts.len()),
                    "prompts.prompts",
                    "give 1 to 10000 prompts",
                );
                p.require(
                    prompts.iter().all(|s| !s.trim().is_empty() && s.len() <= crate::image::MAX_PROMPT_BYTES),
                    "prompts.prompts",
                    format!("no prompt may be empty or longer than {} bytes", crate::image::MAX_PROMPT_BYTES),
                );
            }
            // What a file holds is seen when it is read.
            _ => {}
        }
        if let Some((field, path)) = self.prompts.path() {
            p.require(!path.is_empty(), field, "name the file");
        }
        p.require(self.seed <= MAX_SEED - 10_000, "seed", format!("use 0 to {}", MAX_SEED - 10_000));
        if let Some(steps) = self.steps {
            p.require((1..=1000).contains(&steps), "steps", "use 1 to 1000");
        }
        if let Some(g) = self.guidance_scale {
            p.require((0.0..=50.0).contains(&g), "guidance_scale", "use 0 to 50");
        }
        for (i, reward) in self.rewards.iter().enumerate() {
            let field = format!("rewards.{i}");
            p.require(
                reward.metric.is_reward(),
                format!("{field}.metric"),
                "is scored without files of its own: name a reward model",
            );
            p.require(
                self.rewards[..i].iter().all(|other| other.metric != reward.metric),
                format!("{field}.metric"),
                "is there twice",
            );
            p.require(!reward.weights.is_empty(), format!("{field}.weights"), "name its published weights");
            p.require(
                !reward.antialias || reward.metric.resizes_tensors(),
                format!("{field}.antialias"),
                "is for hps_v2_0, hps_v2_1 and clip_score_h14 only: leave it out",
            );
        }
        if let Some(fid) = &self.fid {
            p.require(!fid.reference.is_empty(), "fid.reference", "name what to compare with");
            let known = ["pytorch-fid", "clean-fid", "torch-fidelity"];
            p.require(
                fid.mode.as_deref().is_none_or(|mode| known.contains(&mode)),
                "fid.mode",
                format!("use one of {}", known.join(", ")),
            );
        }
        p.into_result()
    }

    /// As [`EvaluateSpec::validate`], for a job, which others may send: it reads no file of the worker's machine outside
    /// the folder that the worker runs in.
    ///
    /// # Errors
    /// Every field that cannot be accepted, with the remedy.
    pub fn validate_job(&self) -> Result<(), Problems> {
        let mut p = self.validate().err().unwrap_or_default();
        let inside = |path: &str| {
            !path.starts_with(['/', '\\', '~']) && path.split(['/', '\\']).all(|part| part != "..")
        };
        let remedy = "is not below the worker's folder: give a relative path without \"..\"";
        if let Some((field, path)) = self.prompts.path() {
            p.require(inside(path), field, remedy);
        }
        for (i, reward) in self.rewards.iter().enumerate() {
            let paths = [Some(&reward.weights), reward.vocabulary.as_ref(), reward.backbone.as_ref()];
            let all_inside = paths.into_iter().flatten().all(|path| inside(path));
            p.require(all_inside, format!("rewards.{i}"), remedy);
        }
        if let Some(fid) = &self.fid {
            p.require(inside(&fid.reference), "fid.reference", remedy);
            p.require(fid.weights.as_deref().is_none_or(inside), "fid.weights", remedy);
        }
        p.into_result()
    }
}

#[cfg(test)]
mod tests {
    use super::{EvaluateSpec, Metric, PromptSpec};

    #[test]
    fn metrics_have_one_name_everywhere() {
        for metric in Metric::ALL {
            assert_eq!(serde_json::to_value(metric).expect("a word"), metric.as_str());
            assert_eq!(metric.as_str().parse(), Ok(metric));
        }
    }

    /// serde tells all words of the enum, whatever `ALL` says: a metric that is missing there is found here.
    #[test]
    fn no_metric_is_missing_in_the_list_of_all() {
        let error = serde_json::from_str::<Metric>("\"none\"").expect_err("no metric").to_string();
        let words: Vec<&str> = error.split('`').skip(3).step_by(2).collect();
        assert_eq!(words, Metric::ALL.map(Metric::as_str), "{error}");
    }

    #[test]
    fn antialiasing_is_off_and_only_for_those_who_resize_tensors() {
        let spec = |metric: &str| {
            read(&format!(
                r#"{{"model": "a", "prompts": {{"source": "text", "file": "p.txt"}},
                "rewards": [{{"metric": "{metric}", "weights": "x", "antialias": true}}]}}"#
            ))
        };
        spec("hps_v2_1").validate().expect("HPSv2 knows it");
        let problems = spec("pick_score").validate().expect_err("PickScore resizes as Pillow does");
        assert_eq!(problems.0[0].field, "rewards.0.antialias");
        let off = r#"{"metric":"hps_v2_1","weights":"x"}"#;
        let reward: super::RewardSpec = serde_json::from_str(off).expect("a reward model");
        assert!(!reward.antialias);
        assert_eq!(serde_json::to_string(&reward).expect("text"), off);
    }

    #[test]
    fn what_needs_no_files_is_no_reward_model_and_none_is_there_twice() {
        let text = r#"{"model": "a", "prompts": {"source": "text", "file": "p.txt"}, "rewards": [
            {"metric": "clip_score", "weights": "x"}, {"metric": "pick_score", "weights": "x"},
            {"metric": "pick_score", "weights": "y"}]}"#;
        let problems = read(text).validate().expect_err("two of them");
        let fields: Vec<&str> = problems.0.iter().map(|p| p.field.as_str()).collect();
        assert_eq!(fields, ["rewards.0.metric", "rewards.2.metric"]);
    }

    fn read(text: &str) -> EvaluateSpec {
        serde_json::from_str(text).expect("a spec")
    }

    #[test]
    fn a_spec_of_one_model_reads_and_writes_as_before() {
        let text = r#"{"model":"shapes","prompts":{"source":"shapes_held_out","count":3},"seed":0}"#;
        let spec = read(text);
        assert_eq!(spec, EvaluateSpec::of("shapes", PromptSpec::ShapesHeldOut { count: 3 }));
        assert_eq!(serde_json::to_string(&spec).expect("text"), text);
        assert_eq!((spec.all_models(), spec.baseline()), (vec!["shapes"], "shapes"));
    }

    #[test]
    fn several_models_have_a_baseline_among_them() {
        let several = |rest: &str| {
            read(&format!(r#"{{"models":["a","b","a"],"prompts":{{"source":"text","file":"p.txt"}}{rest}}}"#))
        };
        assert_eq!((several("").all_models(), several("").baseline()), (vec!["a", "b"], "a"));
        assert_eq!(several(r#","baseline":"b""#).baseline(), "b");
        let problems = several(r#","baseline":"c""#).validate().expect_err("c is no model");
        assert_eq!(problems.0[0].field, "baseline");
    }

    #[test]
    fn a_job_reads_no_file_outside_the_workers_folder() {
        for path in ["/etc/passwd", "../secrets.txt", "prompts/../../x"] {
            let spec = EvaluateSpec::of("a", PromptSpec::Text { file: path.to_owned() });
            spec.validate().expect("good on a command line");
            assert_eq!(spec.validate_job().expect_err("not as a job").0[0].field, "prompts.file");
        }
        let spec = EvaluateSpec::of("a", PromptSpec::Text { file: "prompts/mine.txt".to_owned() });
        spec.validate_job().expect("below it");
    }
}
