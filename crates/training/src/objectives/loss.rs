//! The result of an objective.

use candle_core::{DType, Result, Tensor};

/// A loss to differentiate, and the metrics to report with it.
#[derive(Debug)]
pub struct Loss {
    /// A scalar.
    pub loss: Tensor,
    /// Names (`domain::run::metric`) and values.
    pub metrics: Vec<(&'static str, f64)>,
}

impl Loss {
    /// The loss as a number. Waits for its device.
    ///
    /// # Errors
    /// Fails if the loss is not a scalar.
    pub fn value(&self) -> Result<f64> {
        self.loss.to_dtype(DType::F64)?.to_scalar()
    }
}
