//! Building blocks of the CPU kernels: matrix products, vectorised loops, scratch memory, access to candle's storage.

pub(super) mod disjoint;
pub(super) mod matmul;
pub(super) mod panels;
pub(super) mod scratch;
pub(super) mod simd;
pub(super) mod slices;
