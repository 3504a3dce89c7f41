//! A linear layer that is only applied, never trained.

use crate::nn::cpu::matmul::Matrix;
use crate::nn::cpu::slices;
use crate::nn::dispatch::has_cpu_kernel;
use crate::nn::ops::linear::{check_input, forward, linear, output_shape};
use crate::weights::{Init, Scope};
use candle_core::{CpuStorage, CustomOp3, Layout, Result, Shape, Tensor, bail};

/// A linear layer for inference. Its weight is stored transposed, (inputs, outputs), the order in which products read it:
/// transposing on every call takes as long as a hundred rows of the product, and short texts have fewer.
#[derive(Debug)]
pub struct FrozenLinear {
    weight: Tensor,
    bias: Tensor,
}

impl FrozenLinear {
    /// Reads the parameters `weight` and `bias` of a linear layer.
    ///
    /// # Errors
    /// Fails if a parameter is missing or has another shape.
    pub fn new(scope: &Scope<'_>, inputs: usize, outputs: usize) -> crate::Result<Self> {
        let weight = scope.get("weight", &[outputs, inputs], Init::fan_in(inputs))?;
        Ok(Self::of(&weight, &scope.get("bias", &[outputs], Init::Constant(0.0))?)?)
    }

    /// `weight`: (outputs, inputs); `bias`: (outputs).
    ///
    /// # Errors
    /// Fails if the shapes do not fit.
    pub fn of(weight: &Tensor, bias: &Tensor) -> Result<Self> {
        let weight = weight.t()?.contiguous()?.detach();
        if bias.dims() != [weight.dim(1)?] {
            bail!(
                "frozen linear: shapes do not fit: weight (transposed) {:?}, bias {:?}",
                weight.dims(),
                bias.dims()
            );
        }
        Ok(Self { weight, bias: bias.contiguous()?.detach() })
    }

    /// (.., inputs) to (.., outputs).
    ///
    /// # Errors
    /// Fails if the last dimension of `x` is not the number of inputs.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        if has_cpu_kernel(x) {
            return x.contiguous()?.apply_op3_no_bwd(&self.weight, &self.bias, &TransposedWeight);
        }
        linear(x, &self.weight.t()?, Some(&self.bias))
    }
}

/// The CPU kernel of [`FrozenLinear`].
struct TransposedWeight;

impl CustomOp3 for TransposedWeight {
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
        check_input(x_layout, inputs)?;
        let bias = slices::of_storage(b, b_layout)?;
        let (x, w) = (slices::of_storage(x, x_layout)?, slices::of_storage(w, w_layout)?);
        let y = forward(x, Matrix::new(w, inputs, outputs), Some(bias));
        Ok((CpuStorage::F32(y), output_shape(x_layout, outputs)))
    }
}

#[cfg(test)]
mod tests {
    use super::FrozenLinear;
    use crate::nn::ops::linear::linear;
    use crate::noise::Noise;
    use candle_core::{DType, Device, Result, Tensor};

    #[test]
    fn the_result_equals_that_of_linear() -> Result<()> {
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
