//! What a run leaves on disk: its state, from which it resumes bit for bit, and models, which generate.

use crate::optim::{LossScale, MovingAverage, Optimiser};
use anyhow::{Context, Result, ensure};
use candle_core::{DType, Device, Tensor};
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
pub struct State<'a> {
    /// The weights.
    pub variables: &'a Variables,
    /// The optimiser.
    pub optimiser: &'a mut Optimiser,
    /// The moving average, if the run has one.
    pub average: Option<&'a mut MovingAverage>,
    /// The loss scale, if the run's precision needs one.
    pub loss_scale: Option<LossScale>,
    /// Step and loss of the checkpoint with the lowest validation loss.
    pub best: Option<(u32, f64)>,
}

impl State<'_> {
    /// The weights to generate with, in f32: the moving average if there is one.
    ///
    /// # Errors
    /// Fails if the weights cannot be copied, for lack of memory for example.
    pub fn model_weights(&self) -> Result<BTreeMap<String, Tensor>> {
        match &self.average {
            Some(average) => Ok(average.values().clone()),
            None => Ok(weights::values(self.variables, DType::F32)?),
        }
    }

    /// Takes note of a checkpoint's validation loss; of equal ones the first is the best.
    pub fn note(&mut self, step: u32, loss: f64) {
        if loss.is_finite() && self.best.is_none_or(|(_, lowest)| loss < lowest) {
            self.best = Some((step, loss));
        }
    }
}

/// What the state belongs to. A part of the file, so that state and step can never disagree.
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

const STATE: &str = "state.safetensors";
const MANIFEST: &str = "manifest";

/// Saves the state after `step` steps. One file, replaced as a whole: whenever the process dies, the file is the
/// old state or the new one.
///
/// # Errors
/// It cannot be written.
pub fn save_state(folder: &Path, spec: &TrainSpec, step: u32, state: &State<'_>) -> Result<()> {
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
    save(&tensors, &folder.join(STATE))?;
    Ok(())
}

/// Takes up the saved state of the same spec, if there is one; returns the steps done.
///
/// # Errors
/// The state is damaged or belongs to another spec.
pub fn load_state(folder: &Path, spec: &TrainSpec, state: &mut State<'_>) -> Result<u32> {
    let file = folder.join(STATE);
    if !file.is_file() {
        return Ok(0);
    }
    let name = file.display();
    let tensors = candle_core::safetensors::load(&file, &Device::Cpu)
        .with_context(|| format!("{name} is damaged: remove it to begin anew"))?;
    let manifest: Manifest = serde_json::from_slice(
        &tensors.get(MANIFEST).with_context(|| format!("{name} has no manifest"))?.to_vec1::<u8>()?,
    )
    .with_context(|| format!("{name} has a damaged manifest"))?;
    ensure!(
        manifest.spec == *spec,
        "{name} belongs to another spec: give the run another folder, or remove the file to begin anew"
    );
    let part = |prefix: &str| -> BTreeMap<String, Tensor> {
        tensors.iter().filter_map(|(k, t)| Some((k.strip_prefix(prefix)?.to_owned(), t.clone()))).collect()
    };
    let values = part("weights.");
    for (name, variable) in state.variables {
        let value = values.get(name).with_context(|| format!("{} lacks weights.{name}", file.display()))?;
        variable.set(&value.to_device(variable.device())?)?;
    }
    state.optimiser.restore(&part("optimiser."))?;
    if let Some(average) = state.average.as_mut() {
        average.restore(part("average."), manifest.average_updates);
    }
    state.loss_scale = manifest.loss_scale;
    state.best = manifest.best;
    Ok(manifest.step)
}

/// A model on disk.
#[derive(Clone, Debug)]
pub struct SavedModel {
    /// Its folder: `unet/` or an adapter, to be read over its base.
    pub folder: PathBuf,
    /// SHA-256 of its weights, in hex.
    pub sha256: String,
    /// Steps that made it.
    pub step: u32,
}

/// Writes weights as a model: `unet/` in diffusers layout beside the spec that made it. The other parts are its
/// base's.
///
/// # Errors
/// It cannot be written.
pub fn save_model(
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
    write_atomically(&folder.join("spec.json"), &serde_json::to_vec_pretty(spec)?)?;
    Ok(SavedModel { folder: folder.to_owned(), sha256: sha256::of_file(&weights)?, step })
}

/// Writes an adapter as a model: the file that diffusers looks for, beside the spec that made it. All other parts are
/// its base's.
///
/// # Errors
/// It cannot be written.
pub fn save_adapter(folder: &Path, adapter: Adapter, spec: &TrainSpec, step: u32) -> Result<SavedModel> {
    let weights = folder.join(lora::WEIGHTS_FILE);
    lora::save(&BTreeMap::from([(Network::Unet, adapter)]), &weights)?;
    write_atomically(&folder.join("spec.json"), &serde_json::to_vec_pretty(spec)?)?;
    Ok(SavedModel { folder: folder.to_owned(), sha256: sha256::of_file(&weights)?, step })
}
