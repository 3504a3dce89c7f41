//! Optimiser settings that both towers share.

use anyhow::Result;
use diffusion::weights::Variables;
use domain::train::{Moments, OptimizerSpec};
use training::optim::Optimiser;

/// Captions or images per step.
pub(super) const BATCH: usize = 64;
pub(super) const WARMUP_STEPS: u32 = 100;

pub(super) fn optimiser(variables: &Variables) -> Result<Optimiser> {
    let spec = OptimizerSpec::AdamW {
        beta1: 0.9,
        beta2: 0.98,
        epsilon: 1e-8,
        weight_decay: 0.02,
        max_grad_norm: 1.0,
        moments: Moments::F32,
    };
    Optimiser::new(&spec, variables)
}

/// The variables of the network that `is_trained` selects, and those of the auxiliary classifiers.
pub(super) fn trained_variables(
    network: &Variables,
    is_trained: impl Fn(&str) -> bool,
    readouts: Variables,
) -> Variables {
    let network = network.iter().filter(|(name, _)| is_trained(name)).map(|(n, v)| (n.clone(), v.clone()));
    readouts.into_iter().map(|(name, v)| (format!("readout.{name}"), v)).chain(network).collect()
}
