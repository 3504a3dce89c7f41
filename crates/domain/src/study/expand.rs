//! From a cell to its job.

use super::cell::Cell;
use super::settings::{Settings, apply, grid, set};
use super::spec::{Ablation, StudyData, StudyEvaluation, StudyMethod, StudySpec};
use crate::evaluate::EvaluateSpec;
use crate::problem::Problems;
use crate::train::TrainSpec;
use serde_json::{Map, Value, json};

/// The settings that follow from the study. `objective` itself is the method's; keys below it may be set.
pub(super) const RESERVED: [&str; 9] =
    ["name", "base", "from_nothing", "reference", "objective", "data", "steps", "seed", "evaluate_prompts"];

/// Settings that distinguish a run from others of its method and set.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Own<'a> {
    /// Those of the trial, or the chosen trial's.
    pub(super) searched: Option<&'a Settings>,
    /// Key and value of an ablation.
    pub(super) varied: Option<(&'a str, &'a Value)>,
}

/// Steps of a run with these settings: `pairs` divided by those of an update; none if that is no whole number above 0.
#[must_use]
pub fn steps(pairs: u32, batch_size: u32, gradient_accumulation: u32) -> Option<u32> {
    let per_update = batch_size.checked_mul(gradient_accumulation).filter(|&pairs| pairs > 0)?;
    (pairs >= per_update && pairs.is_multiple_of(per_update)).then(|| pairs / per_update)
}

impl StudySpec {
    /// The trials of a method: every combination of its search's values; none if it does not search.
    #[must_use]
    pub fn trials(&self, method: usize) -> Vec<Settings> {
        let search = &self.methods[method].search;
        if search.is_empty() { Vec::new() } else { grid(search) }
    }

    /// The training spec of a cell. `base`: the model it starts from.
    ///
    /// # Errors
    /// Returns the settings that no training spec has, or whose values are not accepted.
    pub(super) fn train_spec(&self, cell: Cell, base: &str, own: Own<'_>) -> Result<TrainSpec, Problems> {
        let (method, data, seed) = match cell {
            Cell::Final { method, data, seed } => (method, data, seed),
            Cell::Trial { method, data, .. } => (method, data, self.tuning.as_ref().map_or(0, |t| t.seed)),
            Cell::Ablation { ablation, data, seed, .. } => {
                (self.method_of(&self.ablations[ablation])?, data, seed)
            }
            Cell::TrialEvaluation { .. } | Cell::Evaluation { .. } | Cell::AblationEvaluation { .. } => {
                return Err(Problems::one("cell", "trains no model"));
            }
        };
        let (method, data) = (&self.methods[method], &self.data[data]);
        let mut spec = self.settings(method, data, own);
        let number = |key: &str, default: u32| -> u32 {
            let value = spec.get(key).map_or(Some(u64::from(default)), Value::as_u64);
            value.and_then(|value| u32::try_from(value).ok()).unwrap_or(0)
        };
        let (batch, accumulation) = (number("batch_size", 0), number("gradient_accumulation", 1));
        let steps = steps(self.budget.pairs, batch, accumulation).ok_or_else(|| {
            let problem = format!(
                "{} is not a multiple of batch_size ({batch}) times gradient_accumulation ({accumulation})",
                self.budget.pairs
            );
            Problems::one("budget.pairs", problem)
        })?;
        spec.insert("name".to_owned(), json!(cell.model_name(self)));
        spec.insert("base".to_owned(), json!(base));
        spec.insert("data".to_owned(), to_value(&data.set)?);
        spec.insert("steps".to_owned(), json!(steps));
        spec.insert("seed".to_owned(), json!(seed));
        // A study has many runs, and only their last models are measured.
        spec.entry("keep_checkpoints").or_insert_with(|| json!(1));
        let spec: TrainSpec = serde_json::from_value(Value::Object(spec))
            .map_err(|error| Problems::one("train", error.to_string()))?;
        spec.validate_job()?;
        Ok(spec)
    }

    /// All settings of a run that the spec gives.
    fn settings(&self, method: &StudyMethod, data: &StudyData, own: Own<'_>) -> Map<String, Value> {
        let mut spec = Map::new();
        apply(&mut spec, &self.train);
        apply(&mut spec, &data.train);
        if let Ok(objective) = to_value(&method.objective) {
            set(&mut spec, "objective", &objective);
        }
        apply(&mut spec, &method.train);
        if let Some(searched) = own.searched {
            apply(&mut spec, searched);
        }
        if let Some((key, value)) = own.varied {
            set(&mut spec, key, value);
        }
        spec
    }

    /// The evaluation spec of these models, the base first.
    pub(super) fn evaluate_spec(&self, of: &StudyEvaluation, models: &[String]) -> EvaluateSpec {
        EvaluateSpec {
            model: String::new(),
            models: std::iter::once(&self.base).chain(models).cloned().collect(),
            baseline: Some(self.base.clone()),
            prompts: of.prompts.clone(),
            images_per_prompt: of.images_per_prompt,
            clip: of.clip.clone(),
            seed: of.seed,
            steps: of.steps,
            guidance_scale: of.guidance_scale,
            sampler: of.sampler,
            rewards: of.rewards.clone(),
            fid: of.fid.clone(),
        }
    }

    /// Index of an ablation's method.
    pub(super) fn method_of(&self, ablation: &Ablation) -> Result<usize, Problems> {
        let found = self.method(&ablation.method).map(|(index, _)| index);
        found.ok_or_else(|| Problems::one("method", format!("{:?} is not a method", ablation.method)))
    }

    /// The tuning evaluation of a set.
    pub(super) fn tuning_evaluation(&self, data: usize) -> Option<&StudyEvaluation> {
        self.tuning.as_ref()?.evaluate.iter().find(|of| of.applies_to(&self.data[data]))
    }
}

fn to_value(value: &impl serde::Serialize) -> Result<Value, Problems> {
    serde_json::to_value(value).map_err(|error| Problems::one("train", error.to_string()))
}
