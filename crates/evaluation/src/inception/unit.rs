//! The unit of Inception: convolution, batch normalisation and ReLU.

use candle_core::{DType, Tensor};
use diffusion::Result;
use diffusion::nn::{ConvolutionShape, FrozenConvolution};
use diffusion::weights::{Init, Scope};

/// Added to the variance in batch normalisation, as in torchvision's Inception.
const EPSILON: f64 = 1e-3;

/// A convolution with the batch normalisation folded into its weights, which is possible because the statistics are
/// frozen.
#[derive(Debug)]
pub(super) struct Unit(FrozenConvolution);

impl Unit {
    pub(super) fn new(
        scope: &Scope<'_>,
        inputs: usize,
        outputs: usize,
        kernel: [usize; 2],
        stride: usize,
        padding: [usize; 2],
    ) -> Result<Self> {
        let init = Init::fan_in(inputs * kernel[0] * kernel[1]);
        let weight = scope.at("conv").get("weight", &[outputs, inputs, kernel[0], kernel[1]], init)?;
        let norm = scope.at("bn");
        let get = |name: &str, value| -> Result<Tensor> {
            Ok(norm.get(name, &[outputs], Init::Constant(value))?.to_dtype(DType::F64)?)
        };
        let (gain, shift) = (get("weight", 1.0)?, get("bias", 0.0)?);
        let (mean, variance) = (get("running_mean", 0.0)?, get("running_var", 1.0)?);
        let scale = (gain / (variance + EPSILON)?.sqrt()?)?;
        let bias = (shift - (mean * &scale)?)?;
        let weight = weight.to_dtype(DType::F64)?.broadcast_mul(&scale.reshape((outputs, 1, 1, 1))?)?;
        let shape = ConvolutionShape { stride, padding, relu: true };
        Ok(Self(FrozenConvolution::new(weight.to_dtype(DType::F32)?, bias.to_dtype(DType::F32)?, shape)?))
    }

    /// A 1 x 1 convolution.
    pub(super) fn pointwise(scope: &Scope<'_>, inputs: usize, outputs: usize) -> Result<Self> {
        Self::new(scope, inputs, outputs, [1, 1], 1, [0, 0])
    }

    /// A convolution with an odd kernel that keeps height and width.
    pub(super) fn same(scope: &Scope<'_>, inputs: usize, outputs: usize, kernel: [usize; 2]) -> Result<Self> {
        Self::new(scope, inputs, outputs, kernel, 1, kernel.map(|side| side / 2))
    }

    /// A 3 x 3 convolution with stride 2, which halves height and width.
    pub(super) fn halving(scope: &Scope<'_>, inputs: usize, outputs: usize) -> Result<Self> {
        Self::new(scope, inputs, outputs, [3, 3], 2, [0, 0])
    }

    /// (batch, inputs, height, width) to (batch, outputs, height', width').
    pub(super) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        Ok(self.0.forward(x)?)
    }
}

/// Applies units one after another.
pub(super) fn chain<const N: usize>(units: &[Unit; N], x: &Tensor) -> Result<Tensor> {
    let mut x = x.clone();
    for unit in units {
        x = unit.forward(&x)?;
    }
    Ok(x)
}
