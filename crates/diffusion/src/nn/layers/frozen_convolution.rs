//! A convolution that is only applied, never trained: its weight is packed once, and patches are not unrolled.
//!
//! An image is copied with its padding into rows of equal length ([`PaddedLayout`]). The pixels that a kernel element is
//! multiplied with are then one contiguous run of values, across the ends of rows, at an offset that depends on the
//! element. A block of results is a sum of such runs times weights, held in registers over all input channels. Results that
//! fall between rows are computed and dropped.

use crate::nn::cpu::scratch::with_scratch;
use crate::nn::cpu::simd::with_simd;
use crate::nn::cpu::slices;
use crate::nn::dispatch::has_cpu_kernel;
use crate::nn::ops::convolution::{ConvolutionShape, convolve};
use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor, bail};
use pulp::{Simd, WithSimd};
use rayon::prelude::*;

/// Output channels per block.
const OUTPUTS: usize = 8;
/// Vectors per block and output channel: with 8 output channels, 24 of the 32 registers of AVX-512.
const VECTORS: usize = 3;
/// Values of the longest vector (AVX-512).
const LANES: usize = 16;
/// Values of an image that one round of blocks reads: a quarter of a megabyte, which fits into the L2 cache.
const ROUND: usize = 1 << 16;

/// A convolution for inference, with a packed weight.
#[derive(Debug)]
pub struct FrozenConvolution {
    weight: Tensor,
    bias: Tensor,
    shape: ConvolutionShape,
    /// The packed parameters, where the CPU kernel applies.
    packed: Option<Packed>,
}

/// The parameters as the CPU kernel reads them.
#[derive(Debug)]
struct Packed {
    /// By blocks of 8 output channels; within a block, the 8 weights of each kernel element are neighbours.
    weight: Vec<f32>,
    bias: Vec<f32>,
    inputs: usize,
    /// Height and width.
    kernel: [usize; 2],
    shape: ConvolutionShape,
}

impl FrozenConvolution {
    /// `weight`: (outputs, inputs, height, width); `bias`: (outputs).
    ///
    /// # Errors
    /// Fails if the shapes do not fit or the stride is 0.
    pub fn new(weight: Tensor, bias: Tensor, shape: ConvolutionShape) -> Result<Self> {
        let (outputs, inputs, height, width) = weight.dims4()?;
        if bias.dims() != [outputs] || shape.stride == 0 || inputs * height * width == 0 {
            bail!(
                "frozen convolution: shapes do not fit: weight {:?}, bias {:?}, stride {}",
                weight.dims(),
                bias.dims(),
                shape.stride
            );
        }
        let packed = has_cpu_kernel(&weight)
            .then(|| -> Result<Packed> {
                let patch = inputs * height * width;
                let values = weight.flatten_all()?.to_vec1::<f32>()?;
                let mut packed = vec![0.0; outputs.div_ceil(OUTPUTS) * OUTPUTS * patch];
                for (o, row) in values.chunks_exact(patch).enumerate() {
                    let block = &mut packed[o / OUTPUTS * OUTPUTS * patch..][..OUTPUTS * patch];
                    block.iter_mut().skip(o % OUTPUTS).step_by(OUTPUTS).zip(row).for_each(|(to, &w)| *to = w);
                }
                let kernel = [height, width];
                Ok(Packed { weight: packed, bias: bias.to_vec1()?, inputs, kernel, shape })
            })
            .transpose()?;
        Ok(Self { weight, bias, shape, packed })
    }

    /// (batch, inputs, height, width) to (batch, outputs, height', width').
    ///
    /// # Errors
    /// Fails if the shapes do not fit.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        match &self.packed {
            Some(packed) if has_cpu_kernel(x) => x.contiguous()?.apply_op1_no_bwd(packed),
            _ => convolve(x, &self.weight, &self.bias, self.shape),
        }
    }
}

