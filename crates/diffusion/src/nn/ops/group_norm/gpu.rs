//! Group normalisation by GPU kernels, a block of threads per plane.

use super::shape::GroupNormShape;
use crate::nn::gpu::availability::is_available;
use crate::nn::gpu::launch::{Launch, Number};
use crate::nn::ops::sums::sum_over_rows;
use candle_core::{DType, Result, Tensor};

/// A group normalisation by GPU kernels, with the moments of its planes. A plane is one channel of one image.
pub(super) struct GpuPasses<'a> {
    shape: GroupNormShape,
    x: &'a Tensor,
    weight: &'a Tensor,
    bias: &'a Tensor,
    /// The mean of each plane, in `f32`: (batch, channels).
    means: Tensor,
    /// The sum of squared deviations from the mean of each plane, in `f32`: (batch, channels).
    squares: Tensor,
}

impl<'a> GpuPasses<'a> {
    /// Computes the moments; `None` where the kernels are not available.
    pub(super) fn new(shape: GroupNormShape, operands: &'a [Tensor]) -> Result<Option<Self>> {
        let [x, weight, bias] = operands else { return Ok(None) };
        if !is_available(&[x, weight, bias]) {
            return Ok(None);
        }
        let moments = (DType::F32, [x.dim(0)?, x.dim(1)?]);
        let pixels = x.elem_count() / (moments.1[0] * moments.1[1]);
        let [means, squares] = Launch::per_row("plane_moments", moments.1[0] * moments.1[1], pixels, &[x])
            .run([(moments.0, &moments.1); 2], &[Number::Whole(pixels)])?;
        Ok(Some(Self { shape, x, weight, bias, means, squares }))
    }

    /// Runs a kernel with a block per plane.
    fn launch<const N: usize>(
        &self,
        kernel: &'static str,
        operands: &[&Tensor],
        results: [(DType, &[usize]); N],
    ) -> Result<[Tensor; N]> {
        let (planes, channels) = (self.means.elem_count(), self.x.dim(1)?);
        let pixels = self.x.elem_count() / planes;
        let numbers = [
            Number::Whole(pixels),
            Number::Whole(channels),
            Number::Whole(channels / self.shape.groups),
            Number::Real(self.shape.epsilon),
            Number::Whole(self.shape.silu.into()),
        ];
        Launch::per_row(kernel, planes, pixels, operands).run(results, &numbers)
    }

    pub(super) fn forward(&self) -> Result<Tensor> {
        let operands = [self.x, self.weight, self.bias, &self.means, &self.squares];
        let [y] = self.launch("group_norm", &operands, [(self.x.dtype(), self.x.dims())])?;
        Ok(y)
    }

    pub(super) fn backward(&self, gradient: &Tensor, wanted: &[bool]) -> Result<Vec<Option<Tensor>>> {
        let Self { x, weight, bias, means, squares, .. } = self;
        let sums = (DType::F32, means.dims());
        let operands = [x, weight, bias, gradient, means, squares];
        let [plain, times_x] = self.launch("group_norm_sums", &operands, [sums; 2])?;
        let to_x = || -> Result<Tensor> {
            let operands = [x, weight, bias, gradient, means, squares, &plain, &times_x];
            let [dx] = self.launch("group_norm_back", &operands, [(x.dtype(), x.dims())])?;
            Ok(dx)
        };
        let over_batch = |sums: &Tensor, like: &Tensor| sum_over_rows(sums)?.to_dtype(like.dtype());
        Ok(vec![
            wanted[0].then(to_x).transpose()?,
            wanted[1].then(|| over_batch(&times_x, weight)).transpose()?,
            wanted[2].then(|| over_batch(&plain, bias)).transpose()?,
        ])
    }
}
