//! The reconstruction loss of the autoencoder.

use anyhow::Result;
use candle_core::Tensor;

/// L1 + 2 L2 + L1 of the horizontal and vertical differences (edges) + L1 of the mean colour. Both tensors: (batch,
/// channels, height, width).
pub(super) fn reconstruction(images: &Tensor, targets: &Tensor) -> Result<Tensor> {
    let d = (images - targets)?;
    let (_, _, height, width) = d.dims4()?;
    let across = (d.narrow(3, 1, width - 1)? - d.narrow(3, 0, width - 1)?)?.abs()?.mean_all()?;
    let down = (d.narrow(2, 1, height - 1)? - d.narrow(2, 0, height - 1)?)?.abs()?.mean_all()?;
    let colour = d.mean((2, 3))?.abs()?.mean_all()?;
    Ok(((((d.abs()?.mean_all()? + (d.sqr()?.mean_all()? * 2.0)?)? + across)? + down)? + colour)?)
}
