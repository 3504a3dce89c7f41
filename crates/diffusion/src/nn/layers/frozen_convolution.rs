//! A convolution that is only applied, never trained: its weight is packed once, and its patches are never unrolled.
//!
//! An image is copied with its padding into lines of one length (`Planes`); what a kernel element sees of it is then the
//! same run of values begun elsewhere, over the ends of lines too. So a block of results is a sum of runs times weights,
//! held in registers from the first input channel to the last. Results between lines are computed and dropped.

use crate::nn::cpu::scratch::with_scratch;
use crate::nn::cpu::simd::with_simd;
use crate::nn::cpu::slices;
use crate::nn::{ConvolutionShape, convolve, has_own_kernel};
use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor, bail};
use pulp::{Simd, WithSimd};
use rayon::prelude::*;

/// Output channels of a block.
const OUTPUTS: usize = 8;
/// Vectors of a block: with as many output channels, what the 32 registers of AVX-512 hold.
const VECTORS: usize = 3;
/// The longest vector, AVX-512's.
const LANES: usize = 16;
/// Values of an image that one round of blocks reads: a quarter of a megabyte, which a core's second cache holds.
const ROUND: usize = 1 << 16;

/// See the module.
#[derive(Debug)]
pub struct FrozenConvolution {
    weight: Tensor,
    bias: Tensor,
    shape: ConvolutionShape,
    /// Where our own kernel applies: by blocks of output channels, each kernel element's 8 weights side by side.
    packed: Option<Packed>,
}

#[derive(Debug)]
struct Packed {
    weight: Vec<f32>,
    bias: Vec<f32>,
    inputs: usize,
    kernel: [usize; 2],
    shape: ConvolutionShape,
}

impl FrozenConvolution {
    /// `weight`: (outputs, inputs, height, width); `bias`: (outputs).
    ///
    /// # Errors
    /// Other shapes, or a stride of 0.
    pub fn new(weight: Tensor, bias: Tensor, shape: ConvolutionShape) -> Result<Self> {
        let (outputs, inputs, height, width) = weight.dims4()?;
        if bias.dims() != [outputs] || shape.stride == 0 || inputs * height * width == 0 {
            bail!(
                "frozen convolution: weight {:?}, bias {:?}, stride {}",
                weight.dims(),
                bias.dims(),
                shape.stride
            );
        }
        let packed = has_own_kernel(&weight)
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
    /// Shapes that do not fit.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        match &self.packed {
            Some(packed) if has_own_kernel(x) => x.contiguous()?.apply_op1_no_bwd(packed),
            _ => convolve(x, &self.weight, &self.bias, self.shape),
        }
    }
}

/// How an image's channels lie in memory while they are convolved.
///
/// Rows and columns are dealt out by their remainder at the division by the stride, each remainder (a phase) an image of
/// its own, so that neighbouring results read neighbouring values. Within a phase, lines follow each other at `pitch`:
/// a line's padding on the right is the next one's on the left.
#[derive(Clone, Copy)]
struct Planes {
    stride: usize,
    pitch: usize,
    /// Values of a phase, and of a channel.
    phase: usize,
    channel: usize,
    /// Of the results.
    height: usize,
    width: usize,
}

impl Planes {
    /// None where the kernel does not fit into the image.
    fn new(packed: &Packed, height: usize, width: usize) -> Option<Self> {
        let ConvolutionShape { stride, padding: [above, left], .. } = packed.shape;
        let [kernel_height, kernel_width] = packed.kernel;
        let out_height = (height + 2 * above).checked_sub(kernel_height)? / stride + 1;
        let out_width = (width + 2 * left).checked_sub(kernel_width)? / stride + 1;
        let lines = (height + 2 * above).div_ceil(stride);
        // With a stride, phases have no line end in common: both paddings are there.
        let pitch = if stride == 1 { width + left } else { (width + 2 * left).div_ceil(stride) };
        let phase = lines * pitch + if stride == 1 { left } else { 0 };
        Some(Self {
            stride,
            pitch,
            phase,
            channel: phase * stride * stride,
            height: out_height,
            width: out_width,
        })
    }

