//! Devices: names for them, opening them, and what they offer.

#[cfg(feature = "cuda")]
mod memory_pool;

use crate::{Error, Result};
use candle_core::Device;
use std::fmt;
use std::str::FromStr;

/// The name of a device: `cpu`, `cuda`, `cuda:1`, or `auto`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DeviceName {
    /// The first GPU if this program was built with CUDA and the machine has a GPU, otherwise the CPU.
    #[default]
    Auto,
    /// The CPU.
    Cpu,
    /// The GPU with this index, counted from 0.
    Cuda(usize),
}

/// A GPU of this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gpu {
    /// The product name.
    pub name: String,
    /// Compute capability: major and minor version.
    pub capability: (i32, i32),
    /// Memory in bytes.
    pub memory: usize,
    /// Free memory in bytes.
    pub free: usize,
}

/// Whether this program was built with CUDA (feature `cuda`).
pub const HAS_CUDA: bool = cfg!(feature = "cuda");

impl FromStr for DeviceName {
    type Err = String;

    fn from_str(s: &str) -> Result<Self, String> {
        match s {
            "auto" => Ok(Self::Auto),
            "cpu" => Ok(Self::Cpu),
            "cuda" => Ok(Self::Cuda(0)),
            _ => {
                let number = s.strip_prefix("cuda:").and_then(|number| number.parse().ok());
                number
                    .map(Self::Cuda)
                    .ok_or_else(|| format!("unknown device {s:?}: use auto, cpu, cuda or cuda:NUMBER"))
            }
        }
    }
}

impl fmt::Display for DeviceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Cpu => f.write_str("cpu"),
            Self::Cuda(number) => write!(f, "cuda:{number}"),
        }
    }
}

impl DeviceName {
    /// Opens the device.
    ///
    /// # Errors
    /// Fails if a GPU is named and the program was built without CUDA, or the machine has no such GPU.
    pub fn open(self) -> Result<Device> {
        match self {
            Self::Cpu => Ok(Device::Cpu),
            Self::Auto if !HAS_CUDA || gpus().is_empty() => Ok(Device::Cpu),
            Self::Auto => open_gpu(0),
            Self::Cuda(_) if !HAS_CUDA => Err(Error::setting(
                "device",
                format!("{self}: this program was built without CUDA; build it with --features cuda"),
            )),
            Self::Cuda(number) => {
                let count = gpus().len();
                if number >= count {
                    let problem = format!("{self}: this machine has {count} GPUs, counted from 0");
                    return Err(Error::setting("device", problem));
                }
                open_gpu(number)
            }
        }
    }
}

fn open_gpu(number: usize) -> Result<Device> {
    let device = Device::new_cuda(number)?;
    // Drivers without memory pools return an error, which is harmless.
    #[cfg(feature = "cuda")]
    memory_pool::keep_freed(&device).ok();
    Ok(device)
}

/// The largest amount of GPU memory that tensors used so far, in bytes; `None` on a CPU.
///
/// # Errors
/// Fails if the driver does not report it.
pub fn peak_memory(device: &Device) -> Result<Option<u64>> {
    #[cfg(feature = "cuda")]
    if device.is_cuda() {
        return Ok(Some(memory_pool::peak(device)?));
    }
    let _ = device;
    Ok(None)
}

/// The memory in use on a GPU now, by all programs, in bytes; `None` on a CPU, or if the driver does not report it.
#[must_use]
pub fn memory_in_use(device: &Device) -> Option<u64> {
    #[cfg(feature = "cuda")]
    if device.is_cuda() {
        let stream = device.as_cuda_device().ok()?.cuda_stream();
        let (free, memory) = stream.context().mem_get_info().ok()?;
        return Some(memory.saturating_sub(free) as u64);
    }
    let _ = device;
    None
}

/// The GPUs that the driver lists; none if this program was built without CUDA.
#[must_use]
pub fn gpus() -> Vec<Gpu> {
    #[cfg(feature = "cuda")]
    {
        use candle_core::cuda_backend::cudarc::driver::CudaContext;
        let count = CudaContext::device_count().unwrap_or(0);
        let describe = |number: i32| {
            let context = CudaContext::new(usize::try_from(number).ok()?).ok()?;
            let (free, memory) = context.mem_get_info().ok()?;
            let (name, capability) = (context.name().ok()?, context.compute_capability().ok()?);
            Some(Gpu { name, capability, memory, free })
        };
        (0..count).filter_map(describe).collect()
    }
    #[cfg(not(feature = "cuda"))]
    Vec::new()
}

/// Allows a GPU to round the operands of matrix products (to TF32 for `f32`) and to accumulate in half precision. Faster,
/// but results then differ between cards. Off by default.
pub fn allow_reduced_precision(allow: bool) {
    #[cfg(feature = "cuda")]
    {
        candle_core::cuda::set_gemm_reduced_precision_f32(allow);
        candle_core::cuda::set_gemm_reduced_precision_f16(allow);
        candle_core::cuda::set_gemm_reduced_precision_bf16(allow);
    }
    #[cfg(not(feature = "cuda"))]
    let _ = allow;
}

#[cfg(test)]
mod tests {
    use super::{DeviceName, HAS_CUDA, gpus};

    #[test]
    fn names_round_trip() {
        for (text, name) in
            [("auto", DeviceName::Auto), ("cpu", DeviceName::Cpu), ("cuda:3", DeviceName::Cuda(3))]
        {
            assert_eq!(text.parse(), Ok(name));
            assert_eq!(name.to_string(), text);
        }
        assert_eq!("cuda".parse(), Ok(DeviceName::Cuda(0)));
        for wrong in ["", "gpu", "cuda:", "cuda:x", "CPU"] {
            let refusal = wrong.parse::<DeviceName>().expect_err("an unknown device");
            assert!(refusal.contains("cuda:NUMBER"), "{refusal}");
        }
    }

    #[test]
    fn a_missing_gpu_is_an_error_with_a_remedy() {
        let missing = DeviceName::Cuda(gpus().len());
        let error = missing.open().expect_err("no such GPU").to_string();
        let remedy = if HAS_CUDA { "counted from 0" } else { "--features cuda" };
        assert!(error.starts_with("device: cuda:") && error.contains(remedy), "{error}");
        assert!(DeviceName::Cpu.open().expect("the CPU").is_cpu());
    }
}
