//! Training in less memory, for more computation.

use serde::{Deserialize, Serialize};

/// Options that save memory and take time. Both keep the gradients, up to rounding where noted.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MemorySpec {
    /// Computes the errors of a micro-batch without a graph, then the gradients of one image at a time: one more
    /// forward pass, memory for one image. Gradients differ by rounding, because they are summed image by image.
    #[cfg_attr(feature = "openapi", schema(default = false))]
    pub two_pass: bool,
    /// Keeps only the inputs of each block for the backward pass and recomputes the rest: one more forward pass.
    /// Gradients are equal to the last bit.
    #[cfg_attr(feature = "openapi", schema(default = false))]
    pub checkpoint_activations: bool,
}
