//! Two-dimensional convolution as a matrix product: patches are unrolled into columns (im2col), many pixels
//! and, where images are small, many images at a time, so that the product is wide enough to be fast.
#![expect(unsafe_code, reason = "tiles of one image write interleaved rows of the output")]

use super::composed::{self, Composed};
use super::disjoint::Disjoint;
use super::kernels::exchange;
use super::matmul::{Matrix, Threads, multiply};
use super::scratch::with_scratch;
use super::simd::{sum, vectorized};
use super::sums::{add_to_planes, over_planes};
use super::{has_own_kernel, slices};
use crate::gradients::leave;
use candle_core::{CpuStorage, CustomOp3, Layout, Result, Shape, Tensor, bail};
use rayon::prelude::*;

/// `x`: (batch, inputs, height, width); `weight`: (outputs, inputs, kernel, kernel); `bias`: (outputs).
/// Zero padding on every side. Returns (batch, outputs, height', width').
///
/// # Errors
/// Shapes that do not fit.
pub fn conv2d(x: &Tensor, weight: &Tensor, bias: &Tensor, stride: usize, padding: usize) -> Result<Tensor> {
    convolve(x, weight, bias, ConvolutionShape { stride, padding: [padding; 2], relu: false })
}

/// How a convolution moves, and what follows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConvolutionShape {
    /// Pixels between patches, both ways.
    pub stride: usize,
    /// Zeros above and below, and left and right.
    pub padding: [usize; 2],
    /// Negative results become 0, in the same pass.
    pub relu: bool,
}

/// As [`conv2d`], for kernels that need not be square, (outputs, inputs, height, width).
///
/// # Errors
/// Shapes that do not fit.
pub fn convolve(x: &Tensor, weight: &Tensor, bias: &Tensor, shape: ConvolutionShape) -> Result<Tensor> {
    let x = x.contiguous()?;
    if has_own_kernel(&x) {
        return x.apply_op3(weight, bias, Convolution(shape));
    }
    composed::apply(Convolution(shape), &[&x, weight, bias])
}

#[derive(Clone, Copy)]
pub(in crate::nn) struct Convolution(pub(in crate::nn) ConvolutionShape);

/// The sizes of one convolution.
#[derive(Clone, Copy)]
struct Sizes {
    batch: usize,
    inputs: usize,
    height: usize,
    width: usize,
    outputs: usize,
    /// Height and width.
    kernel: [usize; 2],
    stride: usize,
    /// Above and below, left and right.
    padding: [usize; 2],
    relu: bool,
    out_height: usize,
    out_width: usize,
}

impl Sizes {
    fn new(op: Convolution, x: &[usize], weight: &[usize]) -> Result<Self> {
        let (&[batch, inputs, height, width], &[outputs, weight_inputs, kernel_height, kernel_width]) =
            (x, weight)
        else {
            bail!(
                "convolution: needs an image (batch, channels, height, width) and a kernel (outputs, inputs, \
                 height, width), not {x:?} and {weight:?}"
            )
        };
        let ConvolutionShape { stride, padding, relu } = op.0;
        let kernel = [kernel_height, kernel_width];
        let fits = |side: usize, i: usize| side + 2 * padding[i] >= kernel[i] && padding[i] < kernel[i];
        if inputs != weight_inputs || !fits(height, 0) || !fits(width, 1) {
            bail!("convolution: weight {weight:?} with padding {padding:?} does not fit the image {x:?}");
        }
        let out = |side: usize, i: usize| (side + 2 * padding[i] - kernel[i]) / stride + 1;
        let (out_height, out_width) = (out(height, 0), out(width, 1));
        Ok(Self {
            batch,
            inputs,
            height,
            width,
            outputs,
            kernel,
            stride,
            padding,
            relu,
            out_height,
            out_width,
        })
    }

    fn pixels(&self) -> usize {
        self.out_height * self.out_width
    }

    /// Values of one unrolled patch.
    fn patch(&self) -> usize {
        self.inputs * self.area()
    }

