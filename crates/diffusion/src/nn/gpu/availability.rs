//! Whether GPU kernels can run on given operands.

#[cfg(feature = "cuda")]
use super::cuda;
#[cfg(test)]
use super::emulation;
use super::source::scalar_macro;
use candle_core::Tensor;
use std::sync::atomic::{AtomicBool, Ordering};

static ENABLED: AtomicBool = AtomicBool::new(true);

/// Turns the GPU kernels on (the default) or off, for the whole process.
pub fn enable(enabled: bool) {
    ENABLED.store(enabled, Ordering::Relaxed);
}

/// Whether the kernels can run on these operands: all of one type (`f32`, `f16` or `bf16`), not empty, and on a GPU.
#[must_use]
pub fn is_available(operands: &[&Tensor]) -> bool {
    let Some(first) = operands.first() else { return false };
    ENABLED.load(Ordering::Relaxed)
        && scalar_macro(first.dtype()).is_some()
        && operands.iter().all(|t| t.dtype() == first.dtype() && t.elem_count() > 0)
        && has_kernels(first)
}

/// Whether the device of `x` has kernels for its type.
fn has_kernels(x: &Tensor) -> bool {
    #[cfg(feature = "cuda")]
    if x.device().is_cuda() {
        return cuda::is_ready(x);
    }
    #[cfg(test)]
    if x.device().is_cpu() {
        return emulation::is_on();
    }
    let _ = x;
    false
}
