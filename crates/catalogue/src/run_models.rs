//! The rows of the models that a run makes.

use crate::run_folder;
use domain::id::{ModelId, RunId};
use domain::model::Model;
use domain::train::TrainSpec;
use process::ambient;

/// A row for the model of a run after `step` steps: the run's name after the last step, NAME-stepN before. `base`: the
/// row of the model that the run started from.
#[must_use]
pub fn model_of_run(spec: &TrainSpec, base: &Model, run: RunId, step: u32, sha256: &str) -> Model {
    let (now, kind, steps) = (ambient::now(), spec.objective.kind(), spec.steps);
    Model {
        id: ModelId::new(now, ambient::entropy()),
        name: if step == steps { spec.name.clone() } else { format!("{}-step{step}", spec.name) },
        folder: run_folder::model_key(run, step),
        sha256: sha256.to_owned(),
        base_id: Some(base.id),
        run_id: Some(run),
        step: Some(i64::from(step)),
        objective: Some(kind.to_owned()),
        description: format!("{kind} from {}, {step} of {steps} steps", base.name),
        created_at: now,
    }
}