    /// Values of a patch in one channel.
    fn area(&self) -> usize {
        self.kernel[0] * self.kernel[1]
    }

    fn image(&self) -> usize {
        self.inputs * self.height * self.width
    }

    /// The weight's columns for input channels `c0..c1`.
    fn of_channels<'a>(&self, weight: &'a [f32], c0: usize, c1: usize) -> Matrix<'a> {
        Matrix::with_stride(&weight[c0 * self.area()..], self.outputs, (c1 - c0) * self.area(), self.patch())
    }

    /// Whether unrolling would only copy.
    fn is_pointwise(&self) -> bool {
        self.kernel == [1, 1] && self.stride == 1 && self.padding == [0, 0]
    }
}

/// Some output pixels: rows `y0..y1` of `images` images from `first` on. More than one image only if
/// all their rows are meant.
#[derive(Clone, Copy)]
struct Tile {
    first: usize,
    images: usize,
    y0: usize,
    y1: usize,
}

/// Output pixels of a tile at most: enough for the product's blocking, small enough for the caches.
const TILE_PIXELS: usize = 512;

/// Values of unrolled columns at a time: half a megabyte, which the second cache of a core holds beside the weight.
const COLUMNS: usize = 1 << 17;

/// Splits the output. Independent of the number of threads, so that results are too.
fn tiles(s: &Sizes) -> Vec<Tile> {
    let pixels = s.pixels();
    let target = (s.batch * pixels / 4).clamp(64, TILE_PIXELS);
    if pixels >= target {
        let rows = (target / s.out_width).clamp(1, s.out_height);
        (0..s.batch)
            .flat_map(|first| {
                (0..s.out_height).step_by(rows).map(move |y0| Tile {
                    first,
                    images: 1,
                    y0,
                    y1: (y0 + rows).min(s.out_height),
                })
            })
            .collect()
    } else {
        let images = target / pixels;
        (0..s.batch)
            .step_by(images)
            .map(|first| Tile { first, images: images.min(s.batch - first), y0: 0, y1: s.out_height })
            .collect()
    }
}

/// Unrolls the patches of a tile, for input channels `c0..c1`: (channels * kernel^2, pixels of the tile).
fn unroll(s: &Sizes, x: &[f32], tile: Tile, c0: usize, c1: usize, columns: &mut [f32]) {
    let per_image = (tile.y1 - tile.y0) * s.out_width;
    let pixels = per_image * tile.images;
    for p in 0..tile.images {
        let image = &x[(tile.first + p) * s.image()..][..s.image()];
        for c in c0..c1 {
            let channel = &image[c * s.height * s.width..][..s.height * s.width];
            for ky in 0..s.kernel[0] {
                for kx in 0..s.kernel[1] {
                    let row = (c - c0) * s.area() + ky * s.kernel[1] + kx;
                    let out = &mut columns[row * pixels + p * per_image..][..per_image];
                    for (y, out) in (tile.y0..tile.y1).zip(out.chunks_exact_mut(s.out_width)) {
                        unroll_row(s, channel, y * s.stride + ky, kx, out);
                    }
                }
            }
        }
    }
}

/// One row of output pixels of one kernel element; `padded_y` counts from the padding's first row.
#[inline]
fn unroll_row(s: &Sizes, channel: &[f32], padded_y: usize, kx: usize, out: &mut [f32]) {
    let [above, left] = s.padding;
    if padded_y < above || padded_y - above >= s.height {
        out.fill(0.0);
        return;
    }
    let line = &channel[(padded_y - above) * s.width..][..s.width];
    if s.stride == 1 {
        // out[i] = line[i + kx - left] where that exists
        let begin = left.saturating_sub(kx).min(out.len());
        let end = (s.width + left - kx).min(out.len()).max(begin);
        out[..begin].fill(0.0);
        out[begin..end].copy_from_slice(&line[begin + kx - left..end + kx - left]);
        out[end..].fill(0.0);
    } else {
        for (i, out) in out.iter_mut().enumerate() {
            let x = i * s.stride + kx;
            *out = if x < left || x - left >= s.width { 0.0 } else { line[x - left] };
        }
    }
}

