//! Compiling and launching on a GPU.
#![expect(unsafe_code, reason = "a kernel's arguments are what its source says they are")]

use super::{Launch, Number, SOURCE, scalar};
use candle_core::backend::BackendStorage;
use candle_core::cuda_backend::cudarc::driver::{
    CudaSlice, CudaView, DeviceRepr, LaunchArgs, LaunchConfig, PushKernelArg,
};
use candle_core::cuda_backend::cudarc::nvrtc::{CompileOptions, compile_ptx_with_opts};
use candle_core::cuda_backend::{CudaDType, DeviceId, WrapErr};
use candle_core::op::BackpropOp;
use candle_core::{CudaDevice, CudaStorage, DType, Device, Result, Storage, Tensor, bail};
use half::{bf16, f16};
use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

/// What a GPU offers that the source takes for granted.
const PREAMBLE: &str = include_str!("cuda.h");

/// Compiled kernels by device and type; `None` where they cannot be had.
type Compiled = HashMap<(DeviceId, DType), Option<Arc<str>>>;
static COMPILED: LazyLock<Mutex<Compiled>> = LazyLock::new(Mutex::default);

/// Whether the kernels of this tensor's type run on its device. The first that do not are reported.
pub(super) fn ready(x: &Tensor) -> bool {
    match x.device() {
        Device::Cuda(device) => compiled(device, x.dtype()).is_some(),
        _ => false,
    }
}

fn compiled(device: &CudaDevice, dtype: DType) -> Option<Arc<str>> {
    let mut compiled = COMPILED.lock().unwrap_or_else(PoisonError::into_inner);
    let known = compiled.entry((device.id(), dtype)).or_insert_with(|| {
        let found = compile(device, dtype).and_then(|ptx| {
            device.get_or_load_custom_func("activation", module(dtype), &ptx)?;
            Ok(ptx)
        });
        found
            .map_err(|error| {
                tracing::warn!(%error, ?dtype, "our GPU kernels cannot be had: going on without, slower");
            })
            .ok()
    });
    known.clone()
}

fn compile(device: &CudaDevice, dtype: DType) -> Result<Arc<str>> {
    let (major, minor) = device.cuda_stream().context().compute_capability().w()?;
    let Some(scalar) = scalar(dtype) else { bail!("no kernels of {dtype:?}") };
    let options = vec![format!("--gpu-architecture=compute_{major}{minor}"), format!("-DSCALAR={scalar}")];
    let options = CompileOptions { options, ..CompileOptions::default() };
    let ptx = compile_ptx_with_opts(format!("{PREAMBLE}\n{SOURCE}"), options)
        .map_err(|error| candle_core::Error::Msg(format!("NVRTC: {error}")))?;
    Ok(ptx.to_src().into())
}

fn module(dtype: DType) -> &'static str {
    match dtype {
        DType::F16 => "diffusion_f16",
        DType::BF16 => "diffusion_bf16",
        _ => "diffusion_f32",
    }
}

