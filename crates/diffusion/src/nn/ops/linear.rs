//! The affine map y = x W^T + b.

use super::composed::{self, Composed};
use super::matmul::{Matrix, product};
use super::sums::{add_to_rows, over_rows};
use super::{has_own_kernel, slices};
use crate::gradients::leave;
use crate::weights::{Init, Scope};
use candle_core::{CpuStorage, CustomOp2, CustomOp3, D, Layout, Result, Shape, Tensor, bail};

/// `x`: (.., inputs); `weight`: (outputs, inputs); `bias`: (outputs). Returns (.., outputs).
///
/// # Errors
/// Shapes that do not fit.
pub fn linear(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
    let x = x.contiguous()?;
    if !has_own_kernel(&x) {
        let operands = [Some(&x), Some(weight), bias];
        return composed::apply(Affine, &operands.into_iter().flatten().collect::<Vec<_>>());
    }
    match bias {
        Some(bias) => x.apply_op3(weight, bias, WithBias),
        None => x.apply_op2(weight, WithoutBias),
    }
}

/// An affine map that is only applied, never trained. Its weight is kept the other way round, (inputs, outputs), as products
/// read it: turning it about takes as long as a hundred rows of a product, which short texts do not have.
#[derive(Debug)]
pub struct FrozenLinear {
    weight: Tensor,
    bias: Tensor,
}

impl FrozenLinear {
    /// The parameters of a linear layer.
    ///
    /// # Errors
    /// A parameter that is missing or misshapen.
    pub fn new(scope: &Scope<'_>, inputs: usize, outputs: usize) -> crate::Result<Self> {
        let weight = scope.get("weight", &[outputs, inputs], Init::fan_in(inputs))?;
        Ok(Self::of(&weight, &scope.get("bias", &[outputs], Init::Constant(0.0))?)?)
    }

    /// `weight`: (outputs, inputs); `bias`: (outputs).
    ///
    /// # Errors
    /// Other shapes.
    pub fn of(weight: &Tensor, bias: &Tensor) -> Result<Self> {
        let weight = weight.t()?.contiguous()?.detach();
        if bias.dims() != [weight.dim(1)?] {
            bail!("frozen linear: weight {:?}, bias {:?}", weight.dims(), bias.dims());
        }
        Ok(Self { weight, bias: bias.contiguous()?.detach() })
    }

    /// (.., inputs) to (.., outputs).
    ///
    /// # Errors
    /// Shapes that do not fit.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        if has_own_kernel(x) {
            return x.contiguous()?.apply_op3_no_bwd(&self.weight, &self.bias, &Turned);
        }
        linear(x, &self.weight.t()?, Some(&self.bias))
    }
}

/// [`FrozenLinear`]'s own kernel.
struct Turned;

impl CustomOp3 for Turned {
    fn name(&self) -> &'static str {
        "frozen-linear"
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
        let (inputs, outputs) = w_layout.shape().dims2()?;
        check(x_layout, inputs)?;
        let bias = slices::of_storage(b, b_layout)?;
        let (x, w) = (slices::of_storage(x, x_layout)?, slices::of_storage(w, w_layout)?);
        let y = forward(x, Matrix::new(w, inputs, outputs), Some(bias));
        Ok((CpuStorage::F32(y), shape(x_layout, outputs)))
    }
}

struct WithBias;
struct WithoutBias;

/// Either, composed.
pub(in crate::nn) struct Affine;

/// (rows, columns) of (.., columns).
fn rows(t: &Tensor) -> Result<Tensor> {
    t.reshape(((), t.dim(D::Minus1)?))
}

