//! Gradients of all parameters, summed over micro-batches.

use crate::collective::ProcessGroup;
use anyhow::{Context, Result, bail};
use candle_core::backprop::GradStore;
use candle_core::{DType, Tensor};
use diffusion::nn::squared_sums;
use diffusion::weights::Variables;
use std::collections::BTreeMap;

/// Gradients in f32 by parameter name, summed over micro-batches.
#[derive(Debug, Default)]
pub struct Gradients {
    by_name: BTreeMap<String, Tensor>,
}

impl Gradients {
    /// Adds the gradients of a backward pass. candle silently omits the gradient of a parameter behind an operation
    /// without a backward pass, and the loss still falls; so a missing gradient is an error.
    ///
    /// # Errors
    /// Fails if a parameter has no gradient, and names it.
    pub fn add(&mut self, store: &GradStore, variables: &Variables) -> Result<()> {
        // Detached, because a gradient otherwise keeps its graph in memory.
        let found = variables.iter().filter_map(|(name, v)| Some((name.clone(), store.get(v)?.detach())));
        self.add_named(found.collect(), variables)
    }

    /// As [`Gradients::add`], for gradients by parameter name.
    ///
    /// # Errors
    /// Fails if a parameter has no gradient, and names it.
    pub(crate) fn add_named(
        &mut self,
        mut found: BTreeMap<String, Tensor>,
        variables: &Variables,
    ) -> Result<()> {
        for name in variables.keys() {
            let Some(gradient) = found.remove(name) else {
                bail!(
                    "parameter {name} received no gradient: an operation between it and the loss has no backward pass"
                );
            };
            // Sums of many small terms lose too much precision in 16 bits.
            let gradient = gradient.to_dtype(DType::F32)?;
            match self.by_name.get_mut(name) {
                Some(sum) => *sum = (&*sum + gradient)?,
                None => {
                    self.by_name.insert(name.clone(), gradient);
                }
            }
        }
        Ok(())
    }

    /// Replaces every gradient by its sum over all processes that train together.
    ///
    /// # Errors
    /// Fails if the connection to another process is lost.
    pub(crate) fn sum_over(&mut self, group: &ProcessGroup) -> Result<()> {
        group.sum(&mut self.by_name)
    }

    /// The gradient of a parameter.
    ///
    /// # Errors
    /// Fails if there is no gradient of this name.
    pub fn get(&self, name: &str) -> Result<&Tensor> {
        self.by_name.get(name).with_context(|| format!("parameter {name} has no gradient"))
    }

    /// The Euclidean norm of all gradients together.
    ///
    /// # Errors
    /// Fails if a tensor operation does.
    pub(crate) fn norm(&self) -> Result<f64> {
        Ok(squared_sums(self.by_name.values())?.iter().sum::<f64>().sqrt())
    }
}