/// A tensor's values on the device.
enum Values<'a> {
    F32(CudaView<'a, f32>),
    F16(CudaView<'a, f16>),
    BF16(CudaView<'a, bf16>),
}

/// A result's.
enum Fresh {
    F32(CudaSlice<f32>),
    F16(CudaSlice<f16>),
    BF16(CudaSlice<bf16>),
}

impl Fresh {
    fn new(device: &CudaDevice, dtype: DType, count: usize) -> Result<Self> {
        // SAFETY: the kernel writes all values before anything can read them.
        unsafe {
            Ok(match dtype {
                DType::F32 => Self::F32(device.alloc(count)?),
                DType::F16 => Self::F16(device.alloc(count)?),
                DType::BF16 => Self::BF16(device.alloc(count)?),
                _ => bail!("no kernels of {dtype:?}"),
            })
        }
    }

    fn push<'a>(&'a mut self, arguments: &mut LaunchArgs<'a>) {
        match self {
            Self::F32(slice) => arguments.arg(slice),
            Self::F16(slice) => arguments.arg(slice),
            Self::BF16(slice) => arguments.arg(slice),
        };
    }

    fn tensor(self, device: &CudaDevice, shape: &[usize]) -> Tensor {
        fn wrap<T: CudaDType + DeviceRepr>(
            slice: CudaSlice<T>,
            device: &CudaDevice,
            shape: &[usize],
        ) -> Tensor {
            let storage = CudaStorage::wrap_cuda_slice(slice, device.clone());
            Tensor::from_storage(Storage::Cuda(storage), shape, BackpropOp::none(), false)
        }
        match self {
            Self::F32(slice) => wrap(slice, device, shape),
            Self::F16(slice) => wrap(slice, device, shape),
            Self::BF16(slice) => wrap(slice, device, shape),
        }
    }
}

pub(super) fn launch(
    launch: &Launch<'_>,
    device: &CudaDevice,
    operands: &[Tensor],
    results: &[(DType, &[usize])],
    numbers: &[Number],
) -> Result<Vec<Tensor>> {
    let dtype = operands[0].dtype();
    let Some(ptx) = compiled(device, dtype) else { bail!("{}: not compiled", launch.kernel) };
    let kernel = device.get_or_load_custom_func(launch.kernel, module(dtype), &ptx)?;
    let mut fresh = results
        .iter()
        .map(|(dtype, shape)| Fresh::new(device, *dtype, shape.iter().product()))
        .collect::<Result<Vec<_>>>()?;
    let storages: Vec<_> = operands.iter().map(Tensor::storage_and_layout).collect();
    let values = storages
        .iter()
        .map(|(storage, layout)| {
            let (Storage::Cuda(storage), Some((start, end))) = (&**storage, layout.contiguous_offsets())
            else {
                bail!("{}: an operand elsewhere", launch.kernel)
            };
            Ok(match storage.dtype() {
                DType::F32 => Values::F32(storage.as_cuda_slice::<f32>()?.slice(start..end)),
                DType::F16 => Values::F16(storage.as_cuda_slice::<f16>()?.slice(start..end)),
                DType::BF16 => Values::BF16(storage.as_cuda_slice::<bf16>()?.slice(start..end)),
                other => bail!("{}: an operand of {other:?}", launch.kernel),
            })
        })
        .collect::<Result<Vec<_>>>()?;
    let told: Vec<(i64, f32)> = numbers
        .iter()
        .map(|number| match *number {
            Number::Whole(whole) => (i64::try_from(whole).unwrap_or(i64::MAX), 0.0),
            Number::Real(real) => (0, real as f32),
        })
        .collect();
    let mut arguments = kernel.builder();
    fresh.iter_mut().for_each(|slice| slice.push(&mut arguments));
    for values in &values {
        match values {
            Values::F32(view) => arguments.arg(view),
            Values::F16(view) => arguments.arg(view),
            Values::BF16(view) => arguments.arg(view),
        };
    }
    for (number, (whole, real)) in numbers.iter().zip(&told) {
        match number {
            Number::Whole(_) => arguments.arg(whole),
            Number::Real(_) => arguments.arg(real),
        };
    }
    let [blocks, threads, shared] = [launch.blocks, launch.threads, launch.shared].map(u32::try_from);
    let (Ok(blocks), Ok(threads), Ok(shared_mem_bytes)) = (blocks, threads, shared) else {
        bail!("{}: {} blocks are too many", launch.kernel, launch.blocks)
    };
    let config = LaunchConfig { grid_dim: (blocks, 1, 1), block_dim: (threads, 1, 1), shared_mem_bytes };
    // SAFETY: results, operands and numbers are those of the kernel's parameters, whose order the emulation's tests
    // check, and as large as the numbers say.
    unsafe { arguments.launch(config) }.w()?;
    drop(values);
    drop(storages);
    Ok(fresh.into_iter().zip(results).map(|(slice, (_, shape))| slice.tensor(device, shape)).collect())
}
