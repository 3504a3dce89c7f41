//! The convolution layer.

use super::low_rank::LowRank;
use crate::Result;
use crate::nn::ops::convolution::conv2d;
use crate::weights::{Init, Scope};
use candle_core::{DType, Tensor};

/// A convolution with a square kernel and a bias.
#[derive(Debug)]
pub struct Conv2d {
    weight: Tensor,
    bias: Tensor,
    stride: usize,
    padding: usize,
    update: Option<LowRank>,
}

impl Conv2d {
    /// Reads the parameters `weight`, (outputs, inputs, kernel, kernel), and `bias`, (outputs).
    ///
    /// # Errors
    /// Fails if a parameter is missing or has another shape.
    pub fn new(
        scope: &Scope<'_>,
        inputs: usize,
        outputs: usize,
        kernel: usize,
        stride: usize,
        padding: usize,
    ) -> Result<Self> {
        let init = Init::fan_in(inputs * kernel * kernel);
        Ok(Self {
            weight: scope.get("weight", &[outputs, inputs, kernel, kernel], init)?,
            bias: scope.get("bias", &[outputs], Init::Constant(0.0))?,
            stride,
            padding,
            update: scope.update(),
        })
    }

    /// The type of the weight, in which the layer computes.
    #[must_use]
    pub fn dtype(&self) -> DType {
        self.weight.dtype()
    }

    /// (batch, inputs, height, width) to (batch, outputs, height', width').
    ///
    /// # Errors
    /// Fails if the shapes do not fit.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let y = conv2d(x, &self.weight, &self.bias, self.stride, self.padding)?;
        match &self.update {
            Some(update) => update.add_convolution(x, &y, self.stride, self.padding),
            None => Ok(y),
        }
    }
}
