//! Whether an adapter file fits a UNet, judged by the names and shapes of its tensors.

use super::layers::Layers;
use super::network::Network;
use super::tensor_name::{LayerName, TensorKind, TensorName};
use crate::nn::{Factor, LowRank};
use crate::torch_file::WeightsFile;
use crate::{Error, Result};
use std::path::Path;

/// Checks that every tensor of an adapter file for the UNet updates one of these layers and has its shape. Reads no values.
///
/// # Errors
/// Fails if the file cannot be read, or names the first tensor that does not fit, with both shapes.
pub fn check_for_unet(file: &Path, layers: &Layers) -> Result<()> {
    let flat_names = layers.flat_names();
    for (name, tensor) in WeightsFile::open(file)?.list(None)?.tensors {
        let bad = |problem: String| Error::tensor(file.display(), &name, problem);
        let TensorName { network, layer, kind } = TensorName::parse(&name).map_err(bad)?;
        if network != Network::Unet {
            continue;
        }
        let known = match &layer {
            LayerName::Dotted(layer) => layers.names().find(|known| known == layer),
            LayerName::Flat(layer) => flat_names.get(layer).copied(),
        };
        let layer = known.ok_or_else(|| {
            bad("updates no layer of the base's UNet: the adapter is for another kind of model".to_owned())
        })?;
        let TensorKind::Factor(factor) = kind else { continue };
        let (weight, shape) = (layers.shape(layer).unwrap_or_default(), tensor.shape());
        let rank = shape.get(usize::from(factor == Factor::Up)).copied().unwrap_or_default();
        let [down, up] = LowRank::shapes(weight, rank);
        let needed = if factor == Factor::Down { down } else { up };
        if trimmed(shape) != trimmed(&needed) {
            return Err(bad(format!(
                "has shape {shape:?}, but {layer} of the base's UNet, whose weight has shape {weight:?}, needs {needed:?}: the \
                 adapter is for another kind of model"
            )));
        }
    }
    Ok(())
}

/// A shape without trailing ones: factors of a linear layer also fit a 1 x 1 convolution.
fn trimmed(shape: &[usize]) -> &[usize] {
    let length = shape.iter().rposition(|&size| size != 1).map_or(0, |last| last + 1);
    &shape[..length]
}