    /// Results, those between the lines included.
    fn count(&self) -> usize {
        (self.height - 1) * self.pitch + self.width
    }

    /// Where each weight of a patch finds its value for the first result.
    fn places(&self, packed: &Packed) -> Vec<usize> {
        let [height, width] = packed.kernel;
        let s = self.stride;
        let mut places = Vec::with_capacity(packed.inputs * height * width);
        for c in 0..packed.inputs {
            for y in 0..height {
                let row = c * self.channel + (y % s * s) * self.phase + y / s * self.pitch;
                places.extend((0..width).map(|x| row + x % s * self.phase + x / s));
            }
        }
        places
    }

    /// Lays out an image (channels, height, width); what is not written must be zeros already.
    fn lay_out(&self, [above, left]: [usize; 2], image: &[f32], height: usize, width: usize, to: &mut [f32]) {
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
        let planes = Planes::new(self, height, width);
        let Some(planes) = planes.filter(|_| channels == self.inputs) else {
            bail!(
                "frozen convolution: images {:?}, {} inputs, kernel {:?}",
                layout.dims(),
                self.inputs,
                self.kernel
            )
        };
        let x = slices::of_storage(storage, layout)?;
        let outputs = self.bias.len();
        let area = planes.height * planes.width;
        let places = planes.places(self);
        let mut y = vec![0.0; batch * outputs * area];
        // Few images are shared out by output channels too.
        let group = if batch >= 4 { outputs } else { outputs.div_ceil(4).next_multiple_of(OUTPUTS) };
        y.par_chunks_mut(outputs * area).zip(x.par_chunks(channels * height * width)).for_each(
            |(y, image)| {
                // A block reads to its end, wherever its last result is.
                with_scratch(channels * planes.channel + VECTORS * LANES, |laid_out| {
                    laid_out.fill(0.0);
                    planes.lay_out(self.shape.padding, image, height, width, laid_out);
                    let laid_out: &[f32] = laid_out;
                    y.par_chunks_mut(group * area).enumerate().for_each(|(i, out)| {
                        let first = i * group;
                        with_simd(Blocks { packed: self, planes, places: &places, laid_out, first, out });
                    });
                });
            },
        );
        Ok((CpuStorage::F32(y), (batch, outputs, planes.height, planes.width).into()))
    }
}

/// Some output channels of one image.
struct Blocks<'a> {
    packed: &'a Packed,
    planes: Planes,
    places: &'a [usize],
    laid_out: &'a [f32],
    /// First output channel, a multiple of a block's.
    first: usize,
    /// (channels, height', width').
    out: &'a mut [f32],
}

impl WithSimd for Blocks<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { packed, planes, places, laid_out, first, out } = self;
        let (count, area) = (planes.count(), planes.height * planes.width);
        let lanes = S::F32_LANES;
        // Fewer registers hold fewer sums.
        let wide = if lanes == LANES { VECTORS } else { 1 } * lanes;
        let round = (ROUND / packed.inputs).next_multiple_of(wide);
        let patch = places.len();
        for begin in (0..count).step_by(round) {
            let end = (begin + round).min(count);
            for (block, out) in out.chunks_mut(OUTPUTS * area).enumerate() {
                let o = first + block * OUTPUTS;
                let weight = &packed.weight[o * patch..][..OUTPUTS * patch];
                let mut bias = [0.0; OUTPUTS];
                let known = out.len() / area;
                bias[..known].copy_from_slice(&packed.bias[o..][..known]);
                let mut at = begin;
                while at < end {
                    let mut sums = [[0.0; VECTORS * LANES]; OUTPUTS];
                    let x = &laid_out[at..];
                    let left = end - at;
                    let done = if left > 2 * lanes && wide > 2 * lanes {
                        block_of::<S, 3>(simd, weight, &bias, places, x, &mut sums)
                    } else if left > lanes && wide > lanes {
                        block_of::<S, 2>(simd, weight, &bias, places, x, &mut sums)
                    } else {
                        block_of::<S, 1>(simd, weight, &bias, places, x, &mut sums)
                    };
                    let done = done.min(left);
                    for (sums, out) in sums.iter().zip(out.chunks_exact_mut(area)) {
                        planes.keep(&sums[..done], at, packed.shape.relu, out);
                    }
                    at += done;
                }
            }
        }
    }
}

