//! The files of a run: its state, from which it resumes bit for bit, and the models that it saves.

use crate::optim::{LossScale, MovingAverage, Optimiser};
use anyhow::{Context, Result, ensure};
use candle_core::{DType, Device, Tensor};
use catalogue::run_folder;
use diffusion::lora::{self, Adapter, Network};
use diffusion::unet::WEIGHTS_FILE;
use diffusion::weights::{self, Variables, save};
use domain::train::TrainSpec;
use files::{sha256, write_atomically};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Everything that a step changes.
#[derive(Debug)]
pub(crate) struct State<'a> {
    /// The master weights, in f32.
    pub(crate) variables: &'a Variables,
    pub(crate) optimiser: &'a mut Optimiser,
    /// `None` if the spec has no `ema_decay`.
    pub(crate) average: Option<&'a mut MovingAverage>,
    /// `None` unless the precision is f16.
    pub(crate) loss_scale: Option<LossScale>,
    /// Step and loss of the checkpoint with the lowest validation loss.
    pub(crate) best: Option<(u32, f64)>,
}

impl State<'_> {
    /// The weights to generate with, in f32: the moving average if there is one.
    ///
    /// # Errors
    /// Fails if the weights cannot be copied, for lack of memory for example.
    pub(crate) fn model_weights(&self) -> Result<BTreeMap<String, Tensor>> {
        match &self.average {
            Some(average) => Ok(average.values().clone()),
            None => Ok(weights::values(self.variables, DType::F32)?),
        }
    }

    /// Records the validation loss of the checkpoint of `step`. The first of equal losses stays the best.
    pub(crate) fn record_validation(&mut self, step: u32, loss: f64) {
        if loss.is_finite() && self.best.is_none_or(|(_, lowest)| loss < lowest) {
            self.best = Some((step, loss));
        }
    }
}

/// The run and step that a state belongs to. It is stored in the state's file, so the two cannot disagree.
#[derive(Debug, Serialize, Deserialize)]
struct Manifest {
    spec: TrainSpec,
    step: u32,
    average_updates: u64,
    #[serde(default)]
    loss_scale: Option<LossScale>,
    #[serde(default)]
    best: Option<(u32, f64)>,
}

/// The tensor that holds the manifest, as JSON in bytes.
const MANIFEST: &str = "manifest";

/// Saves the state after `step` steps as one file, replaced atomically: after a crash it holds the old state or the
/// new.
///
/// # Errors
/// Fails if the file cannot be written.
pub(crate) fn save_state(folder: &Path, spec: &TrainSpec, step: u32, state: &State<'_>) -> Result<()> {
    let mut tensors = BTreeMap::new();
    let mut add = |prefix: &str, values: BTreeMap<String, Tensor>| {
        tensors.extend(values.into_iter().map(|(name, t)| (format!("{prefix}{name}"), t)));
    };
    add("weights.", weights::values(state.variables, DType::F32)?);
    add("optimiser.", state.optimiser.state()?);
    if let Some(average) = &state.average {
        add("average.", average.values().clone());
    }
    let average_updates = state.average.as_ref().map_or(0, |a| a.updates());
    let State { loss_scale, best, .. } = *state;
    let manifest = Manifest { spec: spec.clone(), step, average_updates, loss_scale, best };
    let manifest = serde_json::to_vec(&manifest)?;
    let length = manifest.len();
    tensors.insert(MANIFEST.to_owned(), Tensor::from_vec(manifest, length, &Device::Cpu)?);
    save(&tensors, &folder.join(run_folder::STATE))?;
    Ok(())
}

/// Restores the saved state, if there is one. Returns the number of steps done.
///
/// # Errors
/// Fails if the file is damaged or belongs to another spec.
pub(crate) fn load_state(folder: &Path, spec: &TrainSpec, state: &mut State<'_>) -> Result<u32> {
    let file = folder.join(run_folder::STATE);
    if !file.is_file() {
        return Ok(0);
    }
    let name = file.display();
    let tensors = candle_core::safetensors::load(&file, &Device::Cpu)
        .with_context(|| format!("{name} is damaged: remove it to restart the run from step 0"))?;
    let manifest: Manifest = serde_json::from_slice(
        &tensors
            .get(MANIFEST)
            .with_context(|| format!("{name} has no tensor {MANIFEST:?}"))?
            .to_vec1::<u8>()?,
    )
    .with_context(|| format!("{name}: the manifest is not valid"))?;
    ensure!(
        manifest.spec == *spec,
        "{name} belongs to another spec: use another folder for this run, or remove the file to restart from step 0"
    );
    let with_prefix = |prefix: &str| -> BTreeMap<String, Tensor> {
        tensors.iter().filter_map(|(k, t)| Some((k.strip_prefix(prefix)?.to_owned(), t.clone()))).collect()
    };
    let values = with_prefix("weights.");
    for (name, variable) in state.variables {
        let value =
            values.get(name).with_context(|| format!("{} has no tensor weights.{name}", file.display()))?;
        variable.set(&value.to_device(variable.device())?)?;
    }
    state.optimiser.restore(&with_prefix("optimiser."))?;
    if let Some(average) = state.average.as_mut() {
        average.restore(with_prefix("average."), manifest.average_updates);
    }
    state.loss_scale = manifest.loss_scale;
    state.best = manifest.best;
    Ok(manifest.step)
}

/// A model that a run saved.
#[derive(Clone, Debug)]
pub struct SavedModel {
    /// The folder with `unet/` or an adapter; all other parts are those of its base.
    pub folder: PathBuf,
    /// SHA-256 of the weights file, in hexadecimal.
    pub sha256: String,
    /// Steps done when it was saved.
    pub step: u32,
}

/// Writes weights as a model: `unet/` in diffusers layout, and `spec.json`.
///
/// # Errors
/// Fails if a file cannot be written, or if the config cannot be read.
pub(crate) fn save_model(
    folder: &Path,
    unet_config: &Path,
    values: &BTreeMap<String, Tensor>,
    spec: &TrainSpec,
    step: u32,
) -> Result<SavedModel> {
    let unet = folder.join("unet");
    let weights = unet.join(WEIGHTS_FILE);
    save(values, &weights)?;
    let config =
        std::fs::read(unet_config).with_context(|| format!("cannot read {}", unet_config.display()))?;
    write_atomically(&unet.join("config.json"), &config)?;
    write_atomically(&folder.join(run_folder::SPEC), &serde_json::to_vec_pretty(spec)?)?;
    Ok(SavedModel { folder: folder.to_owned(), sha256: sha256::of_file(&weights)?, step })
}

/// Writes an adapter as a model: the weights under the name that diffusers looks for, and `spec.json`.
///
/// # Errors
/// Fails if a file cannot be written.
pub(crate) fn save_adapter(
    folder: &Path,
    adapter: Adapter,
    spec: &TrainSpec,
    step: u32,
) -> Result<SavedModel> {
    let weights = folder.join(lora::WEIGHTS_FILE);
    lora::save(&BTreeMap::from([(Network::Unet, adapter)]), &weights)?;
    write_atomically(&folder.join(run_folder::SPEC), &serde_json::to_vec_pretty(spec)?)?;
    Ok(SavedModel { folder: folder.to_owned(), sha256: sha256::of_file(&weights)?, step })
}
