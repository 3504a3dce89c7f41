//! Group normalisation composed of candle operations, or of the kernels in `gpu` where they are available.

use super::gpu::GpuPasses;
use super::shape::GroupNormShape;
use crate::nn::composed::Composed;
use crate::nn::dispatch::accumulation_dtype;
use crate::nn::ops::activation::Activation;
use crate::nn::ops::normalise::{normalise, normalise_backward};
use candle_core::{Result, Tensor, bail};

/// The normalised input and the parameters, in `f32` at least.
struct Normalised {
    /// (batch, channels, pixels).
    value: Tensor,
    /// The reciprocal of each group's standard deviation, (batch, groups, 1).
    inverse: Tensor,
    /// (1, channels, 1).
    weight: Tensor,
    /// (1, channels, 1).
    bias: Tensor,
}

impl GroupNormShape {
    fn normalise(&self, operands: &[Tensor]) -> Result<Normalised> {
        let [x, weight, bias] = operands else { bail!("group norm: {} operands", operands.len()) };
        let wide = accumulation_dtype(x.dtype());
        let (batch, channels) = (x.dim(0)?, x.dim(1)?);
        let grouped = x.to_dtype(wide)?.reshape((batch, self.groups, ()))?;
        let (value, inverse) = normalise(&grouped, self.epsilon)?;
        let per_channel = |t: &Tensor| t.to_dtype(wide)?.reshape((1, channels, 1));
        Ok(Normalised {
            value: value.reshape((batch, channels, ()))?,
            inverse,
            weight: per_channel(weight)?,
            bias: per_channel(bias)?,
        })
    }
}

impl Composed for GroupNormShape {
    fn name(&self) -> &'static str {
        "group-norm"
    }

    fn forward(&self, operands: &[Tensor]) -> Result<Tensor> {
        if let Some(gpu) = GpuPasses::new(*self, operands)? {
            return gpu.forward();
        }
        let n = self.normalise(operands)?;
        let y = n.value.broadcast_mul(&n.weight)?.broadcast_add(&n.bias)?.reshape(operands[0].shape())?;
        (if self.silu { y.silu()? } else { y }).to_dtype(operands[0].dtype())
    }

    /// See [`GroupNormShape::backward_group`] for the formula.
    fn backward(
        &self,
        operands: &[Tensor],
        _y: &Tensor,
        gradient: &Tensor,
        wanted: &[bool],
    ) -> Result<Vec<Option<Tensor>>> {
        if let Some(gpu) = GpuPasses::new(*self, operands)? {
            return gpu.backward(gradient, wanted);
        }
        let n = self.normalise(operands)?;
        let [x, weight, bias] = operands else { bail!("group norm: {} operands", operands.len()) };
        let mut h = gradient.to_dtype(n.value.dtype())?.reshape(n.value.shape())?;
        if self.silu {
            h = (h * Activation::Silu
                .derivatives(&n.value.broadcast_mul(&n.weight)?.broadcast_add(&n.bias)?)?)?;
        }
        let to_x = || {
            let grouped = |t: &Tensor| t.reshape((x.dim(0)?, self.groups, ()));
            let (value, h) = (grouped(&n.value)?, grouped(&h.broadcast_mul(&n.weight)?)?);
            normalise_backward(&h, &value, &n.inverse)?.reshape(x.shape())?.to_dtype(x.dtype())
        };
        Ok(vec![
            wanted[0].then(to_x).transpose()?,
            wanted[1].then(|| (&h * &n.value)?.sum((0, 2))?.to_dtype(weight.dtype())).transpose()?,
            wanted[2].then(|| h.sum((0, 2))?.to_dtype(bias.dtype())).transpose()?,
        ])
    }
}
