//! Group normalisation, with SiLU folded in where a block applies it next.

use super::activation::Activation;
use super::composed::{self, Composed};
use super::kernels::{self, Launch, Number};
use super::layer_norm::{back_through, normalise};
use super::simd::{moments, sigmoid, sum, vectorized};
use super::sums::over_rows;
use super::{has_own_kernel, slices, wide};
use candle_core::{CpuStorage, CustomOp3, DType, Layout, Result, Shape, Tensor, bail};
use rayon::prelude::*;

/// How channels are grouped and what follows.
#[derive(Clone, Copy, Debug)]
pub struct GroupNormShape {
    /// Groups; must divide the channels.
    pub groups: usize,
    /// Added to the variance.
    pub epsilon: f64,
    /// Whether SiLU follows.
    pub silu: bool,
}

/// `x`: (batch, channels, ..); `weight`, `bias`: (channels).
///
/// # Errors
/// Shapes that do not fit.
pub fn group_norm(x: &Tensor, weight: &Tensor, bias: &Tensor, shape: GroupNormShape) -> Result<Tensor> {
    let x = x.contiguous()?;
    let channels = x.dim(1)?;
    if shape.groups == 0
        || channels % shape.groups != 0
        || weight.dims() != [channels]
        || bias.dims() != [channels]
    {
        bail!("group norm: {channels} channels, {} groups, weight {:?}", shape.groups, weight.dims());
    }
    if !has_own_kernel(&x) {
        return composed::apply(shape, &[&x, weight, bias]);
    }
    x.apply_op3(weight, bias, shape)
}

/// What both composed passes begin with, in f32 at least.
struct Normalised {
    /// (batch, channels, pixels).
    value: Tensor,
    /// One over each group's deviation: (batch, groups, 1).
    inverse: Tensor,
    /// (1, channels, 1).
    weight: Tensor,
    bias: Tensor,
}

impl GroupNormShape {
    fn normalise(&self, operands: &[Tensor]) -> Result<Normalised> {
        let [x, weight, bias] = operands else { bail!("group norm: {} operands", operands.len()) };
        let wide = wide(x.dtype());
        let (batch, channels) = (x.dim(0)?, x.dim(1)?);
        let grouped = x.to_dtype(wide)?.reshape((batch, self.groups, ()))?;
        let (value, inverse) = normalise(&grouped, self.epsilon)?;
        let of_channels = |t: &Tensor| t.to_dtype(wide)?.reshape((1, channels, 1));
        Ok(Normalised {
            value: value.reshape((batch, channels, ()))?,
            inverse,
            weight: of_channels(weight)?,
            bias: of_channels(bias)?,
        })
    }
}

/// What the kernels' passes begin with.
struct Planes<'a> {
    shape: GroupNormShape,
    x: &'a Tensor,
    weight: &'a Tensor,
    bias: &'a Tensor,
    /// Mean and sum of squared deviations of each channel of each image, in f32: (batch, channels).
    means: Tensor,
    squares: Tensor,
}

impl<'a> Planes<'a> {
    /// `None` where the kernels do not serve.
    fn new(shape: GroupNormShape, operands: &'a [Tensor]) -> Result<Option<Self>> {
        let [x, weight, bias] = operands else { return Ok(None) };
        if !kernels::serve(&[x, weight, bias]) {
            return Ok(None);
        }
        let moments = (DType::F32, [x.dim(0)?, x.dim(1)?]);
        let pixels = x.elem_count() / (moments.1[0] * moments.1[1]);
        let [means, squares] = Launch::per_row("plane_moments", moments.1[0] * moments.1[1], pixels, &[x])
            .run([(moments.0, &moments.1); 2], &[Number::Whole(pixels)])?;
        Ok(Some(Self { shape, x, weight, bias, means, squares }))
    }

    /// A kernel with a block per plane.
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

    fn forward(&self) -> Result<Tensor> {
        let operands = [self.x, self.weight, self.bias, &self.means, &self.squares];
        let [y] = self.launch("group_norm", &operands, [(self.x.dtype(), self.x.dims())])?;
        Ok(y)
    }