/// Hands over the patches of a tile and the weight's columns that they meet, as many input channels at a time as a core's
/// cache holds the unrolled columns of, and whether these are the first.
fn by_channels(
    s: &Sizes,
    x: &[f32],
    weight: &[f32],
    tile: Tile,
    threads: Threads,
    mut take: impl FnMut(bool, Matrix<'_>, Matrix<'_>),
) {
    let here = (tile.y1 - tile.y0) * s.out_width * tile.images;
    let fitting = match threads {
        Threads::Caller => (COLUMNS / (s.area() * here)).clamp(1, s.inputs),
        Threads::Pool => s.inputs,
    };
    for c0 in (0..s.inputs).step_by(fitting) {
        let c1 = (c0 + fitting).min(s.inputs);
        let rows = (c1 - c0) * s.area();
        with_scratch(rows * here, |columns| {
            unroll(s, x, tile, c0, c1, columns);
            take(c0 == 0, s.of_channels(weight, c0, c1), Matrix::new(columns, rows, here));
        });
    }
}

/// `out` (outputs, pixels of the tile) = weight x patches of the tile.
fn forward(s: &Sizes, x: &[f32], weight: &[f32], bias: Option<&[f32]>) -> Vec<f32> {
    let pixels = s.pixels();
    let len = s.batch * s.outputs * pixels;
    let mut y = Vec::new();
    let tiles = tiles(s);
    let threads = if tiles.len() > 1 { Threads::Caller } else { Threads::Pool };
    let output = Disjoint::of_room(&mut y, len);
    let run = |tile: &Tile| {
        let per_image = (tile.y1 - tile.y0) * s.out_width;
        let here = per_image * tile.images;
        let start = tile.first * s.outputs * pixels + tile.y0 * s.out_width;
        if tile.images == 1 {
            if let Some(bias) = bias {
                for (o, &b) in bias.iter().enumerate() {
                    // SAFETY: this tile's pixels of output channel o: no other tile has them.
                    unsafe { output.write(start + o * pixels, std::iter::repeat_n(b, here)) };
                }
            }
            let accumulate = bias.is_some();
            if s.is_pointwise() {
                let image = &x[tile.first * s.image()..][..s.image()];
                let patches = Matrix::with_stride(&image[tile.y0 * s.out_width..], s.inputs, here, pixels);
                let weight = s.of_channels(weight, 0, s.inputs);
                // SAFETY: as above, over all output channels.
                unsafe { output.multiply(start, pixels, accumulate, weight, patches, threads) };
            } else {
                by_channels(s, x, weight, *tile, threads, |first, weight, patches| {
                    // SAFETY: as above.
                    unsafe {
                        output.multiply(start, pixels, accumulate || !first, weight, patches, threads);
                    }
                });
            }
            if s.relu {
                for o in 0..s.outputs {
                    // SAFETY: as above; the product is done.
                    let values = unsafe { output.part(start + o * pixels, here) };
                    values.iter_mut().for_each(|v| *v = at_least(*v, 0.0));
                }
            }
        } else {
            with_scratch(s.outputs * here, |product| {
                by_channels(s, x, weight, *tile, threads, |first, weight, patches| {
                    multiply(product, here, !first, 1.0, weight, patches, threads);
                });
                for p in 0..tile.images {
                    for o in 0..s.outputs {
                        let from = &product[o * here + p * per_image..][..per_image];
                        let b = bias.map_or(0.0, |bias| bias[o]);
                        let least = if s.relu { 0.0 } else { f32::NEG_INFINITY };
                        let values = from.iter().map(|&f| at_least(f + b, least));
                        // SAFETY: channel o of an image of this tile: no other tile has it.
                        unsafe { output.write(start + (p * s.outputs + o) * pixels, values) };
                    }
                }
            });
        }
    };
    if tiles.len() > 1 {
        tiles.par_iter().for_each(run)
    } else {
        tiles.iter().for_each(run)
    }
    // SAFETY: room for as many was reserved; the tiles cover all pixels of all images, and each tile wrote all its
    // outputs.
    unsafe { y.set_len(len) };
    y
}

