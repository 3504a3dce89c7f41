//! Which implementation of an operation runs on a tensor, and in which type its sums are accumulated.

use candle_core::{DType, Tensor};

/// The type in which sums of values of type `dtype` are accumulated: at least `f32`.
pub(super) fn accumulation_dtype(dtype: DType) -> DType {
    if dtype == DType::F64 { DType::F64 } else { DType::F32 }
}

/// Whether our own CPU kernels run on `x`: `f32` on the CPU.
pub(super) fn has_cpu_kernel(x: &Tensor) -> bool {
    x.device().is_cpu() && x.dtype() == DType::F32
}
