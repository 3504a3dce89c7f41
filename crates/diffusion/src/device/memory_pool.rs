//! The driver's memory pool, from which a GPU's tensors are allocated.
#![expect(unsafe_code, reason = "the driver reads and writes attributes through pointers")]

use crate::Result;
use candle_core::Device;
use candle_core::cuda_backend::WrapErr;
use candle_core::cuda_backend::cudarc::driver::result::{device::get_default_mem_pool, mem_pool};
use candle_core::cuda_backend::cudarc::driver::sys::{CUmemPool_attribute, CUmemoryPool};

fn pool_of(device: &Device) -> Result<CUmemoryPool> {
    let stream = device.as_cuda_device()?.cuda_stream();
    let context = stream.context();
    context.bind_to_thread().w()?;
    // SAFETY: the device is open.
    Ok(unsafe { get_default_mem_pool(context.cu_device()) }.w()?)
}

/// Keeps freed memory in the pool. By default the driver releases it whenever the host synchronises with the device, which a
/// training step does several times, and has to allocate it again.
pub(super) fn keep_freed(device: &Device) -> Result<()> {
    let mut threshold = u64::MAX;
    let attribute = CUmemPool_attribute::CU_MEMPOOL_ATTR_RELEASE_THRESHOLD;
    // SAFETY: the attribute is an unsigned 64-bit integer.
    unsafe { mem_pool::set_attribute(pool_of(device)?, attribute, (&raw mut threshold).cast()) }.w()?;
    Ok(())
}

/// The largest number of bytes in use at a time.
pub(super) fn peak(device: &Device) -> Result<u64> {
    let mut bytes = 0u64;
    let attribute = CUmemPool_attribute::CU_MEMPOOL_ATTR_USED_MEM_HIGH;
    // SAFETY: as above.
    unsafe { mem_pool::get_attribute(pool_of(device)?, attribute, (&raw mut bytes).cast()) }.w()?;
    Ok(bytes)
}
