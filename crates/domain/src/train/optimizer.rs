//! How gradients update the weights.

use super::precision::Moments;
use crate::problem::Problems;
use serde::{Deserialize, Serialize};

/// The optimiser and its settings; AdamW with its defaults when absent.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "openapi", schema(example = json!({ "kind": "adam_w", "weight_decay": 0.01 })))]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum OptimizerSpec {
    /// Adam with decoupled weight decay (Loshchilov and Hutter, 2019).
    AdamW {
        /// Decay of the first moment per update, 0 to below 1. Closer to 1 averages gradients over more updates.
        #[serde(default = "beta1")]
        #[cfg_attr(feature = "openapi", schema(default = beta1))]
        beta1: f64,
        /// Decay of the second moment per update, 0 to below 1.
        #[serde(default = "beta2")]
        #[cfg_attr(feature = "openapi", schema(default = beta2))]
        beta2: f64,
        /// Added to the square root of the second moment; greater than 0. Larger damps updates of weights with tiny
        /// gradients.
        #[serde(default = "epsilon")]
        #[cfg_attr(feature = "openapi", schema(default = epsilon))]
        epsilon: f64,
        /// Each update shrinks the weights by learning rate times this; 0 or more.
        #[serde(default = "weight_decay")]
        #[cfg_attr(feature = "openapi", schema(default = weight_decay))]
        weight_decay: f64,
        /// Gradients with a larger norm are scaled down to this norm; 0 disables clipping.
        #[serde(default = "max_grad_norm")]
        #[cfg_attr(feature = "openapi", schema(default = max_grad_norm))]
        max_grad_norm: f64,
        /// Number format of the two moments. Smaller formats save memory and round the moments.
        #[serde(default, skip_serializing_if = "crate::is_default")]
        #[cfg_attr(feature = "openapi", schema(default = Moments::default))]
        moments: Moments,
    },
    /// Adafactor (Shazeer and Stern, 2018) with a given learning rate, as in the SDXL recipes. It keeps row and
    /// column means of a matrix's second moments instead of the whole matrix.
    Adafactor {
        /// Updates with a larger root mean square, before the learning rate, are scaled down to it; greater than 0.
        #[serde(default = "clip_threshold")]
        #[cfg_attr(feature = "openapi", schema(default = clip_threshold))]
        clip_threshold: f64,
        /// Update t decays the moments by 1 - t^`decay_rate`; -1 to below 0. Closer to 0 forgets faster.
        #[serde(default = "decay_rate")]
        #[cfg_attr(feature = "openapi", schema(default = decay_rate))]
        decay_rate: f64,
        /// Decay of the first moment, 0 to below 1; no first moment is kept when absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        beta1: Option<f64>,
        /// Added to squared gradients; greater than 0.
        #[serde(default = "adafactor_epsilon")]
        #[cfg_attr(feature = "openapi", schema(default = adafactor_epsilon))]
        epsilon: f64,
        /// Each update shrinks the weights by learning rate times this; 0 or more.
        #[serde(default = "weight_decay")]
        #[cfg_attr(feature = "openapi", schema(default = weight_decay))]
        weight_decay: f64,
        /// Gradients with a larger norm are scaled down to this norm; 0 disables clipping.
        #[serde(default = "max_grad_norm")]
        #[cfg_attr(feature = "openapi", schema(default = max_grad_norm))]
        max_grad_norm: f64,
    },
}

fn beta1() -> f64 {
    0.9
}
fn beta2() -> f64 {
    0.999
}
fn epsilon() -> f64 {
    1e-8
}
fn weight_decay() -> f64 {
    1e-2
}
fn max_grad_norm() -> f64 {
    1.0
}
fn clip_threshold() -> f64 {
    1.0
}
fn decay_rate() -> f64 {
    -0.8
}
/// The paper's epsilon_1, also the default of transformers.
fn adafactor_epsilon() -> f64 {
    1e-30
}

impl Default for OptimizerSpec {
    fn default() -> Self {
        Self::AdamW {
            beta1: beta1(),
            beta2: beta2(),
            epsilon: epsilon(),
            weight_decay: weight_decay(),
            max_grad_norm: max_grad_norm(),
            moments: Moments::default(),
        }
    }
}

impl OptimizerSpec {
    /// Largest norm of a gradient; 0 disables clipping.
    #[must_use]
    pub fn max_grad_norm(&self) -> f64 {
        match *self {
            Self::AdamW { max_grad_norm, .. } | Self::Adafactor { max_grad_norm, .. } => max_grad_norm,
        }
    }

    pub(super) fn validate(&self, p: &mut Problems) {
        let decay = |p: &mut Problems, field: &str, v: f64| {
            p.require((0.0..1.0).contains(&v), field, "use 0 to below 1");
        };
        let weight_decay = match *self {
            Self::AdamW { beta1, beta2, epsilon, weight_decay, .. } => {
                decay(p, "optimizer.beta1", beta1);
                decay(p, "optimizer.beta2", beta2);
                p.require_positive(epsilon, "optimizer.epsilon");
                weight_decay
            }
            Self::Adafactor { clip_threshold, decay_rate, beta1, epsilon, weight_decay, .. } => {
                p.require_positive(clip_threshold, "optimizer.clip_threshold");
                p.require(
                    (-1.0..0.0).contains(&decay_rate),
                    "optimizer.decay_rate",
                    "use -1 to below 0, for example -0.8",
                );
                decay(p, "optimizer.beta1", beta1.unwrap_or(0.0));
                p.require_positive(epsilon, "optimizer.epsilon");
                weight_decay
            }
        };
        for (field, v) in
            [("optimizer.weight_decay", weight_decay), ("optimizer.max_grad_norm", self.max_grad_norm())]
        {
            p.require(v.is_finite() && v >= 0.0, field, "use 0 or more");
        }
    }
}
