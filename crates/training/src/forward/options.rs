//! How the networks are evaluated and differentiated.

use diffusion::tape::BackwardMode;
use domain::train::{ErrorSpace, TrainSpec};

/// How the networks are evaluated and differentiated. The gradients are the same for all `keep`, and for `two_pass`
/// except for rounding.
#[derive(Clone, Copy, Debug)]
pub struct PassOptions {
    /// Computes the errors without a graph first, then again with the graph of one image at a time.
    pub two_pass: bool,
    /// What of a pass stays in memory for the backward pass.
    pub keep: BackwardMode,
    /// The space in which the errors of a v-prediction model are measured.
    pub error_space: ErrorSpace,
}

impl PassOptions {
    /// The options of a spec.
    #[must_use]
    pub fn of(spec: &TrainSpec) -> Self {
        Self {
            two_pass: spec.memory.two_pass,
            keep: if spec.memory.checkpoint_activations {
                BackwardMode::Recompute
            } else {
                BackwardMode::StoreGraph
            },
            error_space: spec.error_space,
        }
    }
}
