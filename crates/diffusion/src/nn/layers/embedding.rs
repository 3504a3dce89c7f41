//! The embedding layer.

use crate::Result;
use crate::weights::{Init, Scope};
use candle_core::Tensor;

/// A table with a vector for each id.
#[derive(Debug)]
pub struct Embedding {
    weight: Tensor,
}

impl Embedding {
    /// Reads the parameter `weight`, (entries, width). A new network draws it from a normal distribution with standard
    /// deviation `deviation`.
    ///
    /// # Errors
    /// Fails if the parameter is missing or has another shape.
    pub fn new(scope: &Scope<'_>, entries: usize, width: usize, deviation: f64) -> Result<Self> {
        Ok(Self { weight: scope.get("weight", &[entries, width], Init::Normal(deviation))? })
    }

    /// Looks up ids: (batch, positions) of `u32` to (batch, positions, width).
    ///
    /// # Errors
    /// Fails if an id is outside the table.
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