/// The larger of the two; what is no number stays none.
fn at_least(value: f32, least: f32) -> f32 {
    if value < least { least } else { value }
}

/// Gradient of the input.
fn backward_to_input(s: &Sizes, gradient: &[f32], weight: &[f32]) -> Vec<f32> {
    if s.stride == 1 {
        return backward_by_flipping(s, gradient, weight);
    }
    let (pixels, patch, area) = (s.pixels(), s.patch(), s.area());
    let [above, left] = s.padding;
    let mut dx = vec![0.0; s.batch * s.image()];
    let weight = Matrix::new(weight, s.outputs, patch).transposed();
    dx.par_chunks_mut(s.image()).zip(gradient.par_chunks(s.outputs * pixels)).for_each(|(dx, gradient)| {
        with_scratch(patch * pixels, |columns| {
            let gradient = Matrix::new(gradient, s.outputs, pixels);
            multiply(columns, pixels, false, 1.0, weight, gradient, Threads::Caller);
            // Rolls patches back up: each value returns to the pixel it was copied from.
            for (row, columns) in columns.chunks_exact(pixels).enumerate() {
                let (c, ky, kx) = (row / area, row % area / s.kernel[1], row % s.kernel[1]);
                let channel = &mut dx[c * s.height * s.width..][..s.height * s.width];
                for (y, columns) in columns.chunks_exact(s.out_width).enumerate() {
                    let padded_y = y * s.stride + ky;
                    if padded_y < above || padded_y - above >= s.height {
                        continue;
                    }
                    let line = &mut channel[(padded_y - above) * s.width..][..s.width];
                    for (i, &v) in columns.iter().enumerate() {
                        let x = i * s.stride + kx;
                        if x >= left && x - left < s.width {
                            line[x - left] += v;
                        }
                    }
                }
            }
        });
    });
    dx
}

/// With stride 1 the input's gradient is a convolution of the output's with the kernel turned by 180 degrees.
fn backward_by_flipping(s: &Sizes, gradient: &[f32], weight: &[f32]) -> Vec<f32> {
    let area = s.area();
    let mut turned = vec![0.0; weight.len()];
    turned.par_chunks_mut(s.outputs * area).enumerate().for_each(|(c, turned)| {
        for (o, to) in turned.chunks_exact_mut(area).enumerate() {
            let kernel = &weight[o * s.patch() + c * area..][..area];
            to.iter_mut().rev().zip(kernel).for_each(|(t, &k)| *t = k);
        }
    });
    let back = Sizes {
        inputs: s.outputs,
        outputs: s.inputs,
        height: s.out_height,
        width: s.out_width,
        out_height: s.height,
        out_width: s.width,
        padding: [s.kernel[0] - 1 - s.padding[0], s.kernel[1] - 1 - s.padding[1]],
        relu: false,
        ..*s
    };
    forward(&back, gradient, &turned, None)
}

/// Gradient of the weight. Threads share out the input channels: each sums over all pixels in the same order.
fn backward_to_weight(s: &Sizes, x: &[f32], gradient: &[f32]) -> Vec<f32> {
    let (pixels, area) = (s.pixels(), s.area());
    let tiles = tiles(s);
    // Channels per task: wide enough for the product, at least as many tasks as a laptop has cores.
    let per_task = s.inputs.div_ceil(4).max(16.min(s.inputs));
    let tasks: Vec<usize> = (0..s.inputs).step_by(per_task).collect();
    let mut dw = vec![0.0; s.outputs * s.patch()];
    let output = Disjoint::new(&mut dw);
    tasks.par_iter().for_each(|&c0| {
        let c1 = (c0 + per_task).min(s.inputs);
        let rows = (c1 - c0) * area;
        for (i, &tile) in tiles.iter().enumerate() {
            let per_image = (tile.y1 - tile.y0) * s.out_width;
            let here = per_image * tile.images;
            with_scratch((rows + s.outputs) * here, |scratch| {
                let (columns, gathered) = scratch.split_at_mut(rows * here);
                unroll(s, x, tile, c0, c1, columns);
                let from = &gradient[tile.first * s.outputs * pixels..];
                let g = if tile.images == 1 {
                    Matrix::with_stride(&from[tile.y0 * s.out_width..], s.outputs, here, pixels)
                } else {
                    for p in 0..tile.images {
                        for o in 0..s.outputs {
                            gathered[o * here + p * per_image..][..per_image]
                                .copy_from_slice(&from[(p * s.outputs + o) * pixels..][..per_image]);
                        }
                    }
                    Matrix::new(gathered, s.outputs, here)
                };
                let columns = Matrix::new(columns, rows, here).transposed();
                // SAFETY: the columns of these input channels: no other task writes them.
                unsafe { output.multiply(c0 * area, s.patch(), i > 0, g, columns, Threads::Caller) };
            });
        }
    });
    dw
}

