//! Copying parts of a model to another folder.

use super::part::{number_of_values, open_part};
use crate::config;
use crate::lora::Network;
use crate::part_folders::PartFolders;
use crate::weights::{Stem, save_streamed};
use crate::{Error, Result};
use candle_core::{DType, Device};
use files::write_atomically;
use serde_json::{Map, Value};
use std::path::Path;

/// Copies a part: its config, and its weights to one file in `dtype` under current names, one tensor at a time.
/// `report` gets the number of values that are done and their total, and may stop with an error.
///
/// # Errors
/// Fails if the part is damaged or cannot be written.
pub fn copy_part(
    from: &Path,
    to: &Path,
    part: &str,
    stem: Stem,
    dtype: DType,
    report: &mut dyn FnMut(u64, u64) -> Result<()>,
) -> Result<()> {
    let (stored, shapes) = open_part(from, part, stem)?;
    copy_config(from, to, dtype)?;
    let total = number_of_values(&shapes);
    let mut done = 0;
    save_streamed(&shapes, dtype, &to.join(stem.written()), &mut |name, shape| {
        done += shape.iter().product::<usize>() as u64;
        report(done, total)?;
        stored.read(name, shape, DType::F32)
    })
}

/// Writes a network of a model, as [`copy_part`] does, with the model's adapters fused into it. The whole network is in memory
/// meanwhile.
///
/// # Errors
/// Fails if the network or an adapter is damaged, they do not fit together, or the network cannot be written.
pub fn write_fused(folders: &PartFolders, network: Network, to: &Path, dtype: DType) -> Result<()> {
    let from = folders.part(network.as_str())?;
    let (weights, stem) = match network {
        Network::Unet => (folders.unet(&Device::Cpu)?.1, Stem::NETWORK),
        encoder => {
            let tower = folders.text_tower(encoder.as_str(), &Device::Cpu, DType::F32)?;
            (tower.weights().clone(), Stem::TRANSFORMER)
        }
    };
    copy_config(&from, to, dtype)?;
    let shapes = weights.iter().map(|(name, tensor)| (name.clone(), tensor.dims().to_vec())).collect();
    save_streamed(&shapes, dtype, &to.join(stem.written()), &mut |name, _| Ok(weights[name].clone()))
}

/// Copies a part's config. A type of weights that it states becomes the type that is written: transformers loads the
/// weights as what their config says, and networks of different types do not work together.
fn copy_config(from: &Path, to: &Path, dtype: DType) -> Result<()> {
    let file = from.join("config.json");
    let mut bytes = std::fs::read(&file).map_err(|e| Error::file(&file, e))?;
    let mut config: Map<String, Value> = config::read(&file)?;
    let name = if dtype == DType::F16 { "float16" } else { "float32" };
    let mut is_other = false;
    for key in ["dtype", "torch_dtype"] {
        if let Some(stated) = config.get_mut(key).filter(|stated| **stated != name) {
            *stated = name.into();
            is_other = true;
        }
    }
    if is_other {
        bytes = serde_json::to_vec_pretty(&config)
            .map_err(|error| Error::format(&file, format!("cannot be written: {error}")))?;
    }
    Ok(write_atomically(&to.join("config.json"), &bytes)?)
}
