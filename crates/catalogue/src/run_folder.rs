//! The layout of a run's folder: `run.json` with its id and spec, `metrics.jsonl`, sample images in
//! `samples/00-step-0000100.png`, the model after 100 steps in `models/step-0000100/`, and what a resumed run reads.

use domain::id::RunId;
use std::io;
use std::path::{Path, PathBuf};

const MODELS: &str = "models";
const SAMPLES: &str = "samples";
const PREFIX: &str = "step-";

/// The file in a model's folder with the spec that it was trained with. It is written last, so a model without it is
/// incomplete.
pub const SPEC: &str = "spec.json";
/// The file with a run's id and spec.
pub const MANIFEST: &str = "run.json";
/// The file of the state from which an unfinished run resumes.
pub const STATE: &str = "state.safetensors";
/// The file that records which files of the hub a run reads.
pub const FETCHED: &str = "fetched.json";
/// The folder of the votes that a run reads.
pub const VOTES: &str = "votes";

/// Whether a folder is that of a run.
#[must_use]
pub fn is_run(folder: &Path) -> bool {
    models(folder).is_dir() || folder.join(MANIFEST).is_file()
}

/// Copies what a resumed run reads, as far as it exists: the record of downloads, the votes, and the state if
/// `with_state`.
///
/// # Errors
/// Fails if a file cannot be read or its copy cannot be written.
pub fn copy_resume_files(from: &Path, to: &Path, with_state: bool) -> Result<(), files::Error> {
    for name in [Some(FETCHED), with_state.then_some(STATE)].into_iter().flatten() {
        if from.join(name).is_file() {
            files::copy_atomically(&from.join(name), &to.join(name))?;
        }
    }
    if from.join(VOTES).is_dir() {
        files::copy_folder(&from.join(VOTES), &to.join(VOTES))?;
    }
    Ok(())
}

/// The artifact key of a run's folder.
#[must_use]
pub fn key(run: RunId) -> String {
    format!("runs/{run}")
}

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

/// The folder of a run's model after `step` steps.
#[must_use]
pub fn model(run: &Path, step: u32) -> PathBuf {
    models(run).join(step_name(step))
}

/// The artifact key of a run's model after `step` steps.
#[must_use]
pub fn model_key(run: RunId, step: u32) -> String {
    format!("{}/{MODELS}/{}", key(run), step_name(step))
}

/// The step in the name of a model's folder; `None` for any other folder.
#[must_use]
pub fn step_of(model: &Path) -> Option<u32> {
    step_in(model.file_name()?.to_str()?)
}

fn step_in(name: &str) -> Option<u32> {
    name.strip_prefix(PREFIX)?.parse().ok()
}

/// The folder of the run that a model's folder is in; `None` for any other folder.
#[must_use]
pub fn run_of(model: &Path) -> Option<&Path> {
    step_of(model)?;
    let models = model.parent()?;
    (models.file_name()? == MODELS).then(|| models.parent())?
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

/// Steps of the complete models in a run's folder, in order; none if it has no folder of models.
///
/// # Errors
/// Fails if the folder of models cannot be read.
pub fn saved_steps(run: &Path) -> io::Result<Vec<u32>> {
    if !models(run).is_dir() {
        return Ok(Vec::new());
    }
    let mut steps = steps(run)?;
    steps.retain(|&step| model(run, step).join(SPEC).is_file());
    steps.sort_unstable();
    Ok(steps)
}

/// The file of a sample image: of the prompt at `index`, after `step` steps.
#[must_use]
pub fn sample(run: &Path, index: usize, step: u32) -> PathBuf {
    run.join(SAMPLES).join(format!("{index:02}-{}.png", step_name(step)))
}

/// The sample images in a run's folder: step, index of the prompt and file, in order of step and index.
///
/// # Errors
/// Fails if the folder of samples cannot be read.
pub fn samples(run: &Path) -> io::Result<Vec<(u32, usize, PathBuf)>> {
    let folder = run.join(SAMPLES);
    let mut samples = Vec::new();
    if folder.is_dir() {
        for entry in std::fs::read_dir(folder)? {
            let file = entry?.path();
            let name = file.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            let parts = name.strip_suffix(".png").and_then(|name| name.split_once('-'));
            let parsed = parts.and_then(|(index, step)| Some((step_in(step)?, index.parse().ok()?)));
            samples.extend(parsed.map(|(step, index)| (step, index, file)));
        }
    }
    samples.sort_unstable();
    Ok(samples)
}

#[cfg(test)]
mod tests {
    use super::{SPEC, model, model_key, run_of, sample, samples, saved_steps, step_of, steps};
    use domain::id::RunId;
    use std::path::Path;

    #[test]
    fn the_step_of_a_model_is_read_from_its_folder() {
        let run = tempfile::tempdir().expect("a folder");
        assert!(saved_steps(run.path()).expect("no models").is_empty());
        std::fs::create_dir_all(model(run.path(), 100)).expect("a folder");
        std::fs::create_dir_all(run.path().join("models/.step-1")).expect("a folder");
        assert_eq!(steps(run.path()).expect("steps"), [100]);
        assert!(saved_steps(run.path()).expect("no complete model").is_empty());
        std::fs::write(model(run.path(), 100).join(SPEC), "{}").expect("written");
        assert_eq!(saved_steps(run.path()).expect("steps"), [100]);
        let id: RunId = "01890a5d-ac96-774b-bcce-b302099a8057".parse().expect("an id");
        assert_eq!(model_key(id, 100), format!("runs/{id}/models/step-0000100"));
        assert_eq!(step_of(Path::new("models/step-x")), None);
        assert_eq!(run_of(&model(run.path(), 100)), Some(run.path()));
        assert_eq!(run_of(Path::new("elsewhere/step-0000100")), None);
    }

    #[test]
    fn samples_are_listed_by_step_and_prompt() {
        let run = tempfile::tempdir().expect("a folder");
        assert_eq!(samples(run.path()).expect("none"), []);
        std::fs::create_dir(run.path().join("samples")).expect("a folder");
        let at = |index, step| sample(run.path(), index, step);
        for file in [at(1, 2), at(0, 10), at(0, 2), run.path().join("samples/other.png")] {
            std::fs::write(file, "").expect("written");
        }
        let expected = [(2, 0, at(0, 2)), (2, 1, at(1, 2)), (10, 0, at(0, 10))];
        assert_eq!(samples(run.path()).expect("samples"), expected);
    }
}
