//! Addition of a vector of channels to an image, as of the timestep embedding in a residual block.

use super::bias::add_to_planes;
use super::sums::sum_of_planes;
use crate::nn::composed::{self, Composed};
use crate::nn::dispatch::has_cpu_kernel;
use candle_core::{Result, Tensor, bail};

/// Adds `by`, (batch, channels), to all pixels of `x`, (batch, channels, height, width).
///
/// # Errors
/// Fails if the shapes do not fit.
pub fn add_channelwise(x: &Tensor, by: &Tensor) -> Result<Tensor> {
    let (batch, channels, _, _) = x.dims4()?;
    if by.dims() != [batch, channels] {
        bail!("channelwise addition: shapes do not fit: {:?} and {:?}", x.dims(), by.dims());
    }
    if has_cpu_kernel(x) {
        return x.broadcast_add(&by.unsqueeze(2)?.unsqueeze(3)?);
    }
    composed::apply(AddChannelwise, &[x, by])
}

/// The operation behind [`add_channelwise`].
pub(in crate::nn) struct AddChannelwise;

impl Composed for AddChannelwise {
    fn name(&self) -> &'static str {
        "add-channelwise"
    }

    fn forward(&self, operands: &[Tensor]) -> Result<Tensor> {
        let (x, by) = (&operands[0], &operands[1]);
        // Treats the batch as one image with batch * channels channels.
        let (batch, channels, height, width) = x.dims4()?;
        let planes = x.reshape((1, batch * channels, height, width))?;
        add_to_planes(&planes, &by.flatten_all()?)?.reshape(x.shape())
    }

    fn backward(
        &self,
        operands: &[Tensor],
        _y: &Tensor,
        gradient: &Tensor,
        wanted: &[bool],
    ) -> Result<Vec<Option<Tensor>>> {
        let to_planes = || sum_of_planes(gradient)?.to_dtype(operands[1].dtype());
        Ok(vec![Some(gradient.clone()), wanted[1].then(to_planes).transpose()?])
    }
}
