//! Models by name where no database is asked: folders of the models folder, paths, and what runs of `train` made.

use anyhow::{Context, Result, bail};
use clap::Args;
use diffusion::layout::Origin;
use diffusion::model_folders::ModelFolders as Folders;
use domain::train::TrainSpec;
use std::fs;
use std::path::{Path, PathBuf};

/// Folder of runs, each under its name, unless `train --out` says otherwise.
pub const RUNS: &str = "data/runs";

/// Where models lie.
#[derive(Args, Clone, Debug)]
pub struct ModelFolders {
    /// Folder of models by name. A model may also be a path, or a run of `train` in data/runs.
    #[arg(long, default_value = "models")]
    pub models: PathBuf,
    /// Folder with the parts that a model's own lacks; the one that it names itself when absent.
    #[arg(long)]
    pub base_parts: Option<PathBuf>,
}

impl ModelFolders {
    /// The folder or file of a name. A run's is the folder of its last model.
    ///
    /// # Errors
    /// Nothing has that name, or the run has not made its last model yet.
    pub fn named(&self, name: &str) -> Result<PathBuf> {
        let places = [self.models.join(name), PathBuf::from(name), Path::new(RUNS).join(name)];
        let place = places.into_iter().find(|place| place.exists()).with_context(|| {
            format!("{name:?} is neither in {} nor a path nor a run in {RUNS}", self.models.display())
        })?;
        let made = place.join("models");
        if made.is_dir() { last_model(&made) } else { Ok(place) }
    }

    /// The model of a name, with what it descends from.
    ///
    /// # Errors
    /// As for [`ModelFolders::named`], or a file that says what it descends from is damaged.
    pub fn model(&self, name: &str) -> Result<Folders> {
        let folder = self.named(name)?;
        Ok(Folders::with_bases(&folder, self.bases(&folder)?))
    }

    /// The folders with the parts that a folder lacks, nearest first: that of its base, of its base's base, and so on.
    ///
    /// # Errors
    /// A file that says so is damaged.
    pub fn bases(&self, folder: &Path) -> Result<Vec<PathBuf>> {
        let mut bases = Vec::new();
        let mut next = match &self.base_parts {
            Some(base) => Some(base.clone()),
            None => self.base_of(folder)?,
        };
        // A folder may have the name of its own base.
        while let Some(base) = next.filter(|base| !bases.contains(base)) {
            next = self.base_of(&base)?;
            bases.push(base);
        }
        Ok(bases)
    }

    /// The folder of the base that a folder names: as an import, or as what `train` wrote, by name or path.
    fn base_of(&self, folder: &Path) -> Result<Option<PathBuf>> {
        if let Some(base) = Origin::base_of(folder)? {
            return Ok(Some(base));
        }
        let spec = read_spec(folder)?;
        Ok(spec.and_then(|spec| self.named(&spec.base).ok()).filter(|base| base.is_dir()))
    }
}

/// What a model was trained by, where that is written beside it.
///
/// # Errors
/// It is damaged.
pub fn read_spec(folder: &Path) -> Result<Option<TrainSpec>> {
    let file = folder.join("spec.json");
    if !file.is_file() {
        return Ok(None);
    }
    let bytes = fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?;
    serde_json::from_slice(&bytes).map(Some).with_context(|| format!("{} is no spec", file.display()))
}

/// The model that a run ended with. Never an earlier one: what starts from it would start elsewhere when it goes on.
fn last_model(models: &Path) -> Result<PathBuf> {
    let entries = fs::read_dir(models).with_context(|| format!("cannot read {}", models.display()))?;
    let newest = entries.flatten().map(|entry| entry.path()).filter(|path| path.is_dir()).max();
    let newest = newest.with_context(|| format!("{} holds no model yet", models.display()))?;
    let steps = read_spec(&newest)?.map(|spec| spec.steps);
    let step = newest.file_name().and_then(|name| name.to_str()?.strip_prefix("step-")?.parse().ok());
    if steps.is_some() && step != steps {
        bail!("the run is not finished: let it end, or name one of its models, as {}", newest.display());
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