/// An image with zeros around it: above and below, left and right.
fn padded(x: &Tensor, [above, below]: [usize; 2], [left, right]: [usize; 2]) -> Result<Tensor> {
    x.pad_with_zeros(2, above, below)?.pad_with_zeros(3, left, right)
}

/// Every `stride`-th of `count` values along a dimension, from `first`.
fn every(x: &Tensor, dim: usize, first: usize, stride: usize, count: usize) -> Result<Tensor> {
    if stride == 1 {
        return x.narrow(dim, first, count);
    }
    let x = x.contiguous()?;
    let places: Vec<u32> = (0..count).map(|i| (first + i * stride) as u32).collect();
    x.index_select(&Tensor::from_vec(places, count, x.device())?, dim)
}

/// Zeros between the values along a dimension, so that they stand `stride` apart.
fn spread(x: &Tensor, dim: usize, stride: usize) -> Result<Tensor> {
    let mut dims = x.dims().to_vec();
    let count = dims[dim];
    dims[dim] = count * stride;
    let apart = x.unsqueeze(dim + 1)?.pad_with_zeros(dim + 1, 0, stride - 1)?.reshape(dims)?;
    apart.narrow(dim, 0, (count - 1) * stride + 1)
}

impl Composed for Convolution {
    fn name(&self) -> &'static str {
        "convolution"
    }

    fn forward(&self, operands: &[Tensor]) -> Result<Tensor> {
        let [x, weight, bias] = operands else { bail!("convolution: {} operands", operands.len()) };
        let ConvolutionShape { stride, padding: [vertical, horizontal], relu } = self.0;
        let (_, _, height, width) = x.dims4()?;
        let (_, _, rows, columns) = weight.dims4()?;
        if height + 2 * vertical < rows || width + 2 * horizontal < columns {
            bail!("convolution: weight {:?} does not fit the image {:?}", weight.dims(), x.dims());
        }
        // The stock operation knows one padding for both ways.
        let y = if vertical == horizontal {
            x.conv2d(weight, vertical, stride, 1, 1)?
        } else {
            padded(x, [vertical; 2], [horizontal; 2])?.conv2d(weight, 0, stride, 1, 1)?
        };
        let y = add_to_planes(&y, bias)?;
        if relu { y.relu() } else { Ok(y) }
    }

    /// The input's is a convolution again, of the gradient with the weight turned about; the weight's is, for each
    /// element of the kernel, a product of the gradient and the pixels that the element saw.
    fn backward(
        &self,
        operands: &[Tensor],
        y: &Tensor,
        gradient: &Tensor,
        wanted: &[bool],
    ) -> Result<Vec<Option<Tensor>>> {
        let [x, weight, bias] = operands else { bail!("convolution: {} operands", operands.len()) };
        let s = Sizes::new(*self, x.dims(), weight.dims())?;
        let (dtype, [above, left], [rows, columns]) = (x.dtype(), s.padding, s.kernel);
        let gradient = if s.relu { (gradient * y.gt(0.0)?.to_dtype(dtype)?)? } else { gradient.clone() };
        let to_x = || {
            let apart = if s.stride == 1 {
                gradient.clone()
            } else {
                spread(&spread(&gradient, 2, s.stride)?, 3, s.stride)?.contiguous()?
            };
            let (above, left) = (rows - 1 - above, columns - 1 - left);
            let below = s.height + rows - 1 - above - apart.dim(2)?;
            let right = s.width + columns - 1 - left - apart.dim(3)?;
            let turned = weight.flatten_from(2)?.flip(&[2])?.reshape(weight.shape())?;
            let turned = turned.transpose(0, 1)?.contiguous()?;
            if [above, left, right].iter().all(|&zeros| zeros == below) {
                apart.conv2d(&turned, below, 1, 1, 1)
            } else {
                padded(&apart, [above, below], [left, right])?.conv2d(&turned, 0, 1, 1, 1)
            }
        };
        let to_weight = || {
            // Channels first: one product over the pixels of all images, whose sum is taken in f32 at least.
            let channels_first = |t: &Tensor| {
                let (batch, channels, height, width) = t.dims4()?;
                exchange(&t.reshape((batch, channels, height * width))?)?
                    .reshape((channels, batch, height, width))
            };
            let g = channels_first(&gradient)?.flatten_from(1)?;
            let x = channels_first(&padded(x, [above; 2], [left; 2])?)?;
            let seen = |i: usize| {
                let rows = every(&x, 2, i / columns, s.stride, s.out_height)?;
                let pixels = every(&rows, 3, i % columns, s.stride, s.out_width)?;
                g.matmul(&pixels.reshape((s.inputs, ()))?.t()?)
            };
            let elements = (0..rows * columns).map(seen).collect::<Result<Vec<_>>>()?;
            Tensor::stack(&elements, 2)?.reshape(weight.shape())
        };
        let to_bias = || over_planes(&gradient)?.to_dtype(bias.dtype());
        Ok(vec![
            wanted[0].then(to_x).transpose()?,
            wanted[1].then(to_weight).transpose()?,
            wanted[2].then(to_bias).transpose()?,
        ])
    }
}

