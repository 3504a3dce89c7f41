//! The driver's pool that a GPU's tensors are allocated from.
#![expect(unsafe_code, reason = "the driver takes and gives attributes by address")]

use crate::Result;
use candle_core::Device;
use candle_core::cuda_backend::WrapErr;
use candle_core::cuda_backend::cudarc::driver::result::{device::get_default_mem_pool, mem_pool};
use candle_core::cuda_backend::cudarc::driver::sys::{CUmemPool_attribute, CUmemoryPool};

fn of(device: &Device) -> Result<CUmemoryPool> {
    let stream = device.as_cuda_device()?.cuda_stream();
    let context = stream.context();
    context.bind_to_thread().w()?;
    // SAFETY: a device that is open.
    Ok(unsafe { get_default_mem_pool(context.cu_device()) }.w()?)
}

/// Keeps freed memory in the pool. By default the driver takes it back whenever the host waits for the device, which
/// a training step does several times, to hand the same out again.
pub(super) fn keep_freed(device: &Device) -> Result<()> {
    let mut threshold = u64::MAX;
    let attribute = CUmemPool_attribute::CU_MEMPOOL_ATTR_RELEASE_THRESHOLD;
    // SAFETY: the attribute is an unsigned number of 64 bits.
    unsafe { mem_pool::set_attribute(of(device)?, attribute, (&raw mut threshold).cast()) }.w()?;
    Ok(())
}

/// The most bytes that were in use at a time.
pub(super) fn peak(device: &Device) -> Result<u64> {
    let mut bytes = 0u64;
    let attribute = CUmemPool_attribute::CU_MEMPOOL_ATTR_USED_MEM_HIGH;
    // SAFETY: as above.
    unsafe { mem_pool::get_attribute(of(device)?, attribute, (&raw mut bytes).cast()) }.w()?;
    Ok(bytes)
}
