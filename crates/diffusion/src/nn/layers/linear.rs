//! The linear layer.

use super::low_rank::LowRank;
use crate::Result;
use crate::nn::ops::linear::linear;
use crate::weights::{Init, Scope};
use candle_core::{DType, Tensor};

/// An affine map of the last dimension, with an optional low-rank update.
#[derive(Debug)]
pub struct Linear {
    weight: Tensor,
    bias: Option<Tensor>,
    update: Option<LowRank>,
}

impl Linear {
    /// Reads the parameters `weight`, (outputs, inputs), and `bias`, (outputs).
    ///
    /// # Errors
    /// Fails if a parameter is missing or has another shape.
    pub fn new(scope: &Scope<'_>, inputs: usize, outputs: usize) -> Result<Self> {
        let bias = Some(scope.get("bias", &[outputs], Init::Constant(0.0))?);
        Ok(Self { bias, ..Self::without_bias(scope, inputs, outputs)? })
    }

    /// Reads the parameter `weight`, (outputs, inputs).
    ///
    /// # Errors
    /// Fails if the parameter is missing or has another shape.
    pub fn without_bias(scope: &Scope<'_>, inputs: usize, outputs: usize) -> Result<Self> {
        let weight = scope.get("weight", &[outputs, inputs], Init::fan_in(inputs))?;
        Ok(Self { weight, bias: None, update: scope.update() })
    }

    /// Reads the parameters of a 1 x 1 convolution, `weight`, (outputs, inputs, 1, 1), and `bias`, (outputs), to apply it to
    /// channels-last values.
    ///
    /// # Errors
    /// Fails if a parameter is missing or has another shape.
    pub fn pointwise(scope: &Scope<'_>, inputs: usize, outputs: usize) -> Result<Self> {
        let weight = scope.get("weight", &[outputs, inputs, 1, 1], Init::fan_in(inputs))?;
        let bias = scope.get("bias", &[outputs], Init::Constant(0.0))?;
        Ok(Self { weight: weight.reshape((outputs, inputs))?, bias: Some(bias), update: scope.update() })
    }

    /// The type of the weight, in which the layer computes.
    #[must_use]
    pub fn dtype(&self) -> DType {
        self.weight.dtype()
    }

    /// (.., inputs) to (.., outputs).
    ///
    /// # Errors
    /// Fails if the shapes do not fit.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let y = linear(x, &self.weight, self.bias.as_ref())?;
        match &self.update {
            Some(update) => update.add_linear(x, &y),
            None => Ok(y),
        }
    }
}
