//! The spec of a study.

use super::measure::Measure;
use super::settings::Settings;
use crate::data::DataSpec;
use crate::evaluate::{FidSpec, PromptSpec, RewardSpec, images_per_prompt};
use crate::image::Sampler;
use crate::train::Objective;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// A study: methods compared on data sets at equal budgets, with tuning, several seeds, and ablations.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "openapi", schema(example = json!({
    "name": "winter", "base": "shapes", "seeds": [1, 2, 3], "budget": { "pairs": 800 },
    "train": { "batch_size": 8, "learning_rate": { "rate": 1e-4 } },
    "data": [{ "name": "winter", "set": { "source": "shapes", "set": "winter", "count": 256 } }],
    "methods": [
        { "name": "sft", "objective": { "kind": "sft" } },
        { "name": "contrast", "objective": { "kind": "diff_contrast", "beta": 500.0, "tau": 0.1 } }
    ],
    "evaluate": [{ "name": "held_out", "prompts": { "source": "shapes_held_out", "count": 32 } }]
})))]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StudySpec {
    /// Name of the study, the start of its models' names: letters, digits, `-`, `_` or `.`.
    pub name: String,
    /// The model that every method starts from, and that all are compared with.
    pub base: String,
    /// Seeds of the final runs, one run per method, data set and seed; at least one, three for intervals.
    #[serde(default = "seeds")]
    #[cfg_attr(feature = "openapi", schema(default = seeds))]
    pub seeds: Vec<u64>,
    /// What every run may spend.
    pub budget: Budget,
    /// Settings of every run, as in a training spec and by dotted key. Name, base, reference, objective, data, steps and seed
    /// follow from the study.
    #[cfg_attr(feature = "openapi", schema(value_type = Object))]
    pub train: Settings,
    /// The sets to train on.
    pub data: Vec<StudyData>,
    /// The methods to compare.
    pub methods: Vec<StudyMethod>,
    /// Settings whose effect is shown by itself.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ablations: Vec<Ablation>,
    /// How methods that `search` choose their settings; needed if any does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tuning: Option<Tuning>,
    /// What the final models are measured by.
    pub evaluate: Vec<StudyEvaluation>,
}

/// What every run may spend.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Budget {
    /// Pairs that a run sees, 1 or more: a multiple of batch_size times gradient_accumulation of every run. The steps follow.
    pub pairs: u32,
}

/// A set to train on.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StudyData {
    /// Name of the set in the study: letters, digits, `-` or `_`.
    pub name: String,
    /// The set.
    pub set: DataSpec,
    /// Settings of runs on this set.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[cfg_attr(feature = "openapi", schema(value_type = Object))]
    pub train: Settings,
}

/// A method to compare.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StudyMethod {
    /// Name of the method in the study: letters, digits, `-` or `_`.
    pub name: String,
    /// What is minimised.
    pub objective: Objective,
    /// An earlier method of the list whose final model of the same set and seed is start and reference. The base when
    /// absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// Settings of this method.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[cfg_attr(feature = "openapi", schema(value_type = Object))]
    pub train: Settings,
    /// Values to try by dotted key. Every combination is a trial; the best one on the tuning prompts gives the settings of the
    /// final runs. All methods that search have the same number of trials.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[cfg_attr(feature = "openapi", schema(value_type = Object))]
    pub search: BTreeMap<String, Vec<Value>>,
    /// States that the method's settings are not searched though other methods' are.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    #[cfg_attr(feature = "openapi", schema(default = false))]
    pub untuned: bool,
}

/// A setting whose effect is shown by itself: final runs of a method that differ in it alone.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ablation {
    /// Name of the ablation: letters, digits, `-` or `_`.
    pub name: String,
    /// The method, with its chosen settings.
    pub method: String,
    /// Dotted key of the setting, for example `objective.tau` or `batch_size`.
    pub key: String,
    /// Its values: numbers, words or booleans.
    #[cfg_attr(feature = "openapi", schema(value_type = Vec<Object>))]
    pub values: Vec<Value>,
    /// Names of the sets it runs on; all when empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub data: Vec<String>,
}

/// How methods choose their settings.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tuning {
    /// The measure that chooses: a metric, or `distance`.
    #[cfg_attr(feature = "openapi", schema(value_type = String, example = "shape_and_colour"))]
    pub metric: Measure,
    /// Seed of the trials' runs; none of the seeds of the final runs.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(default = 0))]
    pub seed: u64,
    /// What the trials are measured by; one for each set, with other prompts than the final evaluations.
    pub evaluate: Vec<StudyEvaluation>,
}

/// An evaluation of a study: images of the same prompts and noise by every model.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StudyEvaluation {
    /// Name of the evaluation: letters, digits, `-` or `_`. Evaluations of different sets may share a name.
    pub name: String,
    /// Names of the sets whose models it measures; all when empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub data: Vec<String>,
    /// The prompts.
    pub prompts: PromptSpec,
    /// Images of each prompt, 1 to 16.
    #[serde(default = "images_per_prompt")]
    #[cfg_attr(feature = "openapi", schema(default = images_per_prompt))]
    pub images_per_prompt: u32,
    /// The CLIP of the CLIP score; the base's own when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clip: Option<String>,
    /// Seed of the first image's noise; image i uses seed + i, for every model and every seed of training the same.
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
    /// Reward models that score the images.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rewards: Vec<RewardSpec>,
    /// Images whose distance from each model's images is measured; no distance when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fid: Option<FidSpec>,
}

fn seeds() -> Vec<u64> {
    vec![1, 2, 3]
}

impl StudyEvaluation {
    /// Whether it measures the models of a set.
    #[must_use]
    pub fn applies_to(&self, data: &StudyData) -> bool {
        self.data.is_empty() || self.data.contains(&data.name)
    }
}

impl Ablation {
    /// Whether it runs on a set.
    #[must_use]
    pub fn applies_to(&self, data: &StudyData) -> bool {
        self.data.is_empty() || self.data.contains(&data.name)
    }
}

impl StudySpec {
    /// The method of this name, with its index.
    #[must_use]
    pub fn method(&self, name: &str) -> Option<(usize, &StudyMethod)> {
        self.methods.iter().enumerate().find(|(_, method)| method.name == name)
    }

    /// Names of the fields in which another spec differs, as `methods` or `train.batch_size`.
    #[must_use]
    pub fn differences(&self, other: &Self) -> Vec<String> {
        let json = |spec: &Self| serde_json::to_value(spec).unwrap_or_default();
        let mut found = Vec::new();
        differing(&json(self), &json(other), "", &mut found);
        found
    }
}

/// Collects the paths at which two values differ. Lists of different length differ as a whole.
fn differing(a: &Value, b: &Value, path: &str, found: &mut Vec<String>) {
    let below = |key: &str| if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
    match (a, b) {
        (Value::Object(x), Value::Object(y)) => {
            let mut keys: Vec<&String> = x.keys().chain(y.keys()).collect();
            keys.sort();
            keys.dedup();
            for key in keys {
                let (x, y) = (x.get(key).unwrap_or(&Value::Null), y.get(key).unwrap_or(&Value::Null));
                differing(x, y, &below(key), found);
            }
        }
        (Value::Array(x), Value::Array(y)) if x.len() == y.len() => {
            for (i, (x, y)) in x.iter().zip(y).enumerate() {
                differing(x, y, &below(&i.to_string()), found);
            }
        }
        _ if a == b => {}
        _ => found.push(path.to_owned()),
    }
}
