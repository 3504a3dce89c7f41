//! The layout of a run's folder: `models/step-0000100/` holds the model after 100 steps.

use std::io;
use std::path::{Path, PathBuf};

const MODELS: &str = "models";
const PREFIX: &str = "step-";

/// The folder that holds a run's models.
#[must_use]
pub fn models(run: &Path) -> PathBuf {
    run.join(MODELS)
}

/// The name of a run's output after `step` steps. Sorting the names sorts them by step.
#[must_use]
pub fn step_name(step: u32) -> String {
    format!("{PREFIX}{step:07}")
}

/// The captions of the run's validation examples, one per line. Absent if it has none.
#[must_use]
pub fn validation_prompts(run: &Path) -> PathBuf {
    run.join("validation_prompts.txt")
}

/// The folder of the run that saved a model; `None` if the model was not saved by a run.
#[must_use]
pub fn run_of(model: &Path) -> Option<&Path> {
    let models = model.parent()?;
    (step_of(model).is_some() && models.file_name()? == MODELS).then(|| models.parent())?
}

/// The folder of a run's model after `step` steps.
#[must_use]
pub fn model(run: &Path, step: u32) -> PathBuf {
    models(run).join(step_name(step))
}

/// The artifact key of a run's model after `step` steps, for the run whose folder has the key `run`.
#[must_use]
pub fn model_key(run: &str, step: u32) -> String {
    format!("{run}/{MODELS}/{}", step_name(step))
}

/// The step in the name of a model's folder; `None` for any other folder.
#[must_use]
pub fn step_of(model: &Path) -> Option<u32> {
    model.file_name()?.to_str()?.strip_prefix(PREFIX)?.parse().ok()
}

/// Steps of the models in a run's folder, in no particular order.
///
/// # Errors
/// Fails if the folder of models cannot be read.
pub fn steps(run: &Path) -> io::Result<Vec<u32>> {
    let mut steps = Vec::new();
    for entry in std::fs::read_dir(models(run))? {
        steps.extend(step_of(&entry?.path()));
    }
    Ok(steps)
}

#[cfg(test)]
mod tests {
    use super::{model, model_key, step_of, steps};
    use std::path::Path;

    #[test]
    fn the_step_of_a_model_is_read_from_its_folder() {
        let run = tempfile::tempdir().expect("a folder");
        std::fs::create_dir_all(model(run.path(), 100)).expect("a folder");
        std::fs::create_dir_all(run.path().join("models/.step-1")).expect("a folder");
        assert_eq!(steps(run.path()).expect("steps"), [100]);
        assert_eq!(model_key("runs/x", 100), "runs/x/models/step-0000100");
        assert_eq!(step_of(Path::new("models/step-x")), None);
    }
}