/// Sums of one block: `VECTORS` vectors of results of `OUTPUTS` channels. Returns how many results of each that is.
#[inline(always)]
fn block_of<S: Simd, const COUNT: usize>(
    simd: S,
    weight: &[f32],
    bias: &[f32; OUTPUTS],
    places: &[usize],
    x: &[f32],
    sums: &mut [[f32; VECTORS * LANES]; OUTPUTS],
) -> usize {
    let length = COUNT * S::F32_LANES;
    let mut totals = bias.map(|b| [simd.splat_f32s(b); COUNT]);
    for (weights, &place) in weight.chunks_exact(OUTPUTS).zip(places) {
        let (run, _) = S::as_simd_f32s(&x[place..][..length]);
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

impl Planes {
    /// Copies results from the `at`-th on to one channel of the output, without those between lines.
    #[inline(always)]
    fn keep(&self, mut sums: &[f32], at: usize, relu: bool, out: &mut [f32]) {
        let (mut y, mut x) = (at / self.pitch, at % self.pitch);
        while !sums.is_empty() && y < self.height {
            let (line, rest) = sums.split_at((self.pitch - x).min(sums.len()));
            let kept = self.width.saturating_sub(x).min(line.len());
            if kept > 0 {
                let to = &mut out[y * self.width + x..][..kept];
                // What is no number stays none.
                let value = |v: f32| if relu && v < 0.0 { 0.0 } else { v };
                to.iter_mut().zip(line).for_each(|(to, &v)| *to = value(v));
            }
            (y, x, sums) = (y + 1, 0, rest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{ConvolutionShape, FrozenConvolution, convolve};
    use crate::noise::Noise;
    use candle_core::{DType, Device, Result, Tensor};

    /// Kernels, strides and paddings of Inception, and images that are no multiples of anything.
    #[test]
    fn it_is_the_convolution_in_f64() -> Result<()> {
        let mut noise = Noise::new(11);
        let mut draw = |shape: &[usize]| noise.normal_tensor(shape, &Device::Cpu);
        let mut case = |kernel: [usize; 2],
                        stride,
                        padding,
                        channels: [usize; 2],
                        x: [usize; 3]|
         -> Result<()> {
            let [inputs, outputs] = channels;
            let [batch, height, width] = x;
            let shape = ConvolutionShape { stride, padding, relu: outputs % 2 == 0 };
            let x = draw(&[batch, inputs, height, width])?;
            let weight = draw(&[outputs, inputs, kernel[0], kernel[1]])?;
            let bias = draw(&[outputs])?;
            let wide = |t: &Tensor| t.to_dtype(DType::F64);
            let right = convolve(&wide(&x)?, &wide(&weight)?, &wide(&bias)?, shape)?;
            let ours = FrozenConvolution::new(weight, bias, shape)?.forward(&x)?;
            assert_eq!(ours.dims(), right.dims(), "kernel {kernel:?}, stride {stride}, padding {padding:?}");
            let off = (wide(&ours)? - right)?.abs()?.max_all()?.to_scalar::<f64>()?;
            assert!(off < 1e-4, "kernel {kernel:?}, stride {stride}, padding {padding:?}: off by {off:e}");
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
    fn what_does_not_fit_is_an_error() -> Result<()> {
        let zeros = |shape: &[usize]| Tensor::zeros(shape, DType::F32, &Device::Cpu);
        let shape = ConvolutionShape { stride: 1, padding: [0, 0], relu: false };
        assert!(FrozenConvolution::new(zeros(&[4, 2, 3, 3])?, zeros(&[5])?, shape).is_err());
        let frozen = FrozenConvolution::new(zeros(&[4, 2, 3, 3])?, zeros(&[4])?, shape)?;
        assert!(frozen.forward(&zeros(&[1, 3, 8, 8])?).is_err());
        assert!(frozen.forward(&zeros(&[1, 2, 2, 8])?).is_err());
        Ok(())
    }
}
