//! Checkpoints in one file, under the names that the first implementations of Stable Diffusion gave their tensors
//! (`model.diffusion_model.`, `first_stage_model.`, `cond_stage_model.` or `conditioner.`), turned into a folder in
//! diffusers layout. No number is computed: every tensor of the folder is a tensor of the file, some of its rows, or
//! its transpose.
//!
//! What such a file does not say (heads, scaling factors, noise schedule) are the published models' constants, in
//! `published`; what it does say (widths, depths) is read from names and shapes, in `unet` and `vae`.

mod plan;
mod published;
mod text;
mod unet;
mod vae;

pub use plan::{Part, Plan, Renamed, View, plan};

use crate::config::Prediction;
use crate::torch_file::{StoredTensor, WeightsFile};
use crate::weights::write_atomically;
use crate::{Error, Result};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Or what is wrong with the file, as the rest of a sentence that begins with its name.
type Checked<T> = std::result::Result<T, String>;

/// The place in a pickle where training frameworks keep the weights.
const USUAL_ROOT: &str = "state_dict";

/// Which published model a file is shaped like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// Stable Diffusion 1.x: one CLIP text tower under transformers' names.
    StableDiffusion1,
    /// Stable Diffusion 2.x: one OpenCLIP text tower.
    StableDiffusion2,
    /// SDXL: both.
    StableDiffusionXl,
}

/// What a single file cannot say by itself.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// What the UNet predicts. Must be given for Stable Diffusion 2, whose files of both kinds look alike; else the
    /// noise.
    pub prediction: Option<Prediction>,
    /// Take the moving average of the UNet's weights, where the file has it beside the weights themselves.
    pub average: bool,
    /// The UNet alone, whatever else the file has.
    pub unet_only: bool,
}

/// An open checkpoint.
#[derive(Debug)]
pub struct SingleFile {
    path: PathBuf,
    file: WeightsFile,
    tensors: BTreeMap<String, StoredTensor>,
    plan: Plan,
}

impl SingleFile {
    /// Opens a file of safetensors or torch and finds out what it is.
    ///
    /// # Errors
    /// It cannot be read, is of no known family, or lacks tensors or has ones too many: the message names them.
    pub fn open(path: &Path, options: Options) -> Result<Self> {
        let bad = |problem: String| Error::format(path, problem);
        let file = WeightsFile::open(path)?;
        let root = file.roots().iter().any(|root| root == USUAL_ROOT).then_some(USUAL_ROOT);
        let listing = file.list(root)?;
        let tensors: BTreeMap<String, StoredTensor> = listing.tensors.into_iter().collect();
        let shapes = tensors.iter().map(|(name, tensor)| (name.clone(), tensor.shape().to_vec())).collect();
        let plan = plan(&shapes, options).map_err(|problem| {
            // A tensor that is there and cannot be read seems to be missing.
            let unreadable = listing.unreadable.first();
            let hint = unreadable.map_or(String::new(), |(name, why)| format!(" (tensor {name:?} {why})"));
            bad(problem + &hint)
        })?;
        Ok(Self { path: path.to_owned(), file, tensors, plan })
    }

    /// What it is and what becomes of it.
    #[must_use]
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Writes the folder in diffusers layout, but for the tokenizers' vocabulary, which a single file does not have.
    /// `report` hears of each part before it is written.
    ///
    /// # Errors
    /// It cannot be read or written.
    pub fn write(&self, folder: &Path, report: &mut dyn FnMut(&Part)) -> Result<()> {
        for part in &self.plan.parts {
            report(part);
            let place = folder.join(part.name);
            let mut tensors = vec![];
            for renamed in &part.tensors {
                let old = self.tensors.get(&renamed.old);
                let view = old.and_then(|old| renamed.view.of(old)).ok_or_else(|| {
                    Error::tensor(self.path.display().to_string(), renamed.old.clone(), "is gone".to_owned())
                })?;
                tensors.push((renamed.new.clone(), view));
            }
            self.file.save(&tensors, &place.join(part.weights_file()))?;
            write_json(&place.join("config.json"), &part.config)?;
        }
        for (name, config) in &self.plan.configs {
            write_json(&folder.join(name), config)?;
        }
        Ok(())
    }
}

fn write_json(file: &Path, value: &Value) -> Result<()> {
    let mut text = serde_json::to_string_pretty(value).map_err(|e| Error::format(file, e))?;
    text.push('\n');
    write_atomically(file, text.as_bytes())
}
