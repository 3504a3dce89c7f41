//! An exponential moving average (EMA) of the weights. It generates better images than the weights themselves.

use anyhow::{Context, Result};
use candle_core::{CpuStorage, InplaceOp2, Layout, Tensor};
use diffusion::weights::Variables;
use rayon::prelude::*;
use std::collections::BTreeMap;

/// The moving average of all trained weights, in f32.
#[derive(Debug)]
pub(crate) struct MovingAverage {
    decay: f64,
    updates: u64,
    values: BTreeMap<String, Tensor>,
}

impl MovingAverage {
    /// Starts at the current weights.
    ///
    /// # Errors
    /// Fails if a tensor operation does.
    pub(crate) fn new(decay: f64, variables: &Variables) -> Result<Self> {
        let values = variables
            .iter()
            .map(|(name, v)| Ok((name.clone(), v.as_detached_tensor().copy()?)))
            .collect::<Result<_>>()?;
        Ok(Self { decay, updates: 0, values })
    }

    /// average = d average + (1 - d) weights. In update n, d is the smaller of the decay and (1 + n) / (10 + n), so
    /// that the start weights do not dominate a short run.
    ///
    /// # Errors
    /// Fails if a parameter is missing or a tensor operation fails.
    pub(crate) fn update(&mut self, variables: &Variables) -> Result<()> {
        self.updates += 1;
        let n = self.updates as f64;
        let decay = self.decay.min((1.0 + n) / (10.0 + n));
        for (name, average) in &mut self.values {
            let weights =
                variables.get(name).with_context(|| format!("no parameter {name}"))?.as_detached_tensor();
            if average.device().is_cpu() {
                average.inplace_op2(&weights, &Lerp { decay: decay as f32 })?;
            } else {
                *average = ((&*average * decay)? + (weights * (1.0 - decay))?)?;
            }
        }
        Ok(())
    }

    /// The averaged weights by parameter name.
    #[must_use]
    pub(crate) fn values(&self) -> &BTreeMap<String, Tensor> {
        &self.values
    }

    /// Number of updates so far.
    #[must_use]
    pub(crate) fn updates(&self) -> u64 {
        self.updates
    }

    /// Replaces the average by a saved one.
    pub(crate) fn restore(&mut self, values: BTreeMap<String, Tensor>, updates: u64) {
        self.values = values;
        self.updates = updates;
    }
}

/// average = decay average + (1 - decay) weights, in place.
struct Lerp {
    decay: f32,
}

impl InplaceOp2 for Lerp {
    fn name(&self) -> &'static str {
        "moving-average"
    }

    fn cpu_fwd(
        &self,
        average: &mut CpuStorage,
        average_layout: &Layout,
        weights: &CpuStorage,
        weights_layout: &Layout,
    ) -> candle_core::Result<()> {
        let (CpuStorage::F32(average), CpuStorage::F32(weights)) = (average, weights) else {
            candle_core::bail!("moving average: the weights must be f32");
        };
        let (Some((start, end)), Some((w_start, w_end))) =
            (average_layout.contiguous_offsets(), weights_layout.contiguous_offsets())
        else {
            candle_core::bail!("moving average: the weights must be contiguous");
        };
        average[start..end]
            .par_chunks_mut(1 << 14)
            .zip(weights[w_start..w_end].par_chunks(1 << 14))
            .for_each(|(average, weights)| {
                for (a, &w) in average.iter_mut().zip(weights) {
                    *a = self.decay * *a + (1.0 - self.decay) * w;
                }
            });
        Ok(())
    }
}