/// The memory layout of an image's channels while they are convolved.
///
/// Rows and columns are grouped by their remainder modulo the stride. Each pair of remainders (a phase) is stored as an
/// image of its own, so that neighbouring results read neighbouring values. Within a phase, rows start `pitch` values apart:
/// the padding on the right of a row is also the padding on the left of the next.
#[derive(Clone, Copy)]
struct PaddedLayout {
    stride: usize,
    pitch: usize,
    /// Values per phase.
    phase: usize,
    /// Values per channel.
    channel: usize,
    /// Height of the results.
    height: usize,
    /// Width of the results.
    width: usize,
}

impl PaddedLayout {
    /// `None` if the kernel does not fit into the image.
    fn new(packed: &Packed, height: usize, width: usize) -> Option<Self> {
        let ConvolutionShape { stride, padding: [above, left], .. } = packed.shape;
        let [kernel_height, kernel_width] = packed.kernel;
        let out_height = (height + 2 * above).checked_sub(kernel_height)? / stride + 1;
        let out_width = (width + 2 * left).checked_sub(kernel_width)? / stride + 1;
        let rows = (height + 2 * above).div_ceil(stride);
        // With a stride, neighbouring rows cannot share their padding.
        let pitch = if stride == 1 { width + left } else { (width + 2 * left).div_ceil(stride) };
        let phase = rows * pitch + if stride == 1 { left } else { 0 };
        Some(Self {
            stride,
            pitch,
            phase,
            channel: phase * stride * stride,
            height: out_height,
            width: out_width,
        })
    }

    /// The number of results, including those between rows.
    fn count(&self) -> usize {
        (self.height - 1) * self.pitch + self.width
    }

    /// For each weight of a patch, the offset of the value it is multiplied with for the first result.
    fn offsets(&self, packed: &Packed) -> Vec<usize> {
        let [height, width] = packed.kernel;
        let s = self.stride;
        let mut offsets = Vec::with_capacity(packed.inputs * height * width);
        for c in 0..packed.inputs {
            for y in 0..height {
                let row = c * self.channel + (y % s * s) * self.phase + y / s * self.pitch;
                offsets.extend((0..width).map(|x| row + x % s * self.phase + x / s));
            }
        }
        offsets
    }

    /// Copies an image (channels, height, width) to `to`, which must be zero where nothing is written.
    fn copy_image(
        &self,
        [above, left]: [usize; 2],
        image: &[f32],
        height: usize,
        width: usize,
        to: &mut [f32],
    ) {
        let s = self.stride;
        for (image, to) in image.chunks_exact(height * width).zip(to.chunks_exact_mut(self.channel)) {
            for (y, line) in image.chunks_exact(width).enumerate() {
                let y = y + above;
                let row = (y % s * s) * self.phase + y / s * self.pitch;
                if s == 1 {
                    to[row + left..][..width].copy_from_slice(line);
                } else {
                    for (x, &v) in line.iter().enumerate() {
                        let x = x + left;
                        to[row + x % s * self.phase + x / s] = v;
                    }
                }
            }
        }
    }
}

impl CustomOp1 for Packed {
    fn name(&self) -> &'static str {
        "frozen-convolution"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (batch, channels, height, width) = layout.shape().dims4()?;
        let padded = PaddedLayout::new(self, height, width);
        let Some(padded) = padded.filter(|_| channels == self.inputs) else {
            bail!(
                "frozen convolution: shapes do not fit: input {:?}, {} input channels, kernel {:?}",
                layout.dims(),
                self.inputs,
                self.kernel
            )
        };
        let x = slices::of_storage(storage, layout)?;
        let outputs = self.bias.len();
        let area = padded.height * padded.width;
        let offsets = padded.offsets(self);
        let mut y = vec![0.0; batch * outputs * area];
        // Small batches are also split by output channels.
        let group = if batch >= 4 { outputs } else { outputs.div_ceil(4).next_multiple_of(OUTPUTS) };
        y.par_chunks_mut(outputs * area).zip(x.par_chunks(channels * height * width)).for_each(
            |(y, image)| {
                // The last block may read past the last value.
                with_scratch(channels * padded.channel + VECTORS * LANES, |values| {
                    values.fill(0.0);
                    padded.copy_image(self.shape.padding, image, height, width, values);
                    let values: &[f32] = values;
                    y.par_chunks_mut(group * area).enumerate().for_each(|(i, out)| {
                        let first = i * group;
                        with_simd(Blocks { packed: self, padded, offsets: &offsets, values, first, out });
                    });
                });
            },
        );
        Ok((CpuStorage::F32(y), (batch, outputs, padded.height, padded.width).into()))
    }
}

