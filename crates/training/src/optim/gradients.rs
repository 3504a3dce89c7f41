//! Gradients of all parameters, by name: summed over micro-batches, checked, measured.

use crate::collective::Collective;
use anyhow::{Context, Result, bail};
use candle_core::backprop::GradStore;
use candle_core::{DType, Tensor};
use diffusion::nn::squared_sums;
use diffusion::weights::Variables;
use std::collections::BTreeMap;

/// Gradients by parameter name.
#[derive(Debug, Default)]
pub struct Gradients {
    by_name: BTreeMap<String, Tensor>,
}

impl Gradients {
    /// Adds what a backward pass left. Every parameter must have received a gradient: candle reports a missing
    /// one by silence, and a network trained around the hole looks healthy.
    ///
    /// # Errors
    /// A parameter without a gradient, by name.
    pub fn add(&mut self, store: &GradStore, variables: &Variables) -> Result<()> {
        // Detached, or their graphs would stay alive.
        let found = variables.iter().filter_map(|(name, v)| Some((name.clone(), store.get(v)?.detach())));
        self.add_found(found.collect(), variables)
    }

    /// As [`Gradients::add`], of gradients by name.
    ///
    /// # Errors
    /// As there.
    pub fn add_found(&mut self, mut found: BTreeMap<String, Tensor>, variables: &Variables) -> Result<()> {
        for name in variables.keys() {
            let Some(gradient) = found.remove(name) else {
                bail!("parameter {name} received no gradient: an operation in its path has no backward");
            };
            // Sums of many small terms need more digits than 16 bits have.
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
    /// Another process is gone.
    pub fn sum_over(&mut self, collective: &Collective) -> Result<()> {
        collective.sum(&mut self.by_name)
    }

    /// The gradient of a parameter.
    ///
    /// # Errors
    /// It has none.
    pub fn get(&self, name: &str) -> Result<&Tensor> {
        self.by_name.get(name).with_context(|| format!("parameter {name} has no gradient"))
    }

    /// The Euclidean length of all gradients together.
    ///
    /// # Errors
    /// candle's.
    pub fn norm(&self) -> Result<f64> {
        Ok(squared_sums(self.by_name.values())?.iter().sum::<f64>().sqrt())
    }
}
