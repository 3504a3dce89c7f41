//! Models on disk, found by name without a database: sub-folders of the models folder, paths, and runs of `train`.

use crate::run_folder;
use anyhow::{Context, Result, bail};
use clap::Args;
use diffusion::layout::Origin;
use diffusion::part_folders::PartFolders;
use domain::train::TrainSpec;
use std::fs;
use std::path::{Path, PathBuf};

/// The folder in which `train` puts each run under its name by default.
pub const RUNS: &str = "data/runs";

/// Longest chain of bases that are registered or copied with a model. A longer one is a cycle.
pub(crate) const MAX_BASES: usize = 32;

/// Where commands find models by name.
#[derive(Args, Clone, Debug)]
pub struct LocalModels {
    /// Folder of models, each in a sub-folder of its name. A model can also be given as a path, or as the name of a
    /// run in data/runs.
    #[arg(long, env = "MODELS", default_value = "models")]
    pub models: PathBuf,
    /// Folder with the parts that a model's own folder lacks; default: the base that the model names.
    #[arg(long)]
    pub base_parts: Option<PathBuf>,
}

impl LocalModels {
    /// The folder or file of a name; for a run, the run's folder.
    ///
    /// # Errors
    /// Fails if nothing has that name.
    pub fn place(&self, name: &str) -> Result<PathBuf> {
        let candidates = [self.models.join(name), PathBuf::from(name), Path::new(RUNS).join(name)];
        candidates.into_iter().find(|path| path.exists()).with_context(|| {
            format!(
                "no model {name:?}: it is neither in {}, nor a path, nor a run in {RUNS}",
                self.models.display()
            )
        })
    }

    /// The folder or file of a name; for a run, the folder of its last model.
    ///
    /// # Errors
    /// Fails if nothing has that name, or if it is a run that is not finished.
    pub fn named(&self, name: &str) -> Result<PathBuf> {
        let found = self.place(name)?;
        if run_folder::models(&found).is_dir() { last_model(&found) } else { Ok(found) }
    }

    /// The folders of a model and of its ancestors.
    ///
    /// # Errors
    /// As for [`LocalModels::named`], or if a file that names a base is damaged.
    pub fn model(&self, name: &str) -> Result<PartFolders> {
        let folder = self.named(name)?;
        Ok(PartFolders::with_bases(&folder, self.bases(&folder)?))
    }

    /// The folders of a model's ancestors, nearest first.
    ///
    /// # Errors
    /// Fails if a file that names a base is damaged.
    pub fn bases(&self, folder: &Path) -> Result<Vec<PathBuf>> {
        let mut bases = Vec::new();
        let mut next = match &self.base_parts {
            Some(base) => Some(base.clone()),
            None => self.base_of(folder)?,
        };
        // A folder may name itself as its base.
        while let Some(base) = next.filter(|base| !bases.contains(base)) {
            next = self.base_of(&base)?;
            bases.push(base);
        }
        Ok(bases)
    }

    /// The base that a folder names: in `origin.json` if the model was imported, in `spec.json` if it was trained.
    fn base_of(&self, folder: &Path) -> Result<Option<PathBuf>> {
        if let Some(base) = Origin::base_of(folder)? {
            return Ok(Some(base));
        }
        let spec = read_spec(folder)?;
        Ok(spec.and_then(|spec| self.named(&spec.base).ok()).filter(|base| base.is_dir()))
    }
}

/// The spec that a model was trained with; `None` if it was not trained here.
///
/// # Errors
/// Fails if `spec.json` is damaged.
pub fn read_spec(folder: &Path) -> Result<Option<TrainSpec>> {
    let file = folder.join(run_folder::SPEC);
    if !file.is_file() {
        return Ok(None);
    }
    let bytes = fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?;
    serde_json::from_slice(&bytes)
        .map(Some)
        .with_context(|| format!("{} is not a train spec", file.display()))
}

/// The last model of a finished run. An unfinished run is refused: its last model changes when the run resumes.
fn last_model(run: &Path) -> Result<PathBuf> {
    let models = run_folder::models(run);
    let steps = run_folder::steps(run).with_context(|| format!("cannot read {}", models.display()))?;
    let last = steps.into_iter().max().with_context(|| format!("{} has no model yet", models.display()))?;
    let newest = run_folder::model(run, last);
    if read_spec(&newest)?.is_some_and(|spec| spec.steps != last) {
        bail!(
            "{}: the run is not finished; finish it, or name one of its models, for example {}",
            run.display(),
            newest.display()
        );
    }
    Ok(newest)
}

#[cfg(test)]
mod tests {
    use super::LocalModels;
    use std::fs;
    use std::path::Path;

    /// A model's folder whose spec names a base.
    fn trained_from(folder: &Path, base: &Path) {
        fs::create_dir_all(folder).expect("a folder");
        let spec = serde_json::json!({
            "name": "n", "base": base, "steps": 1, "batch_size": 1, "objective": { "kind": "sft" },
            "data": { "source": "shapes", "set": "winter", "count": 1, "seed": 0 }, "learning_rate": { "rate": 1e-4 },
        });
        fs::write(folder.join("spec.json"), spec.to_string()).expect("a spec");
    }

    #[test]
    fn a_cycle_of_bases_ends() {
        let scratch = tempfile::tempdir().expect("a folder");
        let [own, first, second] = ["own", "first", "second"].map(|name| scratch.path().join(name));
        trained_from(&own, &own);
        trained_from(&first, &second);
        trained_from(&second, &first);
        let models = LocalModels { models: scratch.path().join("models"), base_parts: None };
        assert_eq!(models.bases(&own).expect("bases"), [own]);
        assert_eq!(models.bases(&first).expect("bases"), [second, first]);
    }
}