impl CustomOp3 for Convolution {
    fn name(&self) -> &'static str {
        "convolution"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        weight: &CpuStorage,
        weight_layout: &Layout,
        bias: &CpuStorage,
        bias_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let s = Sizes::new(*self, x_layout.dims(), weight_layout.dims())?;
        let bias = slices::of_storage(bias, bias_layout)?;
        if bias.len() != s.outputs {
            bail!("convolution: {} biases for {} outputs", bias.len(), s.outputs);
        }
        let (x, weight) = (slices::of_storage(x, x_layout)?, slices::of_storage(weight, weight_layout)?);
        let shape = (s.batch, s.outputs, s.out_height, s.out_width).into();
        Ok((CpuStorage::F32(forward(&s, x, weight, Some(bias))), shape))
    }

    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        bias: &Tensor,
        y: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let s = Sizes::new(*self, x.dims(), weight.dims())?;
        let gradient = if s.relu { (gradient * y.gt(0.0)?.to_dtype(y.dtype())?)? } else { gradient.clone() };
        let gradient = gradient.contiguous()?;
        let (dx, dw, db) = slices::with_all([x, weight, &gradient], |[xs, ws, gs]| {
            let dx = x.track_op().then(|| backward_to_input(&s, gs, ws));
            let dw = weight.track_op().then(|| backward_to_weight(&s, xs, gs));
            let db = bias.track_op().then(|| {
                vectorized(
                    #[inline(always)]
                    || {
                        let mut db = vec![0f32; s.outputs];
                        for (i, plane) in gs.chunks_exact(s.pixels()).enumerate() {
                            db[i % s.outputs] += sum(plane.len(), |j| plane[j]);
                        }
                        db
                    },
                )
            });
            (dx, dw, db)
        })?;
        Ok((
            dx.map(|v| slices::tensor(v, x.shape())).transpose()?,
            dw.map(|v| leave(weight, v)).transpose()?.flatten(),
            db.map(|v| slices::tensor(v, bias.shape())).transpose()?,
        ))
    }
}
