//! Two-dimensional convolution.

mod composed;
mod cpu;
mod shape;
mod unroll;

pub(in crate::nn) use shape::Convolution;
pub use shape::ConvolutionShape;

use crate::nn::composed::apply;
use crate::nn::dispatch::has_cpu_kernel;
use candle_core::{Result, Tensor};

/// `x`: (batch, inputs, height, width); `weight`: (outputs, inputs, kernel, kernel); `bias`: (outputs).
/// Pads every side with `padding` zeros. Returns (batch, outputs, height', width').
///
/// # Errors
/// Fails if the shapes do not fit.
pub fn conv2d(x: &Tensor, weight: &Tensor, bias: &Tensor, stride: usize, padding: usize) -> Result<Tensor> {
    convolve(x, weight, bias, ConvolutionShape { stride, padding: [padding; 2], relu: false })
}

/// As [`conv2d`], for kernels that need not be square, (outputs, inputs, height, width).
///
/// # Errors
/// Fails if the shapes do not fit.
pub fn convolve(x: &Tensor, weight: &Tensor, bias: &Tensor, shape: ConvolutionShape) -> Result<Tensor> {
    let x = x.contiguous()?;
    if has_cpu_kernel(&x) {
        return x.apply_op3(weight, bias, Convolution(shape));
    }
    apply(Convolution(shape), &[&x, weight, bias])
}
