//! The normalisation layers.

use crate::Result;
use crate::nn::ops::group_norm::{GroupNormShape, group_norm};
use crate::nn::ops::layer_norm::layer_norm;
use crate::weights::{Init, Scope};
use candle_core::Tensor;

/// Group normalisation with a scale and a shift for each channel.
#[derive(Debug)]
pub struct GroupNorm {
    weight: Tensor,
    bias: Tensor,
    groups: usize,
    epsilon: f64,
}

impl GroupNorm {
    /// Reads the parameters `weight` and `bias`, both (channels).
    ///
    /// # Errors
    /// Fails if a parameter is missing or has another shape.
    pub fn new(scope: &Scope<'_>, channels: usize, groups: usize, epsilon: f64) -> Result<Self> {
        Ok(Self {
            weight: scope.get("weight", &[channels], Init::Constant(1.0))?,
            bias: scope.get("bias", &[channels], Init::Constant(0.0))?,
            groups,
            epsilon,
        })
    }

    /// Normalises `x`, (batch, channels, ..).
    ///
    /// # Errors
    /// Fails if the shapes do not fit.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        self.run(x, false)
    }

    /// Normalises `x`, (batch, channels, ..), and applies SiLU, in one pass.
    ///
    /// # Errors
    /// Fails if the shapes do not fit.
    pub fn forward_silu(&self, x: &Tensor) -> Result<Tensor> {
        self.run(x, true)
    }

    fn run(&self, x: &Tensor, silu: bool) -> Result<Tensor> {
        let shape = GroupNormShape { groups: self.groups, epsilon: self.epsilon, silu };
        Ok(group_norm(x, &self.weight, &self.bias, shape)?)
    }
}

/// Layer normalisation with a scale and a shift for each position of the last dimension.
#[derive(Debug)]
pub struct LayerNorm {
    weight: Tensor,
    bias: Tensor,
    epsilon: f64,
}

impl LayerNorm {
    /// Reads the parameters `weight` and `bias`, both (width).
    ///
    /// # Errors
    /// Fails if a parameter is missing or has another shape.
    pub fn new(scope: &Scope<'_>, width: usize, epsilon: f64) -> Result<Self> {
        Ok(Self {
            weight: scope.get("weight", &[width], Init::Constant(1.0))?,
            bias: scope.get("bias", &[width], Init::Constant(0.0))?,
            epsilon,
        })
    }

    /// Normalises the last dimension of `x`.
    ///
    /// # Errors
    /// Fails if the shapes do not fit.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        Ok(layer_norm(x, &self.weight, &self.bias, self.epsilon)?)
    }
}
