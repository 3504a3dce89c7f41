//! Sums over the GPUs of several processes, by NCCL.

use anyhow::{Context, Result, anyhow};
use candle_core::cuda_backend::cudarc::nccl::{Comm, Id, ReduceOp};
use candle_core::{DType, Device, Tensor};
use std::collections::BTreeMap;

/// NCCL's communicator of this process.
pub(super) struct Communicator(Comm);

impl std::fmt::Debug for Communicator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Communicator({} of {})", self.0.rank(), self.0.world_size())
    }
}

/// A new id, by which the communicators of all processes find each other.
pub(super) fn new_id() -> Result<Vec<u8>> {
    let id = Id::new().map_err(|e| anyhow!("NCCL cannot create an id: {e:?}"))?;
    Ok(id.internal().iter().map(|&byte| byte.cast_unsigned()).collect())
}

impl Communicator {
    pub(super) fn new(device: &Device, rank: usize, world_size: usize, id: &[u8]) -> Result<Self> {
        let id: Vec<_> = id.iter().map(|&byte| byte.cast_signed()).collect();
        let id = Id::uninit(id.try_into().ok().context("rank 0 did not send an NCCL id")?);
        let stream = device.as_cuda_device()?.cuda_stream();
        let comm = Comm::from_rank(stream, rank, world_size, id)
            .map_err(|e| anyhow!("NCCL cannot connect the {world_size} processes: {e:?}"))?;
        Ok(Self(comm))
    }

    /// Replaces each tensor (f32) by its sum over all processes.
    pub(super) fn sum(&self, tensors: &mut BTreeMap<String, Tensor>) -> Result<()> {
        for (name, tensor) in tensors.iter_mut() {
            let mine = tensor.to_dtype(DType::F32)?.contiguous()?;
            let sum = mine
                .apply_op1_no_bwd(&Sum(&self.0))
                .with_context(|| format!("summing {name} over all processes"))?;
            *tensor = sum;
        }
        Ok(())
    }
}

struct Sum<'a>(&'a Comm);

// SAFETY: NCCL allows one thread at a time to use a communicator, and only the run's thread does.
#[expect(unsafe_code, reason = "a communicator is a pointer, which NCCL allows to move between threads")]
unsafe impl Send for Sum<'_> {}
// SAFETY: as above.
#[expect(unsafe_code, reason = "as above")]
unsafe impl Sync for Sum<'_> {}

impl candle_core::CustomOp1 for Sum<'_> {
    fn name(&self) -> &'static str {
        "sum over processes"
    }

    fn cpu_fwd(
        &self,
        _: &candle_core::CpuStorage,
        _: &candle_core::Layout,
    ) -> candle_core::Result<(candle_core::CpuStorage, candle_core::Shape)> {
        candle_core::bail!("NCCL: the tensor must be on a GPU")
    }

    fn cuda_fwd(
        &self,
        storage: &candle_core::CudaStorage,
        layout: &candle_core::Layout,
    ) -> candle_core::Result<(candle_core::CudaStorage, candle_core::Shape)> {
        use candle_core::backend::BackendStorage;
        let device = storage.device().clone();
        let Some((start, end)) = layout.contiguous_offsets() else {
            candle_core::bail!("NCCL: the tensor must be contiguous");
        };
        let mine = storage.as_cuda_slice::<f32>()?.slice(start..end);
        let mut sum = device.alloc_zeros::<f32>(layout.shape().elem_count())?;
        self.0.all_reduce(&mine, &mut sum, &ReduceOp::Sum).map_err(|e| {
            candle_core::Error::Msg(format!(
                "NCCL: {e:?}: another process of this run may be lost; if so, start all of them again"
            ))
        })?;
        Ok((candle_core::CudaStorage::wrap_cuda_slice(sum, device), layout.shape().clone()))
    }
}
