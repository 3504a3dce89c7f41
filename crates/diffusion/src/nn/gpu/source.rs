//! The source of the kernels, and the constants it is compiled with.

use candle_core::DType;

/// The kernels for one element type, in the common subset of C and CUDA.
#[cfg(any(feature = "cuda", test))]
pub(super) const SOURCE: &str = include_str!("kernels.cu");

/// The value of the macro `SCALAR` for an element type; `None` for types without kernels.
pub(super) fn scalar_macro(dtype: DType) -> Option<u32> {
    match dtype {
        DType::F32 => Some(32),
        DType::F16 => Some(16),
        DType::BF16 => Some(1016),
        _ => None,
    }
}
