//! The affine map y = x W^T + b.

use super::bias::add_to_rows;
use super::sums::sum_over_rows;
use crate::gradients::accumulate;
use crate::nn::composed::{self, Composed};
use crate::nn::cpu::matmul::{Matrix, product};
use crate::nn::cpu::slices;
use crate::nn::dispatch::has_cpu_kernel;
use candle_core::{CpuStorage, CustomOp2, CustomOp3, D, Layout, Result, Shape, Tensor, bail};

/// `x`: (.., inputs); `weight`: (outputs, inputs); `bias`: (outputs). Returns (.., outputs).
///
/// # Errors
/// Fails if the shapes do not fit.
pub fn linear(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
    let x = x.contiguous()?;
    if !has_cpu_kernel(&x) {
        let operands = [Some(&x), Some(weight), bias];
        return composed::apply(Affine, &operands.into_iter().flatten().collect::<Vec<_>>());
    }
    match bias {
        Some(bias) => x.apply_op3(weight, bias, WithBias),
        None => x.apply_op2(weight, WithoutBias),
    }
}

/// [`linear`] with a bias on the CPU.
struct WithBias;

/// [`linear`] without a bias on the CPU.
struct WithoutBias;

/// [`linear`] with or without a bias, composed of candle operations.
pub(in crate::nn) struct Affine;

/// (.., columns) to (rows, columns).
fn as_matrix(t: &Tensor) -> Result<Tensor> {
    t.reshape(((), t.dim(D::Minus1)?))
}

impl Composed for Affine {
    fn name(&self) -> &'static str {
        "linear"
    }

    fn forward(&self, operands: &[Tensor]) -> Result<Tensor> {
        let (x, weight) = (&operands[0], &operands[1]);
        let y = as_matrix(x)?.matmul(&weight.t()?)?;
        match operands.get(2) {
            Some(bias) => add_to_rows(&y, bias)?,
            None => y,
        }
        .reshape(output_shape(x.layout(), weight.dim(0)?))
    }

    fn backward(
        &self,
        operands: &[Tensor],
        _y: &Tensor,
        gradient: &Tensor,
        wanted: &[bool],
    ) -> Result<Vec<Option<Tensor>>> {
        let (x, weight) = (&operands[0], &operands[1]);
        let g = as_matrix(gradient)?;
        let mut gradients = vec![
            wanted[0].then(|| g.matmul(weight)?.reshape(x.shape())).transpose()?,
            wanted[1].then(|| g.t()?.matmul(&as_matrix(x)?)).transpose()?,
        ];
        if let Some(bias) = operands.get(2) {
            let to_bias = || sum_over_rows(&g)?.to_dtype(bias.dtype());
            gradients.push(wanted[2].then(to_bias).transpose()?);
        }
        Ok(gradients)
    }
}

/// `x`: (rows, inputs), `weight`: (inputs, outputs), `bias`: (outputs). Returns (rows, outputs).
pub(in crate::nn) fn forward(x: &[f32], weight: Matrix<'_>, bias: Option<&[f32]>) -> Vec<f32> {
    let rows = x.len() / weight.rows;
    if rows == 0 {
        return Vec::new();
    }
    product(Matrix::new(x, rows, weight.rows), weight, bias)
}

/// The shape of the result for an input of layout `x`.
pub(in crate::nn) fn output_shape(x: &Layout, outputs: usize) -> Shape {
    let mut dims = x.dims().to_vec();
    dims.pop();
    dims.push(outputs);
    dims.into()
}

/// The gradients of input and weight, each if candle tracks it.
fn backward(x: &Tensor, weight: &Tensor, gradient: &Tensor) -> Result<(Option<Tensor>, Option<Tensor>)> {
    let (outputs, inputs) = weight.dims2()?;
    let rows = x.elem_count() / inputs;
    let (to_x, to_weight) = slices::with_all([x, weight, gradient], |[xs, ws, gs]| {
        let g = Matrix::new(gs, rows, outputs);
        let to_x = x.track_op().then(|| product(g, Matrix::new(ws, outputs, inputs), None));
        let to_weight =
            weight.track_op().then(|| product(g.transposed(), Matrix::new(xs, rows, inputs), None));
        (to_x, to_weight)
    })?;
    Ok((
        to_x.map(|v| slices::tensor(v, x.shape())).transpose()?,
        to_weight.map(|v| accumulate(weight, v)).transpose()?.flatten(),
    ))
}

impl CustomOp3 for WithBias {
    fn name(&self) -> &'static str {
        "linear"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        w: &CpuStorage,
        w_layout: &Layout,
        b: &CpuStorage,
        b_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (outputs, inputs) = w_layout.shape().dims2()?;
        check_input(x_layout, inputs)?;
        let bias = slices::of_storage(b, b_layout)?;
        let (x, w) = (slices::of_storage(x, x_layout)?, slices::of_storage(w, w_layout)?);
        let y = forward(x, Matrix::new(w, outputs, inputs).transposed(), Some(bias));
        Ok((CpuStorage::F32(y), output_shape(x_layout, outputs)))
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
        let (to_x, to_weight) = backward(x, weight, &gradient)?;
        let to_bias = if bias.track_op() {
            let mut db = vec![0f32; bias.elem_count()];
            slices::with(&gradient, |g| {
                for row in g.chunks_exact(db.len()) {
                    db.iter_mut().zip(row).for_each(|(d, &v)| *d += v);
                }
            })?;
            Some(slices::tensor(db, bias.shape())?)
        } else {
            None
        };
        Ok((to_x, to_weight, to_bias))
    }
}

impl CustomOp2 for WithoutBias {
    fn name(&self) -> &'static str {
        "linear-without-bias"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        w: &CpuStorage,
        w_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (outputs, inputs) = w_layout.shape().dims2()?;
        check_input(x_layout, inputs)?;
        let (x, w) = (slices::of_storage(x, x_layout)?, slices::of_storage(w, w_layout)?);
        let y = forward(x, Matrix::new(w, outputs, inputs).transposed(), None);
        Ok((CpuStorage::F32(y), output_shape(x_layout, outputs)))
    }

    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        _y: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        backward(x, weight, &gradient.contiguous()?)
    }
}

/// Checks that the last dimension of `x` is `inputs`.
pub(in crate::nn) fn check_input(x: &Layout, inputs: usize) -> Result<()> {
    match x.dims().last() {
        Some(&last) if last == inputs => Ok(()),
        _ => bail!("linear: the input has shape {:?}, but the weight takes {inputs} inputs", x.dims()),
    }
}
