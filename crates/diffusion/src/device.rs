//! Where tensors live and are computed: chosen by a word, opened, described.

#[cfg(feature = "cuda")]
mod pool;

use crate::{Error, Result};
use candle_core::Device;
use std::fmt;
use std::str::FromStr;

/// A device by name: `cpu`, `cuda`, `cuda:1`, or `auto`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DeviceName {
    /// The first GPU if this program was built for one and the machine has one, else the CPU.
    #[default]
    Auto,
    /// The CPU.
    Cpu,
    /// A GPU, counted from 0.
    Cuda(usize),
}

/// A GPU of this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gpu {
    /// As its maker calls it.
    pub name: String,
    /// Compute capability, major and minor.
    pub capability: (i32, i32),
    /// Bytes of memory.
    pub memory: usize,
    /// Bytes that nobody uses.
    pub free: usize,
}

/// Whether this program was built for GPUs (feature `cuda`).
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
                    .ok_or_else(|| format!("{s:?} is no device: use auto, cpu, cuda or cuda:NUMBER"))
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
    /// Opens it.
    ///
    /// # Errors
    /// A GPU that this program was not built for, or that is not there.
    pub fn open(self) -> Result<Device> {
        match self {
            Self::Cpu => Ok(Device::Cpu),
            Self::Auto if !HAS_CUDA || gpus().is_empty() => Ok(Device::Cpu),
            Self::Auto => gpu(0),
            Self::Cuda(_) if !HAS_CUDA => Err(Error::setting(
                "device",
                format!("{self}: this program was built for the CPU only; build it with --features cuda"),
            )),
            Self::Cuda(number) => {
                let there = gpus().len();
                if number >= there {
                    let problem = format!("{self}: this machine has {there} GPUs, counted from 0");
                    return Err(Error::setting("device", problem));
                }
                gpu(number)
            }
        }
    }
}

fn gpu(number: usize) -> Result<Device> {
    let device = Device::new_cuda(number)?;
    // Old drivers have no pool: then there is nothing to keep.
    #[cfg(feature = "cuda")]
    pool::keep_freed(&device).ok();
    Ok(device)
}

/// The largest memory of a GPU that tensors took so far, in bytes; `None` on a CPU.
///
/// # Errors
/// The driver's.
pub fn peak_memory(device: &Device) -> Result<Option<u64>> {
    #[cfg(feature = "cuda")]
    if device.is_cuda() {
        return Ok(Some(pool::peak(device)?));
    }
    let _ = device;
    Ok(None)
}

/// The GPUs of this machine that the driver shows; none where this program was not built for any.
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

/// Lets a GPU round the factors of matrix products to fewer bits (TF32 for f32) and add up in half precision: faster, and
/// other results on other cards. Off unless somebody asks.
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
    fn names_are_read_as_they_are_written() {
        for (text, name) in
            [("auto", DeviceName::Auto), ("cpu", DeviceName::Cpu), ("cuda:3", DeviceName::Cuda(3))]
        {
            assert_eq!(text.parse(), Ok(name));
            assert_eq!(name.to_string(), text);
        }
        assert_eq!("cuda".parse(), Ok(DeviceName::Cuda(0)));
        for wrong in ["", "gpu", "cuda:", "cuda:x", "CPU"] {
            let refusal = wrong.parse::<DeviceName>().expect_err("no device");
            assert!(refusal.contains("cuda:NUMBER"), "{refusal}");
        }
    }

    #[test]
    fn a_gpu_that_is_not_there_is_named_with_the_remedy() {
        let missing = DeviceName::Cuda(gpus().len());
        let error = missing.open().expect_err("no such GPU").to_string();
        let remedy = if HAS_CUDA { "counted from 0" } else { "--features cuda" };
        assert!(error.starts_with("device: cuda:") && error.contains(remedy), "{error}");
        assert!(DeviceName::Cpu.open().expect("the CPU").is_cpu());
    }
}