/// The computation of some output channels of one image.
struct Blocks<'a> {
    packed: &'a Packed,
    padded: PaddedLayout,
    offsets: &'a [usize],
    /// The image in the padded layout.
    values: &'a [f32],
    /// The first output channel, a multiple of [`OUTPUTS`].
    first: usize,
    /// The result, (channels, height', width').
    out: &'a mut [f32],
}

impl WithSimd for Blocks<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { packed, padded, offsets, values, first, out } = self;
        let (count, area) = (padded.count(), padded.height * padded.width);
        let lanes = S::F32_LANES;
        // Machines without AVX-512 have fewer registers and hold one vector per output channel.
        let wide = if lanes == LANES { VECTORS } else { 1 } * lanes;
        let round = (ROUND / packed.inputs).next_multiple_of(wide);
        let patch = offsets.len();
        for begin in (0..count).step_by(round) {
            let end = (begin + round).min(count);
            for (block, out) in out.chunks_mut(OUTPUTS * area).enumerate() {
                let o = first + block * OUTPUTS;
                let weight = &packed.weight[o * patch..][..OUTPUTS * patch];
                let mut bias = [0.0; OUTPUTS];
                let channels = out.len() / area;
                bias[..channels].copy_from_slice(&packed.bias[o..][..channels]);
                let mut at = begin;
                while at < end {
                    let mut sums = [[0.0; VECTORS * LANES]; OUTPUTS];
                    let x = &values[at..];
                    let left = end - at;
                    let done = if left > 2 * lanes && wide > 2 * lanes {
                        block_of::<S, 3>(simd, weight, &bias, offsets, x, &mut sums)
                    } else if left > lanes && wide > lanes {
                        block_of::<S, 2>(simd, weight, &bias, offsets, x, &mut sums)
                    } else {
                        block_of::<S, 1>(simd, weight, &bias, offsets, x, &mut sums)
                    };
                    let done = done.min(left);
                    for (sums, out) in sums.iter().zip(out.chunks_exact_mut(area)) {
                        padded.store(&sums[..done], at, packed.shape.relu, out);
                    }
                    at += done;
                }
            }
        }
    }
}

/// Computes `COUNT` vectors of results for each of `OUTPUTS` channels. Returns the number of results per channel.
#[inline(always)]
fn block_of<S: Simd, const COUNT: usize>(
    simd: S,
    weight: &[f32],
    bias: &[f32; OUTPUTS],
    offsets: &[usize],
    x: &[f32],
    sums: &mut [[f32; VECTORS * LANES]; OUTPUTS],
) -> usize {
    let length = COUNT * S::F32_LANES;
    let mut totals = bias.map(|b| [simd.splat_f32s(b); COUNT]);
    for (weights, &offset) in weight.chunks_exact(OUTPUTS).zip(offsets) {
        let (run, _) = S::as_simd_f32s(&x[offset..][..length]);
        let run: [S::f32s; COUNT] = std::array::from_fn(|i| run[i]);
        for (total, &w) in totals.iter_mut().zip(weights) {
            let w = simd.splat_f32s(w);
            for i in 0..COUNT {
                total[i] = simd.mul_add_e_f32s(w, run[i], total[i]);
            }
        }
    }
    for (sums, total) in sums.iter_mut().zip(totals) {
        let (sums, _) = S::as_mut_simd_f32s(&mut sums[..length]);
        sums.copy_from_slice(&total);
    }
    length
}

