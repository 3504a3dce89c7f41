//! The low-rank update of one layer (Hu et al. 2021, LoRA): weight + alpha / rank * up down.

use crate::Result;
use crate::nn::ops::convolution::conv2d;
use crate::nn::ops::linear::linear;
use candle_core::{DType, Device, Tensor, Var};

/// The low-rank update of a linear layer or a convolution.
///
/// `down` is (rank, inputs), for a convolution (rank, inputs, kernel, kernel); `up` is (outputs, rank), for a
/// convolution (outputs, rank, 1, 1).
#[derive(Clone, Debug)]
pub struct LowRank {
    down: Tensor,
    up: Tensor,
    alpha: f64,
}

/// One of the two matrices of an update.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Factor {
    /// Maps the inputs to the rank; `lora_A` in PEFT.
    Down,
    /// Maps the rank to the outputs; `lora_B` in PEFT.
    Up,
}

/// A factor that does not fit its layer.
#[derive(Debug)]
pub struct FactorError {
    /// The factor.
    pub factor: Factor,
    /// What is wrong, as the rest of a sentence that begins with the tensor.
    pub problem: String,
}

impl LowRank {
    /// An update of a weight of shape `weight`, (outputs, inputs) or (outputs, inputs, kernel, kernel). Factors of a linear
    /// layer also fit a 1 x 1 convolution, and the reverse.
    ///
    /// # Errors
    /// Fails if a factor does not fit the weight, the rank is 0 or alpha is not finite.
    pub fn new(down: &Tensor, up: &Tensor, alpha: f64, weight: &[usize]) -> Result<Self, FactorError> {
        let rank = down.dims().first().copied().unwrap_or_default();
        if rank == 0 || !alpha.is_finite() {
            let problem =
                format!("has rank {rank} and alpha {alpha}: the rank must be positive and alpha finite");
            return Err(FactorError { factor: Factor::Down, problem });
        }
        let [down_shape, up_shape] = Self::shapes(weight, rank);
        Ok(Self {
            down: fit(Factor::Down, down, &down_shape, weight)?,
            up: fit(Factor::Up, up, &up_shape, weight)?,
            alpha,
        })
    }

    /// The shapes of `down` and `up` for a weight of shape `weight`.
    #[must_use]
    pub fn shapes(weight: &[usize], rank: usize) -> [Vec<usize>; 2] {
        let mut down = weight.to_vec();
        down[0] = rank;
        let mut up = vec![1; weight.len()];
        (up[0], up[1]) = (weight[0], rank);
        [down, up]
    }

    /// The matrix `down`, (rank, inputs[, kernel, kernel]).
    #[must_use]
    pub fn down(&self) -> &Tensor {
        &self.down
    }

    /// The matrix `up`, (outputs, rank[, 1, 1]).
    #[must_use]
    pub fn up(&self) -> &Tensor {
        &self.up
    }

    /// The number of rows of `down`.
    #[must_use]
    pub fn rank(&self) -> usize {
        self.down.dims()[0]
    }

    /// The numerator of [`LowRank::scale`].
    #[must_use]
    pub fn alpha(&self) -> f64 {
        self.alpha
    }

    /// The factor that `up down` is multiplied by: alpha / rank.
    #[must_use]
    pub fn scale(&self) -> f64 {
        self.alpha / self.rank() as f64
    }

    /// `scale` times the whole update, in the shape of the weight and in `f32`.
    pub fn difference(&self, scale: f64) -> Result<Tensor> {
        let flat = |t: &Tensor| t.detach().to_dtype(DType::F32)?.flatten_from(1)?.contiguous();
        let mut shape = self.down.dims().to_vec();
        shape[0] = self.up.dims()[0];
        let product = flat(&self.up)?.matmul(&flat(&self.down)?)?;
        Ok((product * (scale * self.scale()))?.reshape(shape)?)
    }

    /// Adds the update to the result `y`, (.., outputs), of a linear layer applied to `x`, (.., inputs).
    pub(super) fn add_linear(&self, x: &Tensor, y: &Tensor) -> Result<Tensor> {
        let flat = |t: &Tensor| t.flatten_from(1)?.to_dtype(x.dtype());
        let narrow = (linear(x, &flat(&self.down)?, None)? * self.scale())?;
        Ok((y + linear(&narrow, &flat(&self.up)?, None)?)?)
    }

    /// Adds the update to the result `y`, (batch, outputs, height', width'), of a convolution of `x`,
    /// (batch, inputs, height, width).
    pub(super) fn add_convolution(
        &self,
        x: &Tensor,
        y: &Tensor,
        stride: usize,
        padding: usize,
    ) -> Result<Tensor> {
        let weight = |t: &Tensor| t.to_dtype(x.dtype());
        let no_bias = |t: &Tensor| Tensor::zeros(t.dims()[0], x.dtype(), x.device());
        let narrow = conv2d(x, &weight(&self.down)?, &no_bias(&self.down)?, stride, padding)?;
        let wide = conv2d(&(narrow * self.scale())?, &weight(&self.up)?, &no_bias(&self.up)?, 1, 0)?;
        Ok((y + wide)?)
    }

    /// A copy whose factors are variables, with the variables for `down` and `up`.
    pub(crate) fn trainable(&self) -> candle_core::Result<(Self, Var, Var)> {
        let (down, up) = (Var::from_tensor(&self.down)?, Var::from_tensor(&self.up)?);
        let update = Self { down: down.as_tensor().clone(), up: up.as_tensor().clone(), alpha: self.alpha };
        Ok((update, down, up))
    }

    /// A copy on `device`, in `f32`.
    pub(crate) fn to(&self, device: &Device) -> candle_core::Result<Self> {
        let to = |t: &Tensor| t.to_dtype(DType::F32)?.to_device(device);
        Ok(Self { down: to(&self.down)?, up: to(&self.up)?, alpha: self.alpha })
    }
}

/// Reshapes a factor to `shape`, if they differ only by trailing dimensions of 1.
fn fit(factor: Factor, value: &Tensor, shape: &[usize], weight: &[usize]) -> Result<Tensor, FactorError> {
    let error = |problem| FactorError { factor, problem };
    if value.dims() != shape && without_ones(value.dims()) != without_ones(shape) {
        return Err(error(format!(
            "has shape {:?}, but the layer's weight {weight:?} needs {shape:?}",
            value.dims()
        )));
    }
    if value.dims() == shape {
        return Ok(value.clone());
    }
    value.reshape(shape).map_err(|e| error(e.to_string()))
}

/// The shape without the kernel of a 1 x 1 convolution.
fn without_ones(shape: &[usize]) -> &[usize] {
    match shape {
        [_, _, 1, 1] => &shape[..2],
        other => other,
    }
}
