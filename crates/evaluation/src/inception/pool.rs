//! Pools of 3 x 3 pixels with padding that does not count; candle's pools have no padding.

use candle_core::{CpuStorage, CustomOp1, DType, Layout, Result, Shape, Tensor, bail};
use rayon::prelude::*;

/// A kind of pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pool {
    /// The mean of the pixels inside the image, with stride 1 and padding.
    Average,
    /// The maximum of the pixels inside the image, with stride 1 and padding.
    Maximum,
    /// The maximum with stride 2 and without padding.
    Reduce,
}

/// Pools (batch, channels, height, width). Values must not be negative, as behind a ReLU.
pub(super) fn pool(x: &Tensor, pool: Pool) -> Result<Tensor> {
    let x = x.contiguous()?;
    if x.device().is_cpu() && x.dtype() == DType::F32 {
        return x.apply_op1_no_bwd(&pool);
    }
    match pool {
        Pool::Reduce => x.max_pool2d_with_stride(3, 2),
        // Padding with zeros changes no maximum of values that are not negative.
        Pool::Maximum => padded(&x)?.max_pool2d_with_stride(3, 1),
        Pool::Average => {
            let (_, _, height, width) = x.dims4()?;
            let inside = Tensor::ones((1, 1, height, width), x.dtype(), x.device())?;
            let sum = padded(&x)?.avg_pool2d_with_stride(3, 1)?;
            sum.broadcast_div(&padded(&inside)?.avg_pool2d_with_stride(3, 1)?)
        }
    }
}

fn padded(x: &Tensor) -> Result<Tensor> {
    x.pad_with_zeros(2, 1, 1)?.pad_with_zeros(3, 1, 1)
}

impl Pool {
    /// The side of the output for a side of the input.
    fn output(self, side: usize) -> usize {
        match self {
            Self::Average | Self::Maximum => side,
            Self::Reduce => (side - 3) / 2 + 1,
        }
    }

    /// The range of inputs of output `i`, along one side.
    fn window(self, i: usize, side: usize) -> std::ops::Range<usize> {
        match self {
            Self::Average | Self::Maximum => i.saturating_sub(1)..(i + 2).min(side),
            Self::Reduce => 2 * i..2 * i + 3,
        }
    }

    /// Pools one channel: combines rows into `line`, then columns into `out`. As in torch, NaN counts as the maximum.
    fn plane(self, x: &[f32], width: usize, line: &mut [f32], out: &mut [f32]) {
        let height = x.len() / width;
        let larger = |a: f32, b: f32| if b > a || b.is_nan() { b } else { a };
        for (y, out) in out.chunks_exact_mut(self.output(width)).enumerate() {
            let rows = self.window(y, height);
            line.copy_from_slice(&x[rows.start * width..][..width]);
            for row in x[..rows.end * width].chunks_exact(width).skip(rows.start + 1) {
                if self == Self::Average {
                    line.iter_mut().zip(row).for_each(|(l, &v)| *l += v);
                } else {
                    line.iter_mut().zip(row).for_each(|(l, &v)| *l = larger(*l, v));
                }
            }
            for (i, out) in out.iter_mut().enumerate() {
                let columns = self.window(i, width);
                let count = (rows.len() * columns.len()) as f32;
                let values = &line[columns];
                *out = if self == Self::Average {
                    values.iter().sum::<f32>() / count
                } else {
                    values.iter().copied().fold(values[0], larger)
                };
            }
        }
    }
}

impl CustomOp1 for Pool {
    fn name(&self) -> &'static str {
        "pool"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (batch, channels, height, width) = layout.shape().dims4()?;
        let Some((start, end)) = layout.contiguous_offsets() else { bail!("pool: not contiguous") };
        if height < 3 || width < 3 {
            bail!("pool: {height} x {width} pixels are fewer than 3 x 3");
        }
        let x = &storage.as_slice::<f32>()?[start..end];
        let (out_height, out_width) = (self.output(height), self.output(width));
        let mut out = vec![0f32; batch * channels * out_height * out_width];
        out.par_chunks_mut(out_height * out_width)
            .zip(x.par_chunks(height * width))
            .for_each_init(|| vec![0f32; width], |line, (out, x)| self.plane(x, width, line, out));
        Ok((CpuStorage::F32(out), (batch, channels, out_height, out_width).into()))
    }
}

#[cfg(test)]
mod tests {
    use super::{Pool, pool};
    use candle_core::{DType, Device, Result};
    use diffusion::noise::Noise;

    #[test]
    fn pools_equal_their_composition_of_candle_operations() -> Result<()> {
        let x = Noise::new(3).normal_tensor((2, 3, 9, 7), &Device::Cpu)?.relu()?;
        for kind in [Pool::Average, Pool::Maximum, Pool::Reduce] {
            let ours = pool(&x, kind)?;
            let stock = pool(&x.to_dtype(DType::F64)?, kind)?.to_dtype(DType::F32)?;
            assert_eq!(ours.dims(), stock.dims());
            let off = (ours - stock)?.abs()?.max_all()?.to_scalar::<f32>()?;
            assert!(off < 1e-6, "{kind:?} is off by {off}");
        }
        Ok(())
    }
}
