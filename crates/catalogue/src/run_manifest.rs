//! `run.json` in the folder of a terminal's run: the id and spec by which any database knows it.

use crate::local_models::read_spec;
use crate::run_folder;
use anyhow::{Context, Result};
use domain::Timestamp;
use domain::id::RunId;
use domain::train::TrainSpec;
use files::write_atomically;
use process::ambient;
use serde::{Deserialize, Serialize};
use std::fs;
use std::path::{Path, PathBuf};

/// The content of `run.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunManifest {
    /// Id of the run. It is made with the run, so that every database and every copy of the folder has the same.
    pub id: RunId,
    /// When the run first started.
    pub begun: Timestamp,
    /// The spec as it was written: `base` may be a path.
    pub spec: TrainSpec,
}

impl RunManifest {
    /// Reads the manifest of a run's folder, if it has one.
    ///
    /// # Errors
    /// Fails if the file cannot be read or is damaged.
    pub fn read(run: &Path) -> Result<Option<Self>> {
        let file = path(run);
        if !file.is_file() {
            return Ok(None);
        }
        let bytes = fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?;
        let manifest = serde_json::from_slice(&bytes);
        Ok(Some(
            manifest.with_context(|| {
                format!("{} is damaged: remove it to give the run a new id", file.display())
            })?,
        ))
    }

    /// Writes the manifest into a run's folder.
    ///
    /// # Errors
    /// Fails if the file cannot be written.
    pub fn write(&self, run: &Path) -> Result<()> {
        Ok(write_atomically(&path(run), &serde_json::to_vec_pretty(self)?)?)
    }

    /// The manifest of a run that goes on after `step` with this spec. A run that goes on after some steps is the same run,
    /// whatever it may change of its spec. At step 0 another spec in the same folder is another run.
    ///
    /// # Errors
    /// Fails if the file is damaged or cannot be written.
    pub fn begin(run: &Path, spec: &TrainSpec, step: u32) -> Result<Self> {
        match Self::read(run)? {
            Some(manifest) if manifest.spec == *spec => Ok(manifest),
            Some(manifest) if step > 0 => Self { spec: spec.clone(), ..manifest }.written(run),
            _ => Self::create(run, spec.clone(), ambient::now()),
        }
    }

    /// The manifest of a run's folder. A folder that an earlier version wrote gets one, with the spec of its last model.
    ///
    /// # Errors
    /// Fails if the folder has neither a manifest nor a model, or if a file is damaged or cannot be written.
    pub fn of(run: &Path) -> Result<Self> {
        if let Some(manifest) = Self::read(run)? {
            return Ok(manifest);
        }
        let last = run_folder::saved_steps(run)
            .with_context(|| format!("cannot read {}", run_folder::models(run).display()))?
            .pop();
        let spec = last.map(|step| read_spec(&run_folder::model(run, step))).transpose()?.flatten();
        let spec = spec.with_context(|| {
            format!("{} is not a run with a known spec: it has neither run.json nor a model", run.display())
        })?;
        let begun = modified(run).unwrap_or_else(ambient::now);
        // The folder of a worker's run is called by the run's id.
        let name = run.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        match name.parse() {
            Ok(id) => Self { id, begun, spec }.written(run),
            Err(_) => Self::create(run, spec, begun),
        }
    }

    fn create(run: &Path, spec: TrainSpec, begun: Timestamp) -> Result<Self> {
        Self { id: RunId::new(begun, ambient::entropy()), begun, spec }.written(run)
    }

    fn written(self, run: &Path) -> Result<Self> {
        self.write(run)?;
        Ok(self)
    }
}

/// When a file or folder was last changed, if the file system tells.
pub(crate) fn modified(path: &Path) -> Option<Timestamp> {
    Some(fs::metadata(path).ok()?.modified().ok()?.into())
}

fn path(run: &Path) -> PathBuf {
    run.join(run_folder::MANIFEST)
}

#[cfg(test)]
mod tests {
    use super::RunManifest;
    use domain::train::TrainSpec;

    fn spec(steps: u32) -> TrainSpec {
        let spec = serde_json::json!({
            "name": "n", "base": "shapes", "steps": steps, "batch_size": 1, "objective": { "kind": "sft" },
            "data": { "source": "shapes", "set": "winter", "count": 1 }, "learning_rate": { "rate": 1e-4 },
        });
        serde_json::from_value(spec).expect("a spec")
    }

    #[test]
    fn a_run_keeps_its_id_and_another_spec_is_another_run() {
        let run = tempfile::tempdir().expect("a folder");
        let missing = RunManifest::of(run.path()).expect_err("no spec");
        assert!(missing.to_string().contains("run.json"), "{missing}");
        let first = RunManifest::begin(run.path(), &spec(1), 0).expect("written");
        assert_eq!(RunManifest::begin(run.path(), &spec(1), 0).expect("resumed"), first);
        assert_eq!(RunManifest::of(run.path()).expect("read"), first);
        let prolonged = RunManifest::begin(run.path(), &spec(3), 1).expect("written");
        assert_eq!((prolonged.id, prolonged.spec.steps), (first.id, 3));
        assert_eq!(RunManifest::of(run.path()).expect("read"), prolonged);
        assert_ne!(RunManifest::begin(run.path(), &spec(2), 0).expect("written").id, first.id);
        std::fs::write(run.path().join("run.json"), "{").expect("written");
        let damaged = RunManifest::of(run.path()).expect_err("damaged");
        assert!(damaged.to_string().contains("remove it"), "{damaged}");
    }
}