    fn backward(&self, gradient: &Tensor, wanted: &[bool]) -> Result<Vec<Option<Tensor>>> {
        let Self { x, weight, bias, means, squares, .. } = self;
        let sums = (DType::F32, means.dims());
        let operands = [x, weight, bias, gradient, means, squares];
        let [plain, times_x] = self.launch("group_norm_sums", &operands, [sums; 2])?;
        let to_x = || -> Result<Tensor> {
            let operands = [x, weight, bias, gradient, means, squares, &plain, &times_x];
            let [dx] = self.launch("group_norm_back", &operands, [(x.dtype(), x.dims())])?;
            Ok(dx)
        };
        let over_batch = |sums: &Tensor, like: &Tensor| over_rows(sums)?.to_dtype(like.dtype());
        Ok(vec![
            wanted[0].then(to_x).transpose()?,
            wanted[1].then(|| over_batch(&times_x, weight)).transpose()?,
            wanted[2].then(|| over_batch(&plain, bias)).transpose()?,
        ])
    }
}

impl Composed for GroupNormShape {
    fn name(&self) -> &'static str {
        "group-norm"
    }

    fn forward(&self, operands: &[Tensor]) -> Result<Tensor> {
        if let Some(planes) = Planes::new(*self, operands)? {
            return planes.forward();
        }
        let n = self.normalise(operands)?;
        let y = n.value.broadcast_mul(&n.weight)?.broadcast_add(&n.bias)?.reshape(operands[0].shape())?;
        (if self.silu { y.silu()? } else { y }).to_dtype(operands[0].dtype())
    }

    /// As [`GroupNormShape::backward_group`].
    fn backward(
        &self,
        operands: &[Tensor],
        _y: &Tensor,
        gradient: &Tensor,
        wanted: &[bool],
    ) -> Result<Vec<Option<Tensor>>> {
        if let Some(planes) = Planes::new(*self, operands)? {
            return planes.backward(gradient, wanted);
        }
        let n = self.normalise(operands)?;
        let [x, weight, bias] = operands else { bail!("group norm: {} operands", operands.len()) };
        let mut h = gradient.to_dtype(n.value.dtype())?.reshape(n.value.shape())?;
        if self.silu {
            h = (h * Activation::Silu.slopes(&n.value.broadcast_mul(&n.weight)?.broadcast_add(&n.bias)?)?)?;
        }
        let to_x = || {
            let grouped = |t: &Tensor| t.reshape((x.dim(0)?, self.groups, ()));
            let (value, h) = (grouped(&n.value)?, grouped(&h.broadcast_mul(&n.weight)?)?);
            back_through(&h, &value, &n.inverse)?.reshape(x.shape())?.to_dtype(x.dtype())
        };
        Ok(vec![
            wanted[0].then(to_x).transpose()?,
            wanted[1].then(|| (&h * &n.value)?.sum((0, 2))?.to_dtype(weight.dtype())).transpose()?,
            wanted[2].then(|| h.sum((0, 2))?.to_dtype(bias.dtype())).transpose()?,
        ])
    }
}

