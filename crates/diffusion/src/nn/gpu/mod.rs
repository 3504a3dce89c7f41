//! Our own kernels for NVIDIA GPUs: each memory-bound pass of a composed operation in one to three kernels, where candle
//! would run about ten.
//!
//! NVRTC compiles them when a device first needs them. Where that fails, and while they are turned off
//! ([`availability::enable`]), the operations run as compositions. Matrix products and convolutions stay with cuBLAS and
//! cuDNN.
//!
//! The tests compile the same source (`kernels.cu`) with a C compiler, run it on an emulated GPU (`emulation.c`) through
//! the launches that a real GPU gets, and compare it with the compositions in `f64`. `diff-contrast-trainer doctor` makes
//! the comparison on a real GPU.

pub(super) mod adamw;
pub(super) mod availability;
#[cfg(feature = "cuda")]
mod cuda;
#[cfg(test)]
mod emulation;
mod grid;
pub(super) mod launch;
mod source;
#[cfg(test)]
mod tests;
