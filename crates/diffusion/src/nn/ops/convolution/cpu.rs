//! Convolution in `f32` on the CPU, as a matrix product of the weight and unrolled patches. A tile has many pixels and,
//! where images are small, many images, so that the product is wide enough to be fast.
#![expect(unsafe_code, reason = "tiles of one image write interleaved rows of the output")]

use super::shape::{Convolution, Sizes};
use super::unroll::{Tile, for_each_channel_group, tiles, unroll};
use crate::gradients::accumulate;
use crate::nn::cpu::disjoint::DisjointMut;
use crate::nn::cpu::matmul::{Matrix, Threads, multiply, multiply_block};
use crate::nn::cpu::scratch::with_scratch;
use crate::nn::cpu::simd::{sum, vectorized};
use crate::nn::cpu::slices;
use candle_core::{CpuStorage, CustomOp3, Layout, Result, Shape, Tensor, bail};
use rayon::prelude::*;

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
            bail!("convolution: the bias has {} values for {} outputs", bias.len(), s.outputs);
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
            dw.map(|v| accumulate(weight, v)).transpose()?.flatten(),
            db.map(|v| slices::tensor(v, bias.shape())).transpose()?,
        ))
    }
}

/// For every tile: output (outputs, pixels) = weight x patches + bias.
fn forward(s: &Sizes, x: &[f32], weight: &[f32], bias: Option<&[f32]>) -> Vec<f32> {
    let pixels = s.pixels();
    let len = s.batch * s.outputs * pixels;
    let mut y = Vec::new();
    let tiles = tiles(s);
    let threads = if tiles.len() > 1 { Threads::Caller } else { Threads::Pool };
    let output = DisjointMut::uninitialised(&mut y, len);
    let run = |tile: &Tile| {
        let per_image = (tile.y1 - tile.y0) * s.out_width;
        let here = per_image * tile.images;
        let start = tile.first * s.outputs * pixels + tile.y0 * s.out_width;
        if tile.images == 1 {
            if let Some(bias) = bias {
                for (o, &b) in bias.iter().enumerate() {
                    // SAFETY: no other tile has these pixels of output channel o.
                    unsafe { output.write(start + o * pixels, std::iter::repeat_n(b, here)) };
                }
            }
            let accumulate = bias.is_some();
            if s.is_pointwise() {
                let image = &x[tile.first * s.image()..][..s.image()];
                let patches = Matrix::with_stride(&image[tile.y0 * s.out_width..], s.inputs, here, pixels);
                let weight = s.weight_of_channels(weight, 0, s.inputs);
                // SAFETY: no other tile has these pixels; with `accumulate` the bias was written first.
                unsafe { multiply_block(&output, start, pixels, accumulate, weight, patches, threads) };
            } else {
                for_each_channel_group(s, x, weight, *tile, threads, |first, weight, patches| {
                    let accumulate = accumulate || !first;
                    // SAFETY: as above; later groups add to the first one's result.
                    unsafe { multiply_block(&output, start, pixels, accumulate, weight, patches, threads) };
                });
            }
            if s.relu {
                for o in 0..s.outputs {
                    // SAFETY: as above; the product has been written.
                    let values = unsafe { output.part(start + o * pixels, here) };
                    values.iter_mut().for_each(|v| *v = at_least(*v, 0.0));
                }
            }
        } else {
            with_scratch(s.outputs * here, |product| {
                for_each_channel_group(s, x, weight, *tile, threads, |first, weight, patches| {
                    multiply(product, here, !first, weight, patches, threads);
                });
                for p in 0..tile.images {
                    for o in 0..s.outputs {
                        let from = &product[o * here + p * per_image..][..per_image];
                        let b = bias.map_or(0.0, |bias| bias[o]);
                        let least = if s.relu { 0.0 } else { f32::NEG_INFINITY };
                        let values = from.iter().map(|&f| at_least(f + b, least));
                        // SAFETY: no other tile has channel o of this image.
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
    // SAFETY: this many values were reserved, and the tiles, which cover all pixels of all images, wrote them.
    unsafe { y.set_len(len) };
    y
}

/// The larger of the two values; NaN stays NaN.
fn at_least(value: f32, least: f32) -> f32 {
    if value < least { least } else { value }
}

/// The gradient of the input.
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
            multiply(columns, pixels, false, weight, gradient, Threads::Caller);
            // The inverse of unrolling (col2im): adds each value to the pixel it was copied from.
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

/// The gradient of the input for stride 1: a convolution of the output's gradient with the kernel rotated by 180 degrees.
fn backward_by_flipping(s: &Sizes, gradient: &[f32], weight: &[f32]) -> Vec<f32> {
    let area = s.area();
    let mut rotated = vec![0.0; weight.len()];
    rotated.par_chunks_mut(s.outputs * area).enumerate().for_each(|(c, rotated)| {
        for (o, to) in rotated.chunks_exact_mut(area).enumerate() {
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
    forward(&back, gradient, &rotated, None)
}

/// The gradient of the weight. Tasks split the input channels, and each sums over all pixels in the same order.
fn backward_to_weight(s: &Sizes, x: &[f32], gradient: &[f32]) -> Vec<f32> {
    let (pixels, area) = (s.pixels(), s.area());
    let tiles = tiles(s);
    // Enough channels per task for an efficient product, and at least four tasks.
    let per_task = s.inputs.div_ceil(4).max(16.min(s.inputs));
    let tasks: Vec<usize> = (0..s.inputs).step_by(per_task).collect();
    let mut dw = vec![0.0; s.outputs * s.patch()];
    let output = DisjointMut::new(&mut dw);
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
                let (offset, row_stride, accumulate) = (c0 * area, s.patch(), i > 0);
                // SAFETY: no other task writes the columns of these input channels.
                unsafe {
                    multiply_block(&output, offset, row_stride, accumulate, g, columns, Threads::Caller);
                }
            });
        }
    });
    dw
}
