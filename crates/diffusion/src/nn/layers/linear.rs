//! Layers: parameters under diffusers' names, and the operations on them.

use crate::Result;
use crate::nn::{GroupNormShape, LowRank, conv2d, group_norm, layer_norm, linear};
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
    /// # Errors
    /// A parameter that is missing or misshapen.
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

    /// The type of its weight.
    #[must_use]
    pub fn dtype(&self) -> DType {
        self.weight.dtype()
    }

    /// (batch, inputs, height, width) to (batch, outputs, height', width').
    ///
    /// # Errors
    /// Shapes that do not fit.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let y = conv2d(x, &self.weight, &self.bias, self.stride, self.padding)?;
        match &self.update {
            Some(update) => update.add_convolution(x, &y, self.stride, self.padding),
            None => Ok(y),
        }
    }
}

/// An affine map of the last dimension.
#[derive(Debug)]
pub struct Linear {
    weight: Tensor,
    bias: Option<Tensor>,
    update: Option<LowRank>,
}

impl Linear {
    /// # Errors
    /// A parameter that is missing or misshapen.
    pub fn new(scope: &Scope<'_>, inputs: usize, outputs: usize) -> Result<Self> {
        let bias = Some(scope.get("bias", &[outputs], Init::Constant(0.0))?);
        Ok(Self { bias, ..Self::without_bias(scope, inputs, outputs)? })
    }

    /// # Errors
    /// A parameter that is missing or misshapen.
    pub fn without_bias(scope: &Scope<'_>, inputs: usize, outputs: usize) -> Result<Self> {
        let weight = scope.get("weight", &[outputs, inputs], Init::fan_in(inputs))?;
        Ok(Self { weight, bias: None, update: scope.update() })
    }

    /// A 1 x 1 convolution's parameters, (outputs, inputs, 1, 1), used as a map of channels-last values.
    ///
    /// # Errors
    /// A parameter that is missing or misshapen.
    pub fn pointwise(scope: &Scope<'_>, inputs: usize, outputs: usize) -> Result<Self> {
        let weight = scope.get("weight", &[outputs, inputs, 1, 1], Init::fan_in(inputs))?;
        let bias = scope.get("bias", &[outputs], Init::Constant(0.0))?;
        Ok(Self { weight: weight.reshape((outputs, inputs))?, bias: Some(bias), update: scope.update() })
    }

    /// The type it computes in.
    #[must_use]
    pub fn dtype(&self) -> DType {
        self.weight.dtype()
    }

    /// (.., inputs) to (.., outputs).
    ///
    /// # Errors
    /// Shapes that do not fit.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let y = linear(x, &self.weight, self.bias.as_ref())?;
        match &self.update {
            Some(update) => update.add_linear(x, &y),
            None => Ok(y),
        }
    }
}

/// Group normalisation.
#[derive(Debug)]
pub struct GroupNorm {
    weight: Tensor,
    bias: Tensor,
    groups: usize,
    epsilon: f64,
}

impl GroupNorm {
    /// # Errors
    /// A parameter that is missing or misshapen.
    pub fn new(scope: &Scope<'_>, channels: usize, groups: usize, epsilon: f64) -> Result<Self> {
        Ok(Self {
            weight: scope.get("weight", &[channels], Init::Constant(1.0))?,
            bias: scope.get("bias", &[channels], Init::Constant(0.0))?,
            groups,
            epsilon,
        })
    }

    /// Normalises (batch, channels, ..).
    ///
    /// # Errors
    /// Shapes that do not fit.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        self.run(x, false)
    }

    /// Normalises and applies SiLU, in one pass.
    ///
    /// # Errors
    /// Shapes that do not fit.
    pub fn forward_silu(&self, x: &Tensor) -> Result<Tensor> {
        self.run(x, true)
    }

    fn run(&self, x: &Tensor, silu: bool) -> Result<Tensor> {
        let shape = GroupNormShape { groups: self.groups, epsilon: self.epsilon, silu };
        Ok(group_norm(x, &self.weight, &self.bias, shape)?)
    }
}

/// Layer normalisation.
#[derive(Debug)]
pub struct LayerNorm {
    weight: Tensor,
    bias: Tensor,
    epsilon: f64,
}

impl LayerNorm {
    /// # Errors
    /// A parameter that is missing or misshapen.
    pub fn new(scope: &Scope<'_>, width: usize, epsilon: f64) -> Result<Self> {
        Ok(Self {
            weight: scope.get("weight", &[width], Init::Constant(1.0))?,
            bias: scope.get("bias", &[width], Init::Constant(0.0))?,
            epsilon,
        })
    }

    /// Normalises the last dimension.
    ///
    /// # Errors
    /// Shapes that do not fit.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        Ok(layer_norm(x, &self.weight, &self.bias, self.epsilon)?)
    }
}

/// A table of vectors.
#[derive(Debug)]
pub struct Embedding {
    weight: Tensor,
}

impl Embedding {
    /// # Errors
    /// A parameter that is missing or misshapen.
    pub fn new(scope: &Scope<'_>, entries: usize, width: usize, deviation: f64) -> Result<Self> {
        Ok(Self { weight: scope.get("weight", &[entries, width], Init::Normal(deviation))? })
    }

    /// (batch, positions) of u32 to (batch, positions, width).
    ///
    /// # Errors
    /// An id outside the table.
    pub fn forward(&self, ids: &Tensor) -> Result<Tensor> {
        let (batch, positions) = ids.dims2()?;
        let rows = self.weight.index_select(&ids.flatten_all()?, 0)?;
        Ok(rows.reshape((batch, positions, ()))?)
    }

    /// The whole table, (entries, width).
    #[must_use]
    pub fn table(&self) -> &Tensor {
        &self.weight
    }
}
