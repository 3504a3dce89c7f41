//! The values of candle's CPU tensors as slices.

use candle_core::{CpuStorage, Device, Layout, Result, Shape, Storage, Tensor, bail};

/// The values of a contiguous `f32` operand.
pub(in crate::nn) fn of_storage<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [f32]> {
    match (storage, layout.contiguous_offsets()) {
        (CpuStorage::F32(values), Some((start, end))) => Ok(&values[start..end]),
        (_, None) => bail!("a CPU kernel needs contiguous operands: call contiguous() first"),
        _ => bail!("a CPU kernel needs f32 operands"),
    }
}

/// Runs `f` on the values of a contiguous `f32` tensor on the CPU.
pub(in crate::nn) fn with<R>(tensor: &Tensor, f: impl FnOnce(&[f32]) -> R) -> Result<R> {
    with_all([tensor], |[values]| f(values))
}

/// As [`with`], for several tensors at once.
pub(in crate::nn) fn with_all<const N: usize, R>(
    tensors: [&Tensor; N],
    f: impl FnOnce([&[f32]; N]) -> R,
) -> Result<R> {
    let guards = tensors.map(Tensor::storage_and_layout);
    let mut slices: [&[f32]; N] = [&[]; N];
    for (slice, (storage, layout)) in slices.iter_mut().zip(&guards) {
        match &**storage {
            Storage::Cpu(storage) => *slice = of_storage(storage, layout)?,
            _ => bail!("a CPU kernel needs operands on the CPU"),
        }
    }
    Ok(f(slices))
}

/// A CPU tensor of these values.
pub(in crate::nn) fn tensor(values: Vec<f32>, shape: &Shape) -> Result<Tensor> {
    Tensor::from_vec(values, shape.clone(), &Device::Cpu)
}
