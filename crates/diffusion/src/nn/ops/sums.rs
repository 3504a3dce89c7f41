//! Sums over tensors, and biases: what is added to whole rows and planes, and what its gradient is.

use super::composed::{self, Composed};
use super::kernels::{self, Launch, Number};
use super::simd::{sum, vectorized};
use super::{has_own_kernel, slices, wide};
use candle_core::{D, DType, Result, Tensor, bail};
use rayon::prelude::*;

/// The sum of the squares of all values of each tensor, in f64. A device is waited for once, not once for each tensor.
///
/// # Errors
/// Tensors on several devices other than the CPU; candle's.
pub fn squared_sums<'a>(tensors: impl IntoIterator<Item = &'a Tensor>) -> Result<Vec<f64>> {
    let (mut sums, mut elsewhere, mut pending) = (Vec::new(), Vec::new(), Vec::new());
    for (i, x) in tensors.into_iter().enumerate() {
        if has_own_kernel(x) {
            sums.push(slices::with(&x.contiguous()?, squared_sum)?);
        } else {
            sums.push(0.0);
            elsewhere.push(squared_sum_there(x)?);
            pending.push(i);
        }
    }
    if !pending.is_empty() {
        let found = Tensor::cat(&elsewhere, 0)?.to_vec1::<f32>()?;
        pending.into_iter().zip(found).for_each(|(i, found)| sums[i] = f64::from(found));
    }
    Ok(sums)
}

fn squared_sum(values: &[f32]) -> f64 {
    let parts: Vec<f64> = values
        .par_chunks(1 << 14)
        .map(|chunk| {
            f64::from(vectorized(
                #[inline(always)]
                || sum(chunk.len(), |i| chunk[i] * chunk[i]),
            ))
        })
        .collect();
    parts.iter().sum()
}

/// On the tensor's device: (1), in f32.
fn squared_sum_there(x: &Tensor) -> Result<Tensor> {
    if !kernels::serve(&[x]) {
        return x.to_dtype(DType::F32)?.sqr()?.sum_all()?.reshape(1);
    }
    let operands = [x];
    let launch = Launch::per_value("square_sums", x.elem_count(), &operands);
    let blocks = launch.blocks();
    let [shares] = launch.run([(DType::F32, &[blocks])], &[Number::Whole(x.elem_count())])?;
    row_sums(&shares.reshape((1, blocks))?)
}

/// `x`: (rows, width). Returns (rows), in f32, by the kernel.
fn row_sums(x: &Tensor) -> Result<Tensor> {
    let (rows, width) = x.dims2()?;
    let [sums] = Launch::per_row("row_sums", rows, width, &[x])
        .run([(DType::F32, &[rows])], &[Number::Whole(width)])?;
    Ok(sums)
}

/// Rows that a block of the kernel adds up at least, and blocks of rows at most.
const ROWS: usize = 64;
const BLOCKS: usize = 256;

/// `x`: (rows, width). Returns (width), the sums over rows, in f32 at least.
pub(in crate::nn) fn over_rows(x: &Tensor) -> Result<Tensor> {
    if !kernels::serve(&[x]) {
        return x.to_dtype(wide(x.dtype()))?.sum(0);
    }
    let mut sums = x.clone();
    loop {
        let (rows, width) = sums.dims2()?;
        let at_once = rows.div_ceil(BLOCKS).max(ROWS);
        let blocks = rows.div_ceil(at_once);
        [sums] = Launch::per_tile("column_sums", width.div_ceil(kernels::WARP) * blocks, &[&sums]).run(
            [(DType::F32, &[blocks, width])],
            &[Number::Whole(rows), Number::Whole(width), Number::Whole(at_once)],
        )?;
        if blocks == 1 {
            return sums.reshape(width);
        }
    }
}

/// `x`: (batch, channels, ..). Returns (batch, channels), the sums over pixels, in f32 at least.
fn of_planes(x: &Tensor) -> Result<Tensor> {
    let (batch, channels) = (x.dim(0)?, x.dim(1)?);
    let planes = x.reshape((batch * channels, ()))?;
    if kernels::serve(&[x]) {
        row_sums(&planes)?
    } else {
        planes.to_dtype(wide(x.dtype()))?.sum(D::Minus1)?
    }
    .reshape((batch, channels))
}

/// `x`: (batch, channels, ..). Returns (channels), the sums over images and pixels, in f32 at least.
pub(in crate::nn) fn over_planes(x: &Tensor) -> Result<Tensor> {
    over_rows(&of_planes(x)?)
}

/// `x`: (batch, channels, height, width), `by`: (batch, channels), added to all pixels of its plane.
///
/// # Errors
/// Shapes that do not fit.
pub fn shift(x: &Tensor, by: &Tensor) -> Result<Tensor> {
    let (batch, channels, _, _) = x.dims4()?;
    if by.dims() != [batch, channels] {
        bail!("shift: x {:?} by {:?}", x.dims(), by.dims());
    }
    if has_own_kernel(x) {
        return x.broadcast_add(&by.unsqueeze(2)?.unsqueeze(3)?);
    }
    composed::apply(Shift, &[x, by])
}

pub(in crate::nn) struct Shift;

impl Composed for Shift {
    fn name(&self) -> &'static str {
        "shift"
    }

    fn forward(&self, operands: &[Tensor]) -> Result<Tensor> {
        let (x, by) = (&operands[0], &operands[1]);
        // As one image of many channels.
        let (batch, channels, height, width) = x.dims4()?;
        let planes = x.reshape((1, batch * channels, height, width))?;
        add_to_planes(&planes, &by.flatten_all()?)?.reshape(x.shape())
    }

    fn backward(
        &self,
        operands: &[Tensor],
        _y: &Tensor,
        gradient: &Tensor,
        wanted: &[bool],
    ) -> Result<Vec<Option<Tensor>>> {
        let to_planes = || of_planes(gradient)?.to_dtype(operands[1].dtype());
        Ok(vec![Some(gradient.clone()), wanted[1].then(to_planes).transpose()?])
    }
}

/// `x`: (rows, width), `bias`: (width).
pub(in crate::nn) fn add_to_rows(x: &Tensor, bias: &Tensor) -> Result<Tensor> {
    let (rows, width) = x.dims2()?;
    if !kernels::serve(&[x, bias]) || bias.elem_count() != width {
        return x.broadcast_add(bias);
    }
    let [y] = Launch::per_row("add_to_rows", rows, width, &[x, bias])
        .run([(x.dtype(), x.dims())], &[Number::Whole(width)])?;
    Ok(y)
}

/// `x`: (batch, channels, height, width), `bias`: (channels).
pub(in crate::nn) fn add_to_planes(x: &Tensor, bias: &Tensor) -> Result<Tensor> {
    let (batch, channels, height, width) = x.dims4()?;
    if !kernels::serve(&[x, bias]) || bias.elem_count() != channels {
        return x.broadcast_add(&bias.reshape((1, (), 1, 1))?);
    }
    let pixels = height * width;
    let [y] = Launch::per_row("add_to_planes", batch * channels, pixels, &[x, bias])
        .run([(x.dtype(), x.dims())], &[Number::Whole(pixels), Number::Whole(channels)])?;
    Ok(y)
}