impl Composed for Affine {
    fn name(&self) -> &'static str {
        "linear"
    }

    fn forward(&self, operands: &[Tensor]) -> Result<Tensor> {
        let (x, weight) = (&operands[0], &operands[1]);
        let y = rows(x)?.matmul(&weight.t()?)?;
        match operands.get(2) {
            Some(bias) => add_to_rows(&y, bias)?,
            None => y,
        }
        .reshape(shape(x.layout(), weight.dim(0)?))
    }

    fn backward(
        &self,
        operands: &[Tensor],
        _y: &Tensor,
        gradient: &Tensor,
        wanted: &[bool],
    ) -> Result<Vec<Option<Tensor>>> {
        let (x, weight) = (&operands[0], &operands[1]);
        let g = rows(gradient)?;
        let mut gradients = vec![
            wanted[0].then(|| g.matmul(weight)?.reshape(x.shape())).transpose()?,
            wanted[1].then(|| g.t()?.matmul(&rows(x)?)).transpose()?,
        ];
        if let Some(bias) = operands.get(2) {
            let to_bias = || over_rows(&g)?.to_dtype(bias.dtype());
            gradients.push(wanted[2].then(to_bias).transpose()?);
        }
        Ok(gradients)
    }
}

/// `weight`: (inputs, outputs).
fn forward(x: &[f32], weight: Matrix<'_>, bias: Option<&[f32]>) -> Vec<f32> {
    let rows = x.len() / weight.rows;
    if rows == 0 {
        return Vec::new();
    }
    product(Matrix::new(x, rows, weight.rows), weight, bias)
}

fn shape(x: &Layout, outputs: usize) -> Shape {
    let mut dims = x.dims().to_vec();
    dims.pop();
    dims.push(outputs);
    dims.into()
}

/// Gradients of input (where it is tracked) and weight (likewise).
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
        to_weight.map(|v| leave(weight, v)).transpose()?.flatten(),
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
        check(x_layout, inputs)?;
        let bias = slices::of_storage(b, b_layout)?;
        let (x, w) = (slices::of_storage(x, x_layout)?, slices::of_storage(w, w_layout)?);
        let y = forward(x, Matrix::new(w, outputs, inputs).transposed(), Some(bias));
        Ok((CpuStorage::F32(y), shape(x_layout, outputs)))
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
        check(x_layout, inputs)?;
        let (x, w) = (slices::of_storage(x, x_layout)?, slices::of_storage(w, w_layout)?);
        let y = forward(x, Matrix::new(w, outputs, inputs).transposed(), None);
        Ok((CpuStorage::F32(y), shape(x_layout, outputs)))
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

fn check(x: &Layout, inputs: usize) -> Result<()> {
    match x.dims().last() {
        Some(&last) if last == inputs => Ok(()),
        _ => {
            candle_core::bail!("linear: the input has shape {:?}, the weight takes {inputs} inputs", x.dims())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{FrozenLinear, linear};
    use crate::noise::Noise;
    use candle_core::{DType, Device, Result, Tensor};

    #[test]
    fn frozen_is_the_same_map() -> Result<()> {
        let mut noise = Noise::new(3);
        let mut draw = |shape: &[usize]| noise.normal_tensor(shape, &Device::Cpu);
        let (x, weight, bias) = (draw(&[2, 7, 20])?, draw(&[12, 20])?, draw(&[12])?);
        let expected = linear(&x, &weight, Some(&bias))?;
        let length = |t: Tensor| t.sqr()?.sum_all()?.to_dtype(DType::F64)?.to_scalar::<f64>();
        for dtype in [DType::F32, DType::F64] {
            let to = |t: &Tensor| t.to_dtype(dtype);
            let y = FrozenLinear::of(&to(&weight)?, &to(&bias)?)?.forward(&to(&x)?)?;
            assert_eq!(y.dims(), [2, 7, 12]);
            assert!(length((y.to_dtype(DType::F32)? - &expected)?)? < 1e-10);
        }
        assert!(FrozenLinear::of(&weight, &draw(&[20])?).is_err());
        assert!(FrozenLinear::of(&weight, &bias)?.forward(&draw(&[2, 12])?).is_err());
        Ok(())
    }
}
