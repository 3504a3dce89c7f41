//! Convolution composed of candle operations, with a backward pass made of convolutions and products that cuDNN and
//! cuBLAS run.

use super::shape::{Convolution, ConvolutionShape, Sizes};
use crate::nn::composed::Composed;
use crate::nn::ops::bias::add_to_planes;
use crate::nn::ops::exchange::exchange;
use crate::nn::ops::sums::sum_over_planes;
use candle_core::{Result, Tensor, bail};

/// Pads images with zeros above and below, left and right.
fn padded(x: &Tensor, [above, below]: [usize; 2], [left, right]: [usize; 2]) -> Result<Tensor> {
    x.pad_with_zeros(2, above, below)?.pad_with_zeros(3, left, right)
}

/// `count` values along a dimension, from `first` on, `stride` apart.
fn strided(x: &Tensor, dim: usize, first: usize, stride: usize, count: usize) -> Result<Tensor> {
    if stride == 1 {
        return x.narrow(dim, first, count);
    }
    let x = x.contiguous()?;
    let indices: Vec<u32> = (0..count).map(|i| (first + i * stride) as u32).collect();
    x.index_select(&Tensor::from_vec(indices, count, x.device())?, dim)
}

/// Inserts zeros between the values along a dimension, so that they are `stride` apart.
fn dilate(x: &Tensor, dim: usize, stride: usize) -> Result<Tensor> {
    let mut dims = x.dims().to_vec();
    let count = dims[dim];
    dims[dim] = count * stride;
    let dilated = x.unsqueeze(dim + 1)?.pad_with_zeros(dim + 1, 0, stride - 1)?.reshape(dims)?;
    dilated.narrow(dim, 0, (count - 1) * stride + 1)
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
            bail!("convolution: weight {:?} does not fit input {:?}", weight.dims(), x.dims());
        }
        // candle takes one padding for both directions.
        let y = if vertical == horizontal {
            x.conv2d(weight, vertical, stride, 1, 1)?
        } else {
            padded(x, [vertical; 2], [horizontal; 2])?.conv2d(weight, 0, stride, 1, 1)?
        };
        let y = add_to_planes(&y, bias)?;
        if relu { y.relu() } else { Ok(y) }
    }

    /// The gradient of the input is a convolution of the gradient with the rotated weight. The gradient of the weight is,
    /// for each kernel element, a product of the gradient and the pixels that the element was multiplied with.
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
            let dilated = if s.stride == 1 {
                gradient.clone()
            } else {
                dilate(&dilate(&gradient, 2, s.stride)?, 3, s.stride)?.contiguous()?
            };
            let (above, left) = (rows - 1 - above, columns - 1 - left);
            let below = s.height + rows - 1 - above - dilated.dim(2)?;
            let right = s.width + columns - 1 - left - dilated.dim(3)?;
            let rotated = weight.flatten_from(2)?.flip(&[2])?.reshape(weight.shape())?;
            let rotated = rotated.transpose(0, 1)?.contiguous()?;
            if [above, left, right].iter().all(|&zeros| zeros == below) {
                dilated.conv2d(&rotated, below, 1, 1, 1)
            } else {
                padded(&dilated, [above, below], [left, right])?.conv2d(&rotated, 0, 1, 1, 1)
            }
        };
        let to_weight = || {
            // Channels first, so that one product sums over the pixels of all images, in `f32` at least.
            let channels_first = |t: &Tensor| {
                let (batch, channels, height, width) = t.dims4()?;
                exchange(&t.reshape((batch, channels, height * width))?)?
                    .reshape((channels, batch, height, width))
            };
            let g = channels_first(&gradient)?.flatten_from(1)?;
            let x = channels_first(&padded(x, [above; 2], [left; 2])?)?;
            let of_element = |i: usize| {
                let rows = strided(&x, 2, i / columns, s.stride, s.out_height)?;
                let pixels = strided(&rows, 3, i % columns, s.stride, s.out_width)?;
                g.matmul(&pixels.reshape((s.inputs, ()))?.t()?)
            };
            let elements = (0..rows * columns).map(of_element).collect::<Result<Vec<_>>>()?;
            Tensor::stack(&elements, 2)?.reshape(weight.shape())
        };
        let to_bias = || sum_over_planes(&gradient)?.to_dtype(bias.dtype());
        Ok(vec![
            wanted[0].then(to_x).transpose()?,
            wanted[1].then(to_weight).transpose()?,
            wanted[2].then(to_bias).transpose()?,
        ])
    }
}
