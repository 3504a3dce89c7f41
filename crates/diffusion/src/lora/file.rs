//! Reading and writing adapter files.

use super::adapter::{Adapter, DOWN, UP};
use super::layers::Layers;
use super::metadata::{self, Settings};
use super::network::Network;
use super::tensor_name::{LayerName, PEFT_PREFIX, TensorKind, TensorName};
use crate::nn::{Factor, LowRank};
use crate::weights::Weights;
use crate::{Error, Result};
use candle_core::{DType, Device, Tensor};
use files::write_atomically;
use safetensors::SafeTensors;
use serde_json::{Map, Value};
use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

/// The file name under which diffusers looks for an adapter.
pub const WEIGHTS_FILE: &str = "pytorch_lora_weights.safetensors";

/// The tensors of one layer, each with its name in the file.
#[derive(Default)]
struct LayerTensors {
    down: Option<(String, Tensor)>,
    up: Option<(String, Tensor)>,
    alpha: Option<f64>,
    /// The name of the first tensor, for error messages.
    first_name: String,
}

/// Reads an adapter file for the networks of a model.
///
/// # Errors
/// Fails if the file is not a complete safetensors file, or a tensor is unknown, missing, of another shape, or of a network
/// that is not in `networks`.
pub fn open(file: &Path, networks: &BTreeMap<Network, Layers>) -> Result<BTreeMap<Network, Adapter>> {
    let bytes = std::fs::read(file).map_err(|e| Error::file(file, e))?;
    let damaged = |e: &dyn std::fmt::Display| {
        Error::format(file, format!("is not a complete safetensors file ({e}): copy it again"))
    };
    let (_, header) = SafeTensors::read_metadata(&bytes).map_err(|e| damaged(&e))?;
    let entry = header.metadata().as_ref().and_then(|entries| entries.get(metadata::ENTRY)).cloned();
    let tensors = candle_core::safetensors::load_buffer(&bytes, &Device::Cpu).map_err(|e| damaged(&e))?;
    let entry = match entry {
        None if tensors.keys().any(|name| name.starts_with(PEFT_PREFIX)) => {
            // PEFT stores alpha only in this file. Without it, the updates would be scaled wrongly.
            let settings = file.with_file_name(metadata::PEFT_FILE);
            Some(std::fs::read_to_string(&settings).map_err(|e| Error::file(&settings, e))?)
        }
        entry => entry,
    };
    let found = group_by_layer(file, tensors, networks)?;
    if found.is_empty() {
        return Err(Error::format(file, "has no LoRA tensors"));
    }
    let mut settings = BTreeMap::new();
    for &network in networks.keys() {
        let read = entry.as_deref().map(|text| Settings::read(text, network)).transpose();
        settings.insert(network, read.map_err(|e| Error::format(file, e))?.unwrap_or_default());
    }
    let mut adapters: BTreeMap<Network, BTreeMap<String, LowRank>> = BTreeMap::new();
    for ((network, layer), tensors) in found {
        let weight = networks[&network].shape(layer).unwrap_or_default();
        let update = tensors.into_update(file, layer, &settings[&network], weight)?;
        adapters.entry(network).or_default().insert(layer.to_owned(), update);
    }
    Ok(adapters.into_iter().map(|(network, updates)| (network, Adapter::new(updates))).collect())
}

/// The file beside an adapter from which [`open`] reads the adapter's settings, if there are none in the adapter's header.
/// Reads the header only. A file with a damaged header has no such file.
///
/// # Errors
/// Fails if the adapter cannot be read.
pub fn settings_file(adapter: &Path) -> Result<Option<PathBuf>> {
    let header = || -> std::io::Result<Vec<u8>> {
        let mut open = File::open(adapter)?;
        let mut length = [0; 8];
        open.read_exact(&mut length)?;
        let mut header = Vec::new();
        open.take(u64::from_le_bytes(length)).read_to_end(&mut header)?;
        Ok(header)
    };
    let header = match header() {
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => Vec::new(),
        header => header.map_err(|error| Error::file(adapter, error))?,
    };
    let header: Map<String, Value> = serde_json::from_slice(&header).unwrap_or_default();
    let has_entry = header.get("__metadata__").is_some_and(|entries| entries.get(metadata::ENTRY).is_some());
    let is_of_peft = !has_entry && header.keys().any(|name| name.starts_with(PEFT_PREFIX));
    Ok(is_of_peft.then(|| adapter.with_file_name(metadata::PEFT_FILE)))
}

