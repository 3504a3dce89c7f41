//! The files of a run: its state, from which it resumes bit for bit, and the models that it saves.

use crate::optim::{LossScale, MovingAverage, Optimiser};
use crate::origins::Origins;
use anyhow::{Context, Result, bail, ensure};
use candle_core::{DType, Device, Tensor};
use catalogue::run_folder;
use catalogue::spec_changes::{SpecChange, changes};
use diffusion::lora::{self, Adapter, Network};
use diffusion::unet::WEIGHTS_FILE;
use diffusion::weights::{self, Variables, save};
use domain::data::{DataSpec, PickAPicSpec};
use domain::train::TrainSpec;
use files::{sha256, write_atomically};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
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

    /// Whether all values of the moving average, if there is one, are finite.
    ///
    /// # Errors
    /// Fails if a tensor operation does.
    pub(crate) fn has_finite_average(&self) -> Result<bool> {
        for value in self.average.iter().flat_map(|average| average.values().values()) {
            // 0 times a value that is not finite is NaN.
            if value.affine(0.0, 0.0)?.sum_all()?.to_dtype(DType::F32)?.to_scalar::<f32>()?.is_nan() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Records the validation loss of the checkpoint of `step`. The first of equal losses stays the best.
    pub(crate) fn record_validation(&mut self, step: u32, loss: f64) {
        if loss.is_finite() && self.best.is_none_or(|(_, lowest)| loss < lowest) {
            self.best = Some((step, loss));
        }
    }
}

/// The run that a state belongs to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RunIdentity<'a> {
    pub(crate) spec: &'a TrainSpec,
    pub(crate) origins: &'a Origins,
}

/// The run and step that a state belongs to. It is stored in the state's file, so the two cannot disagree.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Manifest {
    /// The spec that the run had last.
    pub(crate) spec: TrainSpec,
    /// `None` in the state of an earlier version.
    #[serde(default)]
    origins: Option<Origins>,
    /// Steps done.
    pub(crate) step: u32,
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
pub(crate) fn save_state(folder: &Path, run: RunIdentity<'_>, step: u32, state: &State<'_>) -> Result<()> {
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
    let (spec, origins) = (run.spec.clone(), Some(run.origins.clone()));
    let manifest = Manifest { spec, origins, step, average_updates, loss_scale, best };
    let manifest = serde_json::to_vec(&manifest)?;
    let length = manifest.len();
    tensors.insert(MANIFEST.to_owned(), Tensor::from_vec(manifest, length, &Device::Cpu)?);
    save(&tensors, &folder.join(run_folder::STATE))?;
    Ok(())
}

/// The manifest of the saved state, if there is one. Reads no other tensor.
///
/// # Errors
/// Fails if the file is damaged.
pub(crate) fn saved(folder: &Path) -> Result<Option<Manifest>> {
    let file = folder.join(run_folder::STATE);
    if !file.is_file() {
        return Ok(None);
    }
    let bytes = manifest_bytes(&file).with_context(|| {
        format!("{} is damaged: remove it to restart the run from step 0", file.display())
    })?;
    let manifest = serde_json::from_slice(&bytes);
    Ok(Some(manifest.with_context(|| format!("{}: the manifest is not valid", file.display()))?))
}

fn manifest_bytes(file: &Path) -> Result<Vec<u8>> {
    let mut open = File::open(file)?;
    let mut length = [0; 8];
    open.read_exact(&mut length)?;
    let length = u64::from_le_bytes(length);
    let header: Value = serde_json::from_slice(&part_of(&mut open, length)?)?;
    let offset = |index: usize| header[MANIFEST]["data_offsets"][index].as_u64();
    let (from, to) = offset(0).zip(offset(1)).with_context(|| format!("it has no tensor {MANIFEST:?}"))?;
    open.seek(SeekFrom::Start(length.saturating_add(8).saturating_add(from)))?;
    part_of(&mut open, to.saturating_sub(from))
}

/// The next bytes of a file.
fn part_of(file: &mut File, length: u64) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(length).read_to_end(&mut bytes)?;
    ensure!(bytes.len() as u64 == length, "it ends too early");
    Ok(bytes)
}

/// Checks that a run may go on from the saved state, if there is one, and returns the state's manifest. A run may change
/// what decides no update, and its learning rate if `new_rate` says so; its models and its set must be those of the
/// state, wherever they lie.
///
/// # Errors
/// Fails if the file is damaged or belongs to another run; names what differs.
pub(crate) fn check_resumable(
    folder: &Path,
    run: RunIdentity<'_>,
    new_rate: bool,
) -> Result<Option<Manifest>> {
    let Some(manifest) = saved(folder)? else { return Ok(None) };
    let file = folder.join(run_folder::STATE);
    // A run goes on with the files that it once downloaded, whatever folder of the repository the spec names now.
    let is_fetched = matches!(&run.spec.data, DataSpec::PickAPic(PickAPicSpec { hub: Some(_), .. }));
    let is_moved = |change: &SpecChange| {
        change.is_place() && manifest.origins.is_some() && !(is_fetched && change.field == "data.folder")
    };
    let mut differing = changes(&manifest.spec, run.spec)?;
    differing
        .retain(|change| !(change.is_free() || is_moved(change) || (new_rate && change.is_learning_rate())));
    if !differing.is_empty() {
        let fields: Vec<String> = differing.iter().map(ToString::to_string).collect();
        let is_rate = differing.iter().all(SpecChange::is_learning_rate);
        let hint =
            if is_rate { " To go on with another learning rate, use --new-learning-rate." } else { "" };
        bail!(
            "{} belongs to another spec: {}. Restore these fields, use another folder for a new run, or remove the file to \
             restart from step 0.{hint}",
            file.display(),
            fields.join("; ")
        );
    }
    let differing =
        manifest.origins.as_ref().map(|before| before.differences(run.origins)).unwrap_or_default();
    ensure!(
        differing.is_empty(),
        "{} belongs to a run that began with other files. Changed since then: {}. Restore them, use another folder for a \
         new run, or remove the file to restart from step 0",
        file.display(),
        differing.join(", ")
    );
    ensure!(
        manifest.step <= run.spec.steps,
        "steps: {} are done, more than the {} of the spec: raise it, or name the model of an earlier step in {}",
        manifest.step,
        run.spec.steps,
        run_folder::models(folder).display()
    );
    Ok(Some(manifest))
}

/// Restores the saved state, if there is one. Returns its manifest.
///
/// # Errors
/// As [`check_resumable`].
pub(crate) fn load_state(
    folder: &Path,
    run: RunIdentity<'_>,
    new_rate: bool,
    state: &mut State<'_>,
) -> Result<Option<Manifest>> {
    let Some(manifest) = check_resumable(folder, run, new_rate)? else { return Ok(None) };
    let file = folder.join(run_folder::STATE);
    let tensors = candle_core::safetensors::load(&file, &Device::Cpu).with_context(|| {
        format!("{} is damaged: remove it to restart the run from step 0", file.display())
    })?;
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
    Ok(Some(manifest))
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
