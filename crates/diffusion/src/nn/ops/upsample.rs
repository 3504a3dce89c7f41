//! Enlarging by repeating the nearest pixel.

use super::{has_own_kernel, slices};
use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor};
use rayon::prelude::*;

/// `x`: (batch, channels, height', width'). Returns (batch, channels, height, width): pixel (i, j) is
/// `x[floor(i height' / height), floor(j width' / width)]`, as PyTorch's `nearest`.
///
/// # Errors
/// Not an image.
pub fn upsample_nearest(x: &Tensor, height: usize, width: usize) -> Result<Tensor> {
    let (batch, channels, from_height, from_width) = x.dims4()?;
    let x = x.contiguous()?;
    if !has_own_kernel(&x) {
        if height.is_multiple_of(from_height) && width.is_multiple_of(from_width) {
            let (down, across) = (height / from_height.max(1), width / from_width.max(1));
            return x
                .reshape(vec![batch, channels, from_height, 1, from_width, 1])?
                .broadcast_as(vec![batch, channels, from_height, down, from_width, across])?
                .reshape((batch, channels, height, width));
        }
        // candle's own upsampling overwrites gradients that were already there: index instead.
        let rows = index(from_height, height);
        let columns = index(from_width, width);
        let pick = |v: Vec<u32>| {
            let n = v.len();
            Tensor::from_vec(v, n, x.device())
        };
        return x.index_select(&pick(rows)?, 2)?.index_select(&pick(columns)?, 3);
    }
    x.apply_op1(Upsample { height, width })
}

fn index(from: usize, to: usize) -> Vec<u32> {
    (0..to).map(|i| (i * from / to) as u32).collect()
}

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
        let columns = index(width, self.width);
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
        let columns = index(width, self.width);
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
