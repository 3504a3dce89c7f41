//! Models by name without a database: sub-folders of the models folder, paths, and runs of `train`.

use crate::run_folder;
use anyhow::{Context, Result, bail};
use clap::Args;
use diffusion::layout::Origin;
use diffusion::part_folders::PartFolders;
use domain::train::TrainSpec;
use std::fs;
use std::path::{Path, PathBuf};

/// The folder of runs, each under its name, unless `train --out` names another.
pub const RUNS: &str = "data/runs";

/// The folders in which commands look models up.
#[derive(Args, Clone, Debug)]
pub struct ModelFolders {
    /// Folder of models by name. A model may also be a path, or a run of `train` in data/runs.
    #[arg(long, default_value = "models")]
    pub models: PathBuf,
    /// Folder of the parts that a model's own folder lacks; the base that the model names when absent.
    #[arg(long)]
    pub base_parts: Option<PathBuf>,
}

impl ModelFolders {
    /// The folder or file of a name: for a run, the folder of its last model.
    ///
    /// # Errors
    /// Fails if nothing has that name, or the run is not finished.
    pub fn named(&self, name: &str) -> Result<PathBuf> {
        let places = [self.models.join(name), PathBuf::from(name), Path::new(RUNS).join(name)];
        let place = places.into_iter().find(|place| place.exists()).with_context(|| {
            format!("{name:?} is neither in {} nor a path nor a run in {RUNS}", self.models.display())
        })?;
        if run_folder::models(&place).is_dir() { last_model(&place) } else { Ok(place) }
    }

    /// The folders of a model and its ancestors.
    ///
    /// # Errors
    /// As for [`ModelFolders::named`], or if a file that names a base is damaged.
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

    /// The folder of the base that a folder names: in `origin.json` if it was imported, in `spec.json` if it was trained.
    fn base_of(&self, folder: &Path) -> Result<Option<PathBuf>> {
        if let Some(base) = Origin::base_of(folder)? {
            return Ok(Some(base));
        }
        let spec = read_spec(folder)?;
        Ok(spec.and_then(|spec| self.named(&spec.base).ok()).filter(|base| base.is_dir()))
    }
}

/// The spec that a model was trained by; `None` if it was not trained here.
///
/// # Errors
/// Fails if `spec.json` is damaged.
pub fn read_spec(folder: &Path) -> Result<Option<TrainSpec>> {
    let file = folder.join("spec.json");
    if !file.is_file() {
        return Ok(None);
    }
    let bytes = fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?;
    serde_json::from_slice(&bytes).map(Some).with_context(|| format!("{} is no spec", file.display()))
}

/// The model that a run ended with. An earlier one is refused: what starts from it would start elsewhere once the run
/// resumes.
fn last_model(run: &Path) -> Result<PathBuf> {
    let models = run_folder::models(run);
    let steps = run_folder::steps(run).with_context(|| format!("cannot read {}", models.display()))?;
    let last = steps.into_iter().max().with_context(|| format!("{} holds no model yet", models.display()))?;
    let newest = run_folder::model(run, last);
    if read_spec(&newest)?.is_some_and(|spec| spec.steps != last) {
        bail!(
            "the run is not finished: let it finish, or name one of its models, for example {}",
            newest.display()
        );
    }
    Ok(newest)
}

#[cfg(test)]
mod tests {
    use super::ModelFolders;
    use std::fs;
    use std::path::Path;

    /// A folder as `train` leaves it, made from the base of this name.
    fn made_from(folder: &Path, base: &Path) {
        fs::create_dir_all(folder).expect("a folder");
        let spec = serde_json::json!({
            "name": "n", "base": base, "steps": 1, "batch_size": 1, "objective": { "kind": "sft" },
            "data": { "source": "shapes", "set": "winter", "count": 1, "seed": 0 }, "learning_rate": { "rate": 1e-4 },
        });
        fs::write(folder.join("spec.json"), spec.to_string()).expect("a spec");
    }

    #[test]
    fn bases_end_where_they_lead_back() {
        let scratch = tempfile::tempdir().expect("a folder");
        let [own, first, second] = ["own", "first", "second"].map(|name| scratch.path().join(name));
        made_from(&own, &own);
        made_from(&first, &second);
        made_from(&second, &first);
        let folders = ModelFolders { models: scratch.path().join("models"), base_parts: None };
        assert_eq!(folders.bases(&own).expect("a line"), [own]);
        assert_eq!(folders.bases(&first).expect("a line"), [second, first]);
    }
}
