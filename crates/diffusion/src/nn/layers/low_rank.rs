//! The update of one layer by two thin matrices (Hu et al. 2021, LoRA): weight + alpha / rank * up down.

use crate::Result;
use crate::nn::{conv2d, linear};
use candle_core::{DType, Device, Tensor, Var};

/// An update of a linear layer or a convolution.
///
/// `down` is (rank, inputs), for a convolution (rank, inputs, kernel, kernel); `up` is (outputs, rank), for a
/// convolution (outputs, rank, 1, 1).
#[derive(Clone, Debug)]
pub struct LowRank {
    down: Tensor,
    up: Tensor,
    alpha: f64,
}

/// Which of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Factor {
    /// From the inputs to the rank; PEFT's `lora_A`.
    Down,
    /// From the rank to the outputs; PEFT's `lora_B`.
    Up,
}

/// A factor that does not fit its layer.
#[derive(Debug)]
pub struct Misfit {
    /// Which.
    pub factor: Factor,
    /// What is wrong.
    pub problem: String,
}

impl LowRank {
    /// An update of a weight of shape `weight`: (outputs, inputs) or (outputs, inputs, kernel, kernel). Factors of a
    /// linear layer and of a 1 x 1 convolution stand for each other.
    ///
    /// # Errors
    /// A factor that does not fit.
    pub fn new(down: &Tensor, up: &Tensor, alpha: f64, weight: &[usize]) -> Result<Self, Misfit> {
        let rank = down.dims().first().copied().unwrap_or_default();
        if rank == 0 || !alpha.is_finite() {
            let problem = format!("makes an update of rank {rank} and alpha {alpha}, which is none");
            return Err(Misfit { factor: Factor::Down, problem });
        }
        let [narrow, wide] = Self::shapes(weight, rank);
        Ok(Self {
            down: fit(Factor::Down, down, &narrow, weight)?,
            up: fit(Factor::Up, up, &wide, weight)?,
            alpha,
        })
    }

    /// The shapes of `down` and `up` for a weight.
    #[must_use]
    pub fn shapes(weight: &[usize], rank: usize) -> [Vec<usize>; 2] {
        let mut narrow = weight.to_vec();
        narrow[0] = rank;
        let mut wide = vec![1; weight.len()];
        (wide[0], wide[1]) = (weight[0], rank);
        [narrow, wide]
    }

    /// (rank, inputs[, kernel, kernel]).
    #[must_use]
    pub fn down(&self) -> &Tensor {
        &self.down
    }

    /// (outputs, rank[, 1, 1]).
    #[must_use]
    pub fn up(&self) -> &Tensor {
        &self.up
    }

    /// Rows of `down`.
    #[must_use]
    pub fn rank(&self) -> usize {
        self.down.dims()[0]
    }

    /// Divided by the rank it is the strength of the update.
    #[must_use]
    pub fn alpha(&self) -> f64 {
        self.alpha
    }

    /// What the product of the factors is multiplied by.
    #[must_use]
    pub fn scale(&self) -> f64 {
        self.alpha / self.rank() as f64
    }

    /// `scale` times the update, shaped as the weight, in f32.
    ///
    /// # Errors
    /// candle's.
    pub fn difference(&self, scale: f64) -> Result<Tensor> {
        let flat = |t: &Tensor| t.detach().to_dtype(DType::F32)?.flatten_from(1)?.contiguous();
        let mut shape = self.down.dims().to_vec();
        shape[0] = self.up.dims()[0];
        let product = flat(&self.up)?.matmul(&flat(&self.down)?)?;
        Ok((product * (scale * self.scale()))?.reshape(shape)?)
    }

    /// Adds the update of (.., inputs) to `y`, (.., outputs), a linear layer's or 1 x 1 convolution's.
    pub(in crate::nn) fn add_linear(&self, x: &Tensor, y: &Tensor) -> Result<Tensor> {
        let flat = |t: &Tensor| t.flatten_from(1)?.to_dtype(x.dtype());
        let narrow = (linear(x, &flat(&self.down)?, None)? * self.scale())?;
        Ok((y + linear(&narrow, &flat(&self.up)?, None)?)?)
    }

    /// Adds the update of (batch, inputs, height, width) to `y`, (batch, outputs, height', width'), a convolution's.
    pub(in crate::nn) fn add_convolution(
        &self,
        x: &Tensor,
        y: &Tensor,
        stride: usize,
        padding: usize,
    ) -> Result<Tensor> {
        let of = |t: &Tensor| t.to_dtype(x.dtype());
        let none = |t: &Tensor| Tensor::zeros(t.dims()[0], x.dtype(), x.device());
        let narrow = conv2d(x, &of(&self.down)?, &none(&self.down)?, stride, padding)?;
        let wide = conv2d(&(narrow * self.scale())?, &of(&self.up)?, &none(&self.up)?, 1, 0)?;
        Ok((y + wide)?)
    }

    /// The same with factors that can be trained, and these.
    pub(crate) fn trainable(&self) -> candle_core::Result<(Self, Var, Var)> {
        let (down, up) = (Var::from_tensor(&self.down)?, Var::from_tensor(&self.up)?);
        let update = Self { down: down.as_tensor().clone(), up: up.as_tensor().clone(), alpha: self.alpha };
        Ok((update, down, up))
    }

    /// The same on another device, in f32.
    pub(crate) fn to(&self, device: &Device) -> candle_core::Result<Self> {
        let to = |t: &Tensor| t.to_dtype(DType::F32)?.to_device(device);
        Ok(Self { down: to(&self.down)?, up: to(&self.up)?, alpha: self.alpha })
    }
}

/// The factor, in the shape that the layer has it in.
fn fit(factor: Factor, value: &Tensor, shape: &[usize], weight: &[usize]) -> Result<Tensor, Misfit> {
    let misfit = |problem| Misfit { factor, problem };
    if value.dims() != shape && without_ones(value.dims()) != without_ones(shape) {
        return Err(misfit(format!(
            "has shape {:?} where the layer's weight {weight:?} asks for {shape:?}",
            value.dims()
        )));
    }
    if value.dims() == shape {
        return Ok(value.clone());
    }
    value.reshape(shape).map_err(|e| misfit(e.to_string()))
}

/// A 1 x 1 convolution's shape as the linear layer's that does the same.
fn without_ones(shape: &[usize]) -> &[usize] {
    match shape {
        [_, _, 1, 1] => &shape[..2],
        other => other,
    }
}