/// Reads the part of an adapter file that updates a UNet with these parameters.
///
/// # Errors
/// As [`open`].
pub fn open_for_unet(file: &Path, weights: &Weights) -> Result<Adapter> {
    let networks = BTreeMap::from([(Network::Unet, Layers::of(weights))]);
    Ok(open(file, &networks)?.remove(&Network::Unet).unwrap_or_default())
}

/// Assigns the tensors of a file to the layers of the networks.
fn group_by_layer<'a>(
    file: &Path,
    tensors: HashMap<String, Tensor>,
    networks: &'a BTreeMap<Network, Layers>,
) -> Result<BTreeMap<(Network, &'a str), LayerTensors>> {
    let flat_names: HashMap<Network, HashMap<String, &str>> =
        networks.iter().map(|(&network, layers)| (network, layers.flat_names())).collect();
    let mut found: BTreeMap<(Network, &str), LayerTensors> = BTreeMap::new();
    for (name, tensor) in tensors {
        let bad = |problem: String| Error::tensor(file.display(), &name, problem);
        let TensorName { network, layer, kind } = TensorName::parse(&name).map_err(bad)?;
        let layers = networks
            .get(&network)
            .ok_or_else(|| bad(format!("updates {network}, but adapters are only applied to the UNet")))?;
        let layer = match &layer {
            LayerName::Dotted(layer) => layers.names().find(|known| known == layer),
            LayerName::Flat(layer) => flat_names[&network].get(layer).copied(),
        };
        let layer = layer.ok_or_else(|| {
            bad(format!(
                "updates no layer of this model's {network}: the adapter is for another kind of model"
            ))
        })?;
        let found = found.entry((network, layer)).or_default();
        if found.first_name.is_empty() {
            found.first_name.clone_from(&name);
        }
        let is_duplicate = match kind {
            TensorKind::Factor(factor) => {
                let value = (name.clone(), tensor.to_dtype(DType::F32)?);
                let slot = if factor == Factor::Down { &mut found.down } else { &mut found.up };
                slot.replace(value).is_some()
            }
            TensorKind::Alpha => {
                let alpha = tensor.to_dtype(DType::F64)?.flatten_all()?.to_vec1::<f64>()?;
                let &[alpha] = &alpha[..] else { return Err(bad("is not a single number".to_owned())) };
                found.alpha.replace(alpha).is_some()
            }
        };
        if is_duplicate {
            return Err(bad(format!("updates {layer}, which another tensor updates too")));
        }
    }
    Ok(found)
}

impl LayerTensors {
    /// The update of `layer`, whose weight has shape `weight`.
    fn into_update(self, file: &Path, layer: &str, settings: &Settings, weight: &[usize]) -> Result<LowRank> {
        let missing = |what: &str| {
            Error::tensor(file.display(), &self.first_name, format!("has no matching {what} for {layer}"))
        };
        let (down_name, down) = self.down.as_ref().ok_or_else(|| missing("lora_A (down)"))?;
        let (up_name, up) = self.up.as_ref().ok_or_else(|| missing("lora_B (up)"))?;
        let rank = down.dims().first().copied().unwrap_or_default();
        let alpha = self.alpha.unwrap_or_else(|| settings.alpha(layer, rank));
        LowRank::new(down, up, alpha, weight).map_err(|error| {
            let name = if error.factor == Factor::Down { down_name } else { up_name };
            Error::tensor(file.display(), name, error.problem)
        })
    }
}

/// Writes adapters, atomically, as diffusers' `load_lora_weights` reads them: PEFT's names with the network's prefix, and
/// PEFT's settings in the header.
///
/// # Errors
/// Fails if the file cannot be written.
pub fn save(adapters: &BTreeMap<Network, Adapter>, file: &Path) -> Result<()> {
    let mut tensors = Vec::new();
    for (network, adapter) in adapters {
        for (layer, update) in adapter.layers() {
            for (suffix, factor) in [(DOWN, update.down()), (UP, update.up())] {
                let value = factor.detach().to_device(&Device::Cpu)?.to_dtype(DType::F32)?.contiguous()?;
                tensors.push((format!("{network}.{layer}{suffix}"), value));
            }
        }
    }
    // Only one entry, because the library writes several in an order that differs from run to run.
    let header = HashMap::from([(metadata::ENTRY.to_owned(), metadata::text(adapters))]);
    let bytes = safetensors::serialize(tensors, Some(header)).map_err(|e| Error::format(file, e))?;
    Ok(write_atomically(file, &bytes)?)
}
