//! Compiling and launching the kernels on a GPU.
#![expect(unsafe_code, reason = "a launch passes untyped arguments to a kernel")]

use super::grid::{Grid, Number};
use super::source::{SOURCE, scalar_macro};
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

/// Definitions that the source needs when NVRTC compiles it.
const PREAMBLE: &str = include_str!("cuda.h");

/// Compiled kernels (PTX) by device and element type; `None` where compiling or loading failed.
type Compiled = HashMap<(DeviceId, DType), Option<Arc<str>>>;
static COMPILED: LazyLock<Mutex<Compiled>> = LazyLock::new(Mutex::default);

/// Whether the device of `x` has kernels for its type. Compiles them on the first call; a failure is logged once.
pub(super) fn is_ready(x: &Tensor) -> bool {
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
                tracing::warn!(%error, ?dtype, "GPU kernels could not be compiled; continuing without them, slower");
            })
            .ok()
    });
    known.clone()
}

fn compile(device: &CudaDevice, dtype: DType) -> Result<Arc<str>> {
    let (major, minor) = device.cuda_stream().context().compute_capability().w()?;
    let Some(scalar) = scalar_macro(dtype) else { bail!("there are no kernels for {dtype:?}") };
    let options = vec![format!("--gpu-architecture=compute_{major}{minor}"), format!("-DSCALAR={scalar}")];
    let options = CompileOptions { options, ..CompileOptions::default() };
    let ptx = compile_ptx_with_opts(format!("{PREAMBLE}\n{SOURCE}"), options)
        .map_err(|error| candle_core::Error::Msg(format!("NVRTC: {error}")))?;
    Ok(ptx.to_src().into())
}

/// The name under which a device loads the kernels of an element type.
fn module(dtype: DType) -> &'static str {
    match dtype {
        DType::F16 => "diffusion_f16",
        DType::BF16 => "diffusion_bf16",
        _ => "diffusion_f32",
    }
}

/// The values of an operand on the device.
enum Values<'a> {
    F32(CudaView<'a, f32>),
    F16(CudaView<'a, f16>),
    BF16(CudaView<'a, bf16>),
}

/// The memory of a result on the device.
enum ResultBuffer {
    F32(CudaSlice<f32>),
    F16(CudaSlice<f16>),
    BF16(CudaSlice<bf16>),
}

impl ResultBuffer {
    fn new(device: &CudaDevice, dtype: DType, count: usize) -> Result<Self> {
        // SAFETY: the kernel writes all values before they are read.
        unsafe {
            Ok(match dtype {
                DType::F32 => Self::F32(device.alloc(count)?),
                DType::F16 => Self::F16(device.alloc(count)?),
                DType::BF16 => Self::BF16(device.alloc(count)?),
                _ => bail!("there are no kernels for {dtype:?}"),
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

    fn into_tensor(self, device: &CudaDevice, shape: &[usize]) -> Tensor {
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
    grid: &Grid,
    device: &CudaDevice,
    operands: &[Tensor],
    results: &[(DType, &[usize])],
    numbers: &[Number],
) -> Result<Vec<Tensor>> {
    let dtype = operands[0].dtype();
    let Some(ptx) = compiled(device, dtype) else { bail!("{}: the kernel is not compiled", grid.kernel) };
    let kernel = device.get_or_load_custom_func(grid.kernel, module(dtype), &ptx)?;
    let mut buffers = results
        .iter()
        .map(|(dtype, shape)| ResultBuffer::new(device, *dtype, shape.iter().product()))
        .collect::<Result<Vec<_>>>()?;
    let storages: Vec<_> = operands.iter().map(Tensor::storage_and_layout).collect();
    let values = storages
        .iter()
        .map(|(storage, layout)| {
            let (Storage::Cuda(storage), Some((start, end))) = (&**storage, layout.contiguous_offsets())
            else {
                bail!("{}: an operand is on another device or not contiguous", grid.kernel)
            };
            Ok(match storage.dtype() {
                DType::F32 => Values::F32(storage.as_cuda_slice::<f32>()?.slice(start..end)),
                DType::F16 => Values::F16(storage.as_cuda_slice::<f16>()?.slice(start..end)),
                DType::BF16 => Values::BF16(storage.as_cuda_slice::<bf16>()?.slice(start..end)),
                other => bail!("{}: an operand has type {other:?}", grid.kernel),
            })
        })
        .collect::<Result<Vec<_>>>()?;
    let values_of_numbers: Vec<(i64, f32)> = numbers
        .iter()
        .map(|number| match *number {
            Number::Whole(whole) => (i64::try_from(whole).unwrap_or(i64::MAX), 0.0),
            Number::Real(real) => (0, real as f32),
        })
        .collect();
    let mut arguments = kernel.builder();
    buffers.iter_mut().for_each(|buffer| buffer.push(&mut arguments));
    for values in &values {
        match values {
            Values::F32(view) => arguments.arg(view),
            Values::F16(view) => arguments.arg(view),
            Values::BF16(view) => arguments.arg(view),
        };
    }
    for (number, (whole, real)) in numbers.iter().zip(&values_of_numbers) {
        match number {
            Number::Whole(_) => arguments.arg(whole),
            Number::Real(_) => arguments.arg(real),
        };
    }
    let [blocks, threads, shared] = [grid.blocks, grid.threads, grid.shared].map(u32::try_from);
    let (Ok(blocks), Ok(threads), Ok(shared_mem_bytes)) = (blocks, threads, shared) else {
        bail!("{}: {} blocks exceed the limit of a launch", grid.kernel, grid.blocks)
    };
    let config = LaunchConfig { grid_dim: (blocks, 1, 1), block_dim: (threads, 1, 1), shared_mem_bytes };
    // SAFETY: results, operands and numbers match the kernel's parameters, whose order the tests on the emulation check, and
    // the buffers are as large as the numbers say.
    unsafe { arguments.launch(config) }.w()?;
    drop(values);
    drop(storages);
    let tensors = buffers.into_iter().zip(results);
    Ok(tensors.map(|(buffer, (_, shape))| buffer.into_tensor(device, shape)).collect())
}