impl PaddedLayout {
    /// Copies results, the first of which has index `at`, to one channel of the output, without those between rows.
    #[inline(always)]
    fn store(&self, mut sums: &[f32], at: usize, relu: bool, out: &mut [f32]) {
        let (mut y, mut x) = (at / self.pitch, at % self.pitch);
        while !sums.is_empty() && y < self.height {
            let (line, rest) = sums.split_at((self.pitch - x).min(sums.len()));
            let kept = self.width.saturating_sub(x).min(line.len());
            if kept > 0 {
                let to = &mut out[y * self.width + x..][..kept];
                // NaN stays NaN.
                let value = |v: f32| if relu && v < 0.0 { 0.0 } else { v };
                to.iter_mut().zip(line).for_each(|(to, &v)| *to = value(v));
            }
            (y, x, sums) = (y + 1, 0, rest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::FrozenConvolution;
    use crate::nn::ops::convolution::{ConvolutionShape, convolve};
    use crate::noise::Noise;
    use candle_core::{DType, Device, Result, Tensor};

    /// Kernels, strides and paddings of Inception, and image sizes that are no multiples of the vector length.
    #[test]
    fn the_result_equals_the_convolution_in_f64() -> Result<()> {
        let mut noise = Noise::new(11);
        let mut draw = |shape: &[usize]| noise.normal_tensor(shape, &Device::Cpu);
        let mut case =
            |kernel: [usize; 2], stride, padding, channels: [usize; 2], x: [usize; 3]| -> Result<()> {
                let [inputs, outputs] = channels;
                let [batch, height, width] = x;
                let shape = ConvolutionShape { stride, padding, relu: outputs % 2 == 0 };
                let x = draw(&[batch, inputs, height, width])?;
                let weight = draw(&[outputs, inputs, kernel[0], kernel[1]])?;
                let bias = draw(&[outputs])?;
                let wide = |t: &Tensor| t.to_dtype(DType::F64);
                let expected = convolve(&wide(&x)?, &wide(&weight)?, &wide(&bias)?, shape)?;
                let ours = FrozenConvolution::new(weight, bias, shape)?.forward(&x)?;
                assert_eq!(
                    ours.dims(),
                    expected.dims(),
                    "kernel {kernel:?}, stride {stride}, padding {padding:?}"
                );
                let off = (wide(&ours)? - expected)?.abs()?.max_all()?.to_scalar::<f64>()?;
                assert!(
                    off < 1e-4,
                    "kernel {kernel:?}, stride {stride}, padding {padding:?}: off by {off:e}"
                );
                Ok(())
            };
        for x in [[1, 9, 7], [5, 17, 17], [4, 8, 8], [2, 7, 53]] {
            case([1, 1], 1, [0, 0], [5, 16], x)?;
            case([3, 3], 1, [1, 1], [3, 8], x)?;
            case([3, 3], 1, [0, 0], [3, 20], x)?;
            case([5, 5], 1, [2, 2], [2, 7], x)?;
            case([1, 7], 1, [0, 3], [4, 9], x)?;
            case([7, 1], 1, [3, 0], [4, 40], x)?;
            case([3, 3], 2, [0, 0], [3, 12], x)?;
            case([3, 2], 3, [1, 2], [2, 3], x)?;
        }
        Ok(())
    }

    #[test]
    fn shapes_that_do_not_fit_are_errors() -> Result<()> {
        let zeros = |shape: &[usize]| Tensor::zeros(shape, DType::F32, &Device::Cpu);
        let shape = ConvolutionShape { stride: 1, padding: [0, 0], relu: false };
        assert!(FrozenConvolution::new(zeros(&[4, 2, 3, 3])?, zeros(&[5])?, shape).is_err());
        let frozen = FrozenConvolution::new(zeros(&[4, 2, 3, 3])?, zeros(&[4])?, shape)?;
        assert!(frozen.forward(&zeros(&[1, 3, 8, 8])?).is_err());
        assert!(frozen.forward(&zeros(&[1, 2, 2, 8])?).is_err());
        Ok(())
    }
}
