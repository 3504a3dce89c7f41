//! The launch parameters of a kernel.

/// A number passed to a kernel.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(not(any(feature = "cuda", test)), expect(dead_code, reason = "read where kernels are launched"))]
pub(in crate::nn) enum Number {
    /// A `long long`.
    Whole(usize),
    /// A `float`.
    Real(f64),
}

/// Threads of a warp.
pub(in crate::nn) const WARP: usize = 32;

/// A kernel and the grid it runs on.
#[cfg_attr(not(any(feature = "cuda", test)), expect(dead_code, reason = "read where kernels are launched"))]
pub(super) struct Grid {
    /// The kernel's name in the source.
    pub(super) kernel: &'static str,
    /// Blocks of the grid.
    pub(super) blocks: usize,
    /// Threads per block.
    pub(super) threads: usize,
    /// Bytes of shared memory per block.
    pub(super) shared: usize,
}
