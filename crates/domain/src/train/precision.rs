//! The numbers a run computes with and remembers in.

use serde::{Deserialize, Serialize};

/// What the networks compute in. Weights, their updates, and errors stay in f32: an update is often smaller than the
/// last digit of a 16-bit weight.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Precision {
    /// Single precision.
    #[default]
    F32,
    /// Half precision, with a loss scale that follows the gradients; a step whose gradients overflow is skipped.
    F16,
    /// bfloat16: the range of f32, two to three digits. Not on a CPU.
    Bf16,
}

/// What AdamW keeps the moments of gradients in.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Moments {
    /// 8 bytes a weight for both.
    #[default]
    F32,
    /// 4 bytes, rounded up or down by chance, so that small changes count on average.
    Bf16,
    /// 2 bytes, in blocks of 256 with the data type of bitsandbytes; parameters of fewer than 4096 weights keep f32.
    Int8,
}
