//! Kernels of our own for NVIDIA GPUs: the composed operations' passes over memory, each in one to three kernels instead
//! of ten of candle's. They are compiled by NVRTC when a device first needs them; where that fails, and while they are
//! turned off ([`allow`]), the operations stay compositions.
//!
//! Matrix products and convolutions stay cuBLAS's and cuDNN's. The tests run the same source, launched as on a GPU, on an
//! emulation of one (`emulation.c`), against the compositions in f64; `doctor` compares on the GPU itself.

#[cfg(feature = "cuda")]
mod cuda;
#[cfg(test)]
mod emulation;
#[cfg(test)]
mod tests;

use candle_core::{DType, Result, Tensor};
use std::sync::atomic::{AtomicBool, Ordering};

/// The kernels of one type of numbers, in what C and CUDA have in common.
#[cfg(any(feature = "cuda", test))]
const SOURCE: &str = include_str!("kernels.cu");

static ALLOWED: AtomicBool = AtomicBool::new(true);

/// Whether GPUs may use our kernels; at first they may.
pub fn allow(allow: bool) {
    ALLOWED.store(allow, Ordering::Relaxed);
}

/// Whether the kernels apply: to operands of one type, f32, f16 or bf16, on a GPU.
#[must_use]
pub fn serve(operands: &[&Tensor]) -> bool {
    let Some(first) = operands.first() else { return false };
    ALLOWED.load(Ordering::Relaxed)
        && scalar(first.dtype()).is_some()
        && operands.iter().all(|t| t.dtype() == first.dtype() && t.elem_count() > 0)
        && on_a_device_that_has_them(first)
}

/// What the source calls a type (`SCALAR`).
fn scalar(dtype: DType) -> Option<u32> {
    match dtype {
        DType::F32 => Some(32),
        DType::F16 => Some(16),
        DType::BF16 => Some(1016),
        _ => None,
    }
}

fn on_a_device_that_has_them(x: &Tensor) -> bool {
    #[cfg(feature = "cuda")]
    if x.device().is_cuda() {
        return cuda::ready(x);
    }
    #[cfg(test)]
    if x.device().is_cpu() {
        return emulation::is_on();
    }
    let _ = x;
    false
}

/// A number that a kernel takes.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(not(any(feature = "cuda", test)), expect(dead_code, reason = "read where kernels are launched"))]
pub(in crate::nn) enum Number {
    Whole(usize),
    Real(f64),
}

/// Threads of a warp.
pub(in crate::nn) const WARP: usize = 32;
/// Threads of a block whose warps take a row each.
const BLOCK: usize = 256;
/// Blocks of a kernel whose threads go through all values: what fills the largest card several times.
const MOST_BLOCKS: usize = 4096;

/// One kernel's launch.
pub(in crate::nn) struct Launch<'a> {
    kernel: &'static str,
    blocks: usize,
    threads: usize,
    shared: usize,
    operands: &'a [&'a Tensor],
}

impl<'a> Launch<'a> {
    /// Blocks of as many threads as `width` values are worth.
    pub(in crate::nn) fn per_row(
        kernel: &'static str,
        rows: usize,
        width: usize,
        operands: &'a [&'a Tensor],
    ) -> Self {
        let threads = width.next_multiple_of(WARP).clamp(WARP, 512);
        Self { kernel, blocks: rows, threads, shared: 0, operands }
    }

    /// A warp per row.
    pub(in crate::nn) fn warp_per_row(kernel: &'static str, rows: usize, operands: &'a [&'a Tensor]) -> Self {
        Self { kernel, blocks: rows.div_ceil(BLOCK / WARP), threads: BLOCK, shared: 0, operands }
    }

    /// Threads that go through all values.
    pub(in crate::nn) fn per_value(kernel: &'static str, values: usize, operands: &'a [&'a Tensor]) -> Self {
        let blocks = values.div_ceil(BLOCK).min(MOST_BLOCKS);
        Self { kernel, blocks, threads: BLOCK, shared: 0, operands }
    }

    /// Blocks of 32 x 8 threads.
    pub(in crate::nn) fn per_tile(kernel: &'static str, tiles: usize, operands: &'a [&'a Tensor]) -> Self {
        Self { kernel, blocks: tiles, threads: BLOCK, shared: 0, operands }
    }

    pub(in crate::nn) fn blocks(&self) -> usize {
        self.blocks
    }

    /// With bytes of shared memory.
    pub(in crate::nn) fn sharing(self, shared: usize) -> Self {
        Self { shared, ..self }
    }

    /// Launches it. The kernel takes addresses of the results (new tensors of these types and shapes), then of the operands,
    /// then the numbers; its type of numbers is the first operand's.
    pub(in crate::nn) fn run<const N: usize>(
        self,
        results: [(DType, &[usize]); N],
        numbers: &[Number],
    ) -> Result<[Tensor; N]> {
        let operands = self.operands.iter().map(|t| t.contiguous()).collect::<Result<Vec<_>>>()?;
        let tensors = self.place(&operands, &results, numbers)?;
        tensors.try_into().map_err(|_| candle_core::Error::Msg(format!("{}: other results", self.kernel)))
    }

    fn place(
        &self,
        operands: &[Tensor],
        results: &[(DType, &[usize])],
        numbers: &[Number],
    ) -> Result<Vec<Tensor>> {
        #[cfg(feature = "cuda")]
        if let candle_core::Device::Cuda(device) = operands[0].device() {
            return cuda::launch(self, device, operands, results, numbers);
        }
        #[cfg(test)]
        return emulation::launch(self, operands, results, numbers);
        #[cfg(not(test))]
        {
            let _ = (self.blocks, self.threads, self.shared, operands, results, numbers);
            candle_core::bail!("{}: no such kernel on this device", self.kernel)
        }
    }
}

/// (.., a, b, c) to (.., b, a, c), contiguous.
pub(in crate::nn) fn exchange(x: &Tensor) -> Result<Tensor> {
    let rank = x.rank();
    let mut dims = x.dims().to_vec();
    dims.swap(rank - 3, rank - 2);
    if !serve(&[x]) {
        return x.transpose(rank - 3, rank - 2)?.contiguous();
    }
    let [.., a, b, c] = *x.dims() else { candle_core::bail!("exchange: {:?}", x.dims()) };
    let rows = x.elem_count() / c;
    let [y] = Launch::warp_per_row("exchange", rows, &[x]).run(
        [(x.dtype(), &dims)],
        &[Number::Whole(rows), Number::Whole(a), Number::Whole(b), Number::Whole(c)],
    )?;
    Ok(y)
}

/// A step of AdamW: weight, first and second moment after it, where the kernels serve. Numbers: beta1, beta2, what the
/// gradient is multiplied by, what the weight is (the decay), the rate and what the second moment is multiplied by (both
/// with their bias corrections), epsilon.
///
/// # Errors
/// Tensors of several shapes; candle's.
pub fn adamw(
    weight: &Tensor,
    first: &Tensor,
    second: &Tensor,
    gradient: &Tensor,
    numbers: [f64; 7],
) -> Result<Option<[Tensor; 3]>> {
    let operands = [weight, first, second, gradient];
    if !serve(&operands) {
        return Ok(None);
    }
    if operands.iter().any(|t| t.shape() != weight.shape()) {
        candle_core::bail!("AdamW: a weight {:?} with other moments or another gradient", weight.dims());
    }
    let values = weight.elem_count();
    let result = (weight.dtype(), weight.dims());
    let mut told = vec![Number::Whole(values)];
    told.extend(numbers.map(Number::Real));
    Launch::per_value("adamw", values, &operands).run([result; 3], &told).map(Some)
}
