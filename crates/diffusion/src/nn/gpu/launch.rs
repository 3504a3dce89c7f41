//! Launching kernels: on a GPU, or in tests on an emulation of one.

#[cfg(feature = "cuda")]
use super::cuda;
#[cfg(test)]
use super::emulation;
use super::grid::Grid;
pub(in crate::nn) use super::grid::{Number, WARP};
use candle_core::{DType, Error, Result, Tensor};

/// Threads of a block in which each warp processes a row or each thread some values.
const BLOCK: usize = 256;
/// The largest number of blocks in which each thread processes some values: several times what the largest card runs at
/// once.
const MAX_BLOCKS: usize = 4096;

/// A kernel with its grid and its operands.
pub(in crate::nn) struct Launch<'a> {
    grid: Grid,
    operands: &'a [&'a Tensor],
}

impl<'a> Launch<'a> {
    fn new(kernel: &'static str, blocks: usize, threads: usize, operands: &'a [&'a Tensor]) -> Self {
        Self { grid: Grid { kernel, blocks, threads, shared: 0 }, operands }
    }

    /// A block per row, with as many threads as suit `width` values.
    pub(in crate::nn) fn per_row(
        kernel: &'static str,
        rows: usize,
        width: usize,
        operands: &'a [&'a Tensor],
    ) -> Self {
        Self::new(kernel, rows, width.next_multiple_of(WARP).clamp(WARP, 512), operands)
    }

    /// A warp per row.
    pub(in crate::nn) fn warp_per_row(kernel: &'static str, rows: usize, operands: &'a [&'a Tensor]) -> Self {
        Self::new(kernel, rows.div_ceil(BLOCK / WARP), BLOCK, operands)
    }

    /// A fixed number of threads that loop over all values.
    pub(in crate::nn) fn per_value(kernel: &'static str, values: usize, operands: &'a [&'a Tensor]) -> Self {
        Self::new(kernel, values.div_ceil(BLOCK).min(MAX_BLOCKS), BLOCK, operands)
    }

    /// A block of 32 x 8 threads per tile.
    pub(in crate::nn) fn per_tile(kernel: &'static str, tiles: usize, operands: &'a [&'a Tensor]) -> Self {
        Self::new(kernel, tiles, BLOCK, operands)
    }

    /// The number of blocks.
    pub(in crate::nn) fn blocks(&self) -> usize {
        self.grid.blocks
    }

    /// The same launch with `bytes` of shared memory per block.
    pub(in crate::nn) fn with_shared_memory(self, bytes: usize) -> Self {
        Self { grid: Grid { shared: bytes, ..self.grid }, ..self }
    }

    /// Runs the kernel. Its parameters are the results (new tensors of these types and shapes), the operands, and then the
    /// numbers; the macro `SCALAR` is the type of the first operand.
    pub(in crate::nn) fn run<const N: usize>(
        self,
        results: [(DType, &[usize]); N],
        numbers: &[Number],
    ) -> Result<[Tensor; N]> {
        let operands = self.operands.iter().map(|t| t.contiguous()).collect::<Result<Vec<_>>>()?;
        let tensors = self.dispatch(&operands, &results, numbers)?;
        let kernel = self.grid.kernel;
        tensors.try_into().map_err(|_| Error::Msg(format!("{kernel}: returned not {N} results")))
    }

    fn dispatch(
        &self,
        operands: &[Tensor],
        results: &[(DType, &[usize])],
        numbers: &[Number],
    ) -> Result<Vec<Tensor>> {
        #[cfg(feature = "cuda")]
        if let candle_core::Device::Cuda(device) = operands[0].device() {
            return cuda::launch(&self.grid, device, operands, results, numbers);
        }
        #[cfg(test)]
        return emulation::launch(&self.grid, operands, results, numbers);
        #[cfg(not(test))]
        {
            let _ = (operands, results, numbers);
            candle_core::bail!("{}: there is no such kernel for this device", self.grid.kernel)
        }
    }
}
