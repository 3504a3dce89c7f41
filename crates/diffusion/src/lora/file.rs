//! Adapter files.

use super::adapter::{DOWN, UP};
use super::key::{Key, LayerName, PEFT, Piece};
use super::metadata::{self, Settings};
use super::{Adapter, Layers, Network};
use crate::nn::{Factor, LowRank};
use crate::weights::write_atomically;
use crate::{Error, Result};
use candle_core::{DType, Device, Tensor};
use safetensors::SafeTensors;
use std::collections::{BTreeMap, HashMap};
use std::path::Path;

/// Name of the file in which diffusers looks for an adapter.
pub const WEIGHTS_FILE: &str = "pytorch_lora_weights.safetensors";

/// The tensors of one layer, each under the name it has in the file.
#[derive(Default)]
struct Found {
    down: Option<(String, Tensor)>,
    up: Option<(String, Tensor)>,
    alpha: Option<f64>,
    /// The first name that was found.
    name: String,
}

/// Reads an adapter file for the networks of a model.
///
/// # Errors
/// No whole safetensors file; a tensor that is unknown, missing or misshapen, or of a network that is not given.
pub fn open(file: &Path, networks: &BTreeMap<Network, Layers>) -> Result<BTreeMap<Network, Adapter>> {
    let bytes = std::fs::read(file).map_err(|e| Error::file(file, e))?;
    let damaged = |e: &dyn std::fmt::Display| {
        Error::format(file, format!("is no whole safetensors file ({e}): copy it again"))
    };
    let (_, header) = SafeTensors::read_metadata(&bytes).map_err(|e| damaged(&e))?;
    let entry = header.metadata().as_ref().and_then(|entries| entries.get(metadata::ENTRY)).cloned();
    let tensors = candle_core::safetensors::load_buffer(&bytes, &Device::Cpu).map_err(|e| damaged(&e))?;
    let flat: HashMap<Network, HashMap<String, &str>> =
        networks.iter().map(|(&network, layers)| (network, layers.flat())).collect();

    let entry = match entry {
        None if tensors.keys().any(|name| name.starts_with(PEFT)) => {
            // PEFT's alpha is nowhere else; without it the updates would have another strength.
            let beside = file.with_file_name(metadata::PEFT_FILE);
            Some(std::fs::read_to_string(&beside).map_err(|e| Error::file(&beside, e))?)
        }
        entry => entry,
    };
    let mut found: BTreeMap<(Network, &str), Found> = BTreeMap::new();
    for (name, tensor) in tensors {
        let bad = |problem: String| tensor_error(file, &name, problem);
        let key = Key::parse(&name).map_err(bad)?;
        let network = key.network;
        let layers = networks
            .get(&network)
            .ok_or_else(|| bad(format!("updates {network}: adapters are applied to the UNet only")))?;
        let layer = match &key.layer {
            LayerName::Dotted(layer) => layers.names().find(|known| known == layer),
            LayerName::Flat(layer) => flat[&network].get(layer).copied(),
        };
        let layer = layer.ok_or_else(|| {
            bad(format!(
                "updates no layer of this model's {network}: the adapter is of another kind of model"
            ))
        })?;
        let found = found.entry((network, layer)).or_default();
        if found.name.is_empty() {
            found.name.clone_from(&name);
        }
        let twice = match key.piece {
            Piece::Factor(factor) => {
                let value = (name.clone(), tensor.to_dtype(DType::F32)?);
                let place = if factor == Factor::Down { &mut found.down } else { &mut found.up };
                place.replace(value).is_some()
            }
            Piece::Alpha => {
                let alpha = tensor.to_dtype(DType::F64)?.flatten_all()?.to_vec1::<f64>()?;
                let &[alpha] = &alpha[..] else { return Err(bad("is no single number".to_owned())) };
                found.alpha.replace(alpha).is_some()
            }
        };
        if twice {
            return Err(bad(format!("updates {layer}, which another tensor updates too")));
        }
    }
    if found.is_empty() {
        return Err(Error::format(file, "holds no LoRA"));
    }

    let mut settings = BTreeMap::new();
    for &network in networks.keys() {
        let read = entry.as_deref().map(|text| Settings::read(text, network)).transpose();
        settings.insert(network, read.map_err(|e| Error::format(file, e))?.unwrap_or_default());
    }
    let mut adapters: BTreeMap<Network, BTreeMap<String, LowRank>> = BTreeMap::new();
    for ((network, layer), found) in found {
        let lacks =
            |what: &str| tensor_error(file, &found.name, format!("stands without its {what} for {layer}"));
        let (down_name, down) = found.down.as_ref().ok_or_else(|| lacks("lora_A (down)"))?;
        let (up_name, up) = found.up.as_ref().ok_or_else(|| lacks("lora_B (up)"))?;
        let rank = down.dims().first().copied().unwrap_or_default();
        let alpha = found.alpha.unwrap_or_else(|| settings[&network].alpha(layer, rank));
        let weight = networks[&network].shape(layer).unwrap_or_default();
        let update = LowRank::new(down, up, alpha, weight).map_err(|misfit| {
            let name = if misfit.factor == Factor::Down { down_name } else { up_name };
            tensor_error(file, name, misfit.problem)
        })?;
        adapters.entry(network).or_default().insert(layer.to_owned(), update);
    }
    Ok(adapters.into_iter().map(|(network, updates)| (network, Adapter::new(updates))).collect())
}

/// Writes adapters as diffusers' `load_lora_weights` reads them: PEFT's names behind the network's, and PEFT's settings
/// in the header. All or nothing.
///
/// # Errors
/// The file cannot be written.
pub fn save(adapters: &BTreeMap<Network, Adapter>, file: &Path) -> Result<()> {
    let mut tensors = Vec::new();
    for (network, adapter) in adapters {
        for (layer, update) in adapter.layers() {
            for (ending, factor) in [(DOWN, update.down()), (UP, update.up())] {
                let value = factor.detach().to_device(&Device::Cpu)?.to_dtype(DType::F32)?.contiguous()?;
                tensors.push((format!("{network}.{layer}{ending}"), value));
            }
        }
    }
    // One entry: the library writes several in an order that differs from run to run, and nobody needs another.
    let header = HashMap::from([(metadata::ENTRY.to_owned(), metadata::text(adapters))]);
    let bytes = safetensors::serialize(tensors, Some(header)).map_err(|e| Error::format(file, e))?;
    write_atomically(file, &bytes)
}

fn tensor_error(file: &Path, tensor: &str, problem: impl ToString) -> Error {
    Error::Tensor {
        origin: file.display().to_string(),
        tensor: tensor.to_owned(),
        problem: problem.to_string(),
    }
}
