//! Number formats of a run.

use serde::{Deserialize, Serialize};

/// Number format of the networks' activations. Weights, updates and errors are always f32: an update is often smaller
/// than the last digit of a 16-bit weight.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Precision {
    /// Single precision.
    #[default]
    F32,
    /// Half precision with a dynamic loss scale; a step whose gradients overflow is skipped.
    F16,
    /// bfloat16: the range of f32 with two to three digits. Needs a GPU.
    Bf16,
}

/// Number format of AdamW's two moments.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Moments {
    /// 8 bytes per weight for both.
    #[default]
    F32,
    /// 4 bytes per weight, rounded stochastically so that small changes are kept on average.
    Bf16,
    /// 2 bytes per weight, in blocks of 256 in bitsandbytes' data type. Parameters of fewer than 4096 weights stay
    /// f32.
    Int8,
}