impl CustomOp3 for GroupNormShape {
    fn name(&self) -> &'static str {
        "group-norm"
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
        let x = slices::of_storage(x, x_layout)?;
        let (weight, bias) =
            (slices::of_storage(weight, weight_layout)?, slices::of_storage(bias, bias_layout)?);
        let dims = x_layout.dims();
        let pixels: usize = dims[2..].iter().product();
        let per_group = dims[1] / self.groups;
        let mut y = vec![0.0; x.len()];
        y.par_chunks_mut(per_group * pixels).zip(x.par_chunks(per_group * pixels)).enumerate().for_each(
            |(i, (y, x))| {
                vectorized(
                    #[inline(always)]
                    || {
                        let (mean, inverse) = moments(x, self.epsilon as f32);
                        let first = i % self.groups * per_group;
                        for (c, (y, x)) in y.chunks_exact_mut(pixels).zip(x.chunks_exact(pixels)).enumerate()
                        {
                            let scale = weight[first + c] * inverse;
                            let shift = bias[first + c] - mean * scale;
                            if self.silu {
                                for (y, &x) in y.iter_mut().zip(x) {
                                    let z = x.mul_add(scale, shift);
                                    *y = z * sigmoid(z);
                                }
                            } else {
                                for (y, &x) in y.iter_mut().zip(x) {
                                    *y = x.mul_add(scale, shift);
                                }
                            }
                        }
                    },
                );
            },
        );
        Ok((CpuStorage::F32(y), x_layout.shape().clone()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        bias: &Tensor,
        _y: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let gradient = gradient.contiguous()?;
        let channels = x.dim(1)?;
        let pixels: usize = x.dims()[2..].iter().product();
        let per_group = channels / self.groups;
        let planes = x.dim(0)? * channels;
        let mut dx = vec![0.0; x.elem_count()];
        // Per plane (image and channel): sums of the normalised output's gradient, plain and times x-hat.
        let (mut plain, mut times_x) = (vec![0.0; planes], vec![0.0; planes]);
        slices::with_all([x, weight, bias, &gradient], |[xs, weight, bias, gs]| {
            dx.par_chunks_mut(per_group * pixels)
                .zip(plain.par_chunks_mut(per_group))
                .zip(times_x.par_chunks_mut(per_group))
                .enumerate()
                .for_each(|(i, ((dx, plain), times_x))| {
                    let start = i * per_group * pixels;
                    let (x, g) = (&xs[start..][..dx.len()], &gs[start..][..dx.len()]);
                    let first = i % self.groups * per_group;
                    let weight = &weight[first..][..per_group];
                    let bias = &bias[first..][..per_group];
                    vectorized(
                        #[inline(always)]
                        || self.backward_group(x, g, weight, bias, pixels, dx, plain, times_x),
                    );
                });
        })?;
        let over_batch = |planes: &[f32]| {
            let mut total = vec![0f32; channels];
            for image in planes.chunks_exact(channels) {
                total.iter_mut().zip(image).for_each(|(t, &p)| *t += p);
            }
            total
        };
        Ok((
            Some(slices::tensor(dx, x.shape())?),
            Some(slices::tensor(over_batch(&times_x), weight.shape())?),
            Some(slices::tensor(over_batch(&plain), bias.shape())?),
        ))
    }
}

impl GroupNormShape {
    /// One group of one image. With x-hat the normalised input and h the gradient of the affine output,
    /// dx = (w h - mean(w h) - x-hat mean(w h x-hat)) / deviation.
    #[inline(always)]
    #[expect(
        clippy::too_many_arguments,
        reason = "three inputs, two parameters, three outputs of one formula"
    )]
    fn backward_group(
        &self,
        x: &[f32],
        g: &[f32],
        weight: &[f32],
        bias: &[f32],
        pixels: usize,
        dx: &mut [f32],
        plain: &mut [f32],
        times_x: &mut [f32],
    ) {
        let (mean, inverse) = moments(x, self.epsilon as f32);
        let (mut sum_h, mut sum_hx) = (0f32, 0f32);
        for c in 0..weight.len() {
            let plane = c * pixels..(c + 1) * pixels;
            let (x, g, h) = (&x[plane.clone()], &g[plane.clone()], &mut dx[plane]);
            if self.silu {
                let (scale, shift) = (weight[c] * inverse, bias[c] - mean * inverse * weight[c]);
                for ((h, &x), &g) in h.iter_mut().zip(x).zip(g) {
                    let z = x.mul_add(scale, shift);
                    let s = sigmoid(z);
                    *h = g * s * z.mul_add(1.0 - s, 1.0);
                }
            } else {
                h.copy_from_slice(g);
            }
            plain[c] = sum(pixels, |i| h[i]);
            times_x[c] = sum(pixels, |i| h[i] * (x[i] - mean)) * inverse;
            sum_h += plain[c] * weight[c];
            sum_hx += times_x[c] * weight[c];
        }
        let n = x.len() as f32;
        let (shift, slope) = (inverse * sum_h / n, inverse * inverse * sum_hx / n);
        for (c, (dx, x)) in dx.chunks_exact_mut(pixels).zip(x.chunks_exact(pixels)).enumerate() {
            let scale = weight[c] * inverse;
            for (d, &x) in dx.iter_mut().zip(x) {
                *d = d.mul_add(scale, -shift) - (x - mean) * slope;
            }
        }
    }
}
