//! The weights of a part, checked against its config.

use crate::Result;
use crate::clip::TextTower;
use crate::config::{self, VaeConfig};
use crate::text_tower;
use crate::unet::Unet;
use crate::vae::Autoencoder;
use crate::weights::{PartFiles, Stem, StoredWeights, parameter_shapes, refuse_not_finite};
use candle_core::DType;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;

/// Names and shapes of tensors.
pub(super) type Shapes = BTreeMap<String, Vec<usize>>;

/// A summary of a part's weights.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartSummary {
    /// Number of tensors.
    pub tensors: usize,
    /// Number of values in all tensors.
    pub numbers: u64,
    /// The types of the tensors, as safetensors names them.
    pub types: String,
    /// The name of the weights file, or of the index of the shards.
    pub file: String,
}

/// Reads all weights of a part, one tensor at a time, and checks that they are the ones that its config describes and that
/// every value is finite. `report` gets the number of values that are done and their total, and may stop with an error.
///
/// # Errors
/// Fails if a file cannot be read, or a tensor is missing, superfluous, of another shape or not finite.
pub fn verify_part(
    folder: &Path,
    part: &str,
    stem: Stem,
    report: &mut dyn FnMut(u64, u64) -> Result<()>,
) -> Result<PartSummary> {
    let (stored, shapes) = open_part(folder, part, stem)?;
    let total = number_of_values(&shapes);
    let (mut done, mut types) = (0, BTreeMap::new());
    for (name, shape) in &shapes {
        refuse_not_finite(stored.origin(), name, &stored.read(name, shape, DType::F32)?)?;
        if let Some((_, tensor)) = stored.get(name) {
            *types.entry(format!("{:?}", tensor.dtype())).or_insert(0) += 1;
        }
        done += shape.iter().product::<usize>() as u64;
        report(done, total)?;
    }
    let types = types.into_keys().collect::<Vec<_>>().join(" and ");
    let file = Path::new(stored.origin()).file_name().unwrap_or_default().to_string_lossy().into_owned();
    Ok(PartSummary { tensors: shapes.len(), numbers: total, types, file })
}

/// The number of values in all tensors.
pub(super) fn number_of_values(shapes: &Shapes) -> u64 {
    shapes.values().map(|shape| shape.iter().product::<usize>() as u64).sum()
}

/// Opens a part's weights, checks them against its config, and returns them with the shapes that the config describes.
pub(super) fn open_part(folder: &Path, part: &str, stem: Stem) -> Result<(StoredWeights, Shapes)> {
    let stored = StoredWeights::open(&PartFiles::locate(folder, stem)?)?;
    let (stored, shapes) = match part {
        "unet" => {
            let config = Unet::config_of(folder)?;
            (stored, parameter_shapes(|scope| Unet::new(scope, config).map(drop))?)
        }
        "vae" => {
            let config = VaeConfig::read(&folder.join("config.json"))?;
            let shapes = parameter_shapes(|scope| Autoencoder::new(scope, config).map(drop))?;
            (Autoencoder::rename(stored)?, shapes)
        }
        _ => (TextTower::rename(stored)?, text_tower_shapes(folder)?),
    };
    stored.check(&shapes)?;
    Ok((stored, shapes))
}

/// The shapes that a text tower's config describes, including the projection if the tower has one.
fn text_tower_shapes(folder: &Path) -> Result<Shapes> {
    let class: Value = config::read(&folder.join("config.json"))?;
    text_tower::shapes(folder, class["architectures"][0] == "CLIPTextModelWithProjection")
}
