//! An evaluation in a folder: `images/MODEL/INDEX.png`, `report.json`, `scores.csv`, `report.html`.

use super::contestant::Contestant;
use super::store::EvaluationStore;
use crate::judges::Scores;
use anyhow::{Context, Result, bail};
use catalogue::images::png;
use diffusion::fingerprint::Fingerprint;
use domain::evaluate::{EvaluateSpec, ReportFile};
use domain::image::GenerationParams;
use files::write_atomically;
use image::RgbImage;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// The spec and the models that the folder belongs to: `evaluation.json`.
#[derive(Debug, Serialize, Deserialize)]
struct Manifest {
    spec: EvaluateSpec,
    models: Vec<DrawnModel>,
}

/// A model, and what decided its images.
#[derive(Debug, Serialize, Deserialize)]
struct DrawnModel {
    name: String,
    /// SHA-256 of everything that decides its images.
    fingerprint: String,
    /// The SHA-256 of each part, by name.
    parts: Fingerprint,
}

impl DrawnModel {
    fn of(contestant: &Contestant) -> Self {
        let (name, parts) = (contestant.name.clone(), contestant.fingerprint.clone());
        Self { name, fingerprint: parts.sha256(), parts }
    }
}

impl Manifest {
    /// What differs between two manifests; `None` if nothing does.
    fn difference(&self, now: &Self) -> Option<String> {
        let names = |of: &Self| of.models.iter().map(|model| model.name.clone()).collect::<Vec<_>>();
        if self.spec != now.spec || names(self) != names(now) {
            return Some("the spec differs".to_owned());
        }
        let changed = self.models.iter().zip(&now.models).filter_map(|(before, now)| {
            let parts = before.parts.differences(&now.parts);
            (!parts.is_empty()).then(|| format!("model {:?}: {} changed", before.name, parts.join(", ")))
        });
        let changed: Vec<String> = changed.collect();
        (!changed.is_empty()).then(|| changed.join("; "))
    }
}

/// The folder of one evaluation.
#[derive(Debug)]
pub struct FolderStore {
    folder: PathBuf,
    /// By model.
    records: Vec<Record>,
    /// Prompts with their categories.
    categories: Vec<(String, String)>,
}

/// How a model's images were drawn, and their scores.
#[derive(Clone, Debug, Default)]
pub struct Record {
    /// The parameters of each prompt's image; empty until its images are drawn.
    pub params: Vec<GenerationParams>,
    /// By metric, one score per prompt; empty until the images are scored.
    pub scores: Scores,
}

impl FolderStore {
    /// Opens the folder of an evaluation, new or to be resumed.
    ///
    /// # Errors
    /// Fails if the folder belongs to another spec or other weights, whose images would be mixed with these.
    pub fn open(folder: &Path, spec: &EvaluateSpec, contestants: &[Contestant]) -> Result<Self> {
        let models = contestants.iter().map(DrawnModel::of).collect();
        let manifest = Manifest { spec: spec.clone(), models };
        let file = folder.join("evaluation.json");
        if file.is_file() {
            let old = std::fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?;
            let difference = match serde_json::from_slice::<Manifest>(&old) {
                Ok(old) => old.difference(&manifest),
                Err(_) => {
                    Some("its evaluation.json is damaged, or of a version that recorded less".to_owned())
                }
            };
            if let Some(difference) = difference {
                bail!(
                    "{} belongs to another spec or other weights ({difference}): name another folder, or remove it to \
                     start again",
                    folder.display()
                );
            }
        } else {
            write_atomically(&file, &serde_json::to_vec_pretty(&manifest)?)?;
        }
        Ok(Self {
            folder: folder.to_owned(),
            records: vec![Record::default(); contestants.len()],
            categories: Vec::new(),
        })
    }

    /// Prompts with their categories, in no order.
    #[must_use]
    pub fn categories(&self) -> &[(String, String)] {
        &self.categories
    }

    /// What the evaluation told about each model, in the order of the spec.
    #[must_use]
    pub fn records(&self) -> &[Record] {
        &self.records
    }

    fn image(&self, model: usize, index: usize) -> PathBuf {
        self.folder.join(format!("images/{model:02}/{index:05}.png"))
    }
}

impl EvaluationStore for FolderStore {
    /// For a registration; the table of scores has them too.
    fn put_categories(&mut self, categories: &[(&str, &str)]) -> Result<()> {
        let owned = |(prompt, category): &(&str, &str)| ((*prompt).to_owned(), (*category).to_owned());
        self.categories = categories.iter().map(owned).collect();
        Ok(())
    }

    fn existing(&mut self, model: usize, params: &[GenerationParams]) -> Result<Vec<bool>> {
        params.clone_into(&mut self.records[model].params);
        Ok((0..params.len()).map(|index| self.image(model, index).is_file()).collect())
    }

    fn put_images(&mut self, model: usize, images: &[(usize, &GenerationParams, &RgbImage)]) -> Result<()> {
        for (index, _, image) in images {
            write_atomically(&self.image(model, *index), &png(image)?)?;
        }
        Ok(())
    }

    fn put_scores(&mut self, model: usize, scores: &Scores) -> Result<()> {
        self.records[model].scores.clone_from(scores);
        Ok(())
    }

    fn image_file(&self, model: usize, index: usize) -> Result<PathBuf> {
        Ok(self.image(model, index))
    }

    fn put_report(&mut self, file: ReportFile, bytes: Vec<u8>) -> Result<()> {
        Ok(write_atomically(&self.folder.join(file.name()), &bytes)?)
    }
}
