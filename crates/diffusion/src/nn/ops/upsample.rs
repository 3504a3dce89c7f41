//! Nearest-neighbour upsampling.

use crate::nn::cpu::slices;
use crate::nn::dispatch::has_cpu_kernel;
use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor};
use rayon::prelude::*;

/// `x`: (batch, channels, height', width'). Returns (batch, channels, height, width), where pixel (i, j) is
/// `x[floor(i height' / height), floor(j width' / width)]`, as in PyTorch's `nearest` mode.
///
/// # Errors
/// Fails if `x` does not have four dimensions.
pub fn upsample_nearest(x: &Tensor, height: usize, width: usize) -> Result<Tensor> {
    let (batch, channels, from_height, from_width) = x.dims4()?;
    let x = x.contiguous()?;
    if !has_cpu_kernel(&x) {
        if height.is_multiple_of(from_height) && width.is_multiple_of(from_width) {
            let (down, across) = (height / from_height.max(1), width / from_width.max(1));
            return x
                .reshape(vec![batch, channels, from_height, 1, from_width, 1])?
                .broadcast_as(vec![batch, channels, from_height, down, from_width, across])?
                .reshape((batch, channels, height, width));
        }
        // Indexing instead of candle's upsampling, whose backward pass overwrites gradients accumulated before.
        let rows = source_indices(from_height, height);
        let columns = source_indices(from_width, width);
        let indices = |v: Vec<u32>| {
            let n = v.len();
            Tensor::from_vec(v, n, x.device())
        };
        return x.index_select(&indices(rows)?, 2)?.index_select(&indices(columns)?, 3);
    }
    x.apply_op1(Upsample { height, width })
}

/// The source pixel of each of `to` target pixels along one dimension.
fn source_indices(from: usize, to: usize) -> Vec<u32> {
    (0..to).map(|i| (i * from / to) as u32).collect()
}

/// The CPU kernel of [`upsample_nearest`], with the target size.
struct Upsample {
    height: usize,
    width: usize,
}

impl CustomOp1 for Upsample {
    fn name(&self) -> &'static str {
        "upsample-nearest"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (batch, channels, height, width) = layout.shape().dims4()?;
        let x = slices::of_storage(x, layout)?;
        let columns = source_indices(width, self.width);
        let mut y = vec![0.0; batch * channels * self.height * self.width];
        y.par_chunks_mut(self.height * self.width).zip(x.par_chunks(height * width)).for_each(|(y, x)| {
            for (i, y) in y.chunks_exact_mut(self.width).enumerate() {
                let line = &x[i * height / self.height * width..][..width];
                y.iter_mut().zip(&columns).for_each(|(y, &c)| *y = line[c as usize]);
            }
        });
        Ok((CpuStorage::F32(y), (batch, channels, self.height, self.width).into()))
    }

    fn bwd(&self, x: &Tensor, _y: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        let (_, _, height, width) = x.dims4()?;
        let gradient = gradient.contiguous()?;
        let columns = source_indices(width, self.width);
        let mut dx = vec![0f32; x.elem_count()];
        slices::with(&gradient, |g| {
            dx.par_chunks_mut(height * width).zip(g.par_chunks(self.height * self.width)).for_each(
                |(dx, g)| {
                    for (i, g) in g.chunks_exact(self.width).enumerate() {
                        let line = &mut dx[i * height / self.height * width..][..width];
                        g.iter().zip(&columns).for_each(|(&g, &c)| line[c as usize] += g);
                    }
                },
            );
        })?;
        Ok(Some(slices::tensor(dx, x.shape())?))
    }
}
