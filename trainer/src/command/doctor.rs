//! `doctor`: shows this machine's devices, and compares what they compute, forward and backward, with f64 on the CPU.

mod computation;
mod machine;

use anyhow::{Result, bail};
use candle_core::{DType, Device, Tensor};
use clap::Args;
use computation::{Output, compute};
use diffusion::device::DeviceName;
use diffusion::nn::{enable_gpu_kernels, gpu_kernels_available};
use diffusion::part_folders::PartFolders;
use machine::print_machine;
use std::path::PathBuf;

/// Arguments of `doctor`.
#[derive(Debug, Args)]
pub(crate) struct DoctorCommand {
    /// Device to check: auto, cpu, cuda or cuda:NUMBER.
    #[arg(long, env = "DEVICE", default_value_t)]
    device: DeviceName,
    /// Folder of the model to compute with, in diffusers layout. Use a small one: f64 is slow.
    #[arg(long, default_value = "models/shapes")]
    model: PathBuf,
}

/// The types to check on a GPU, each with the largest relative difference from f64 that its rounding explains.
const TOLERANCES: [(DType, f64); 3] = [(DType::F32, 1e-4), (DType::F16, 5e-2), (DType::BF16, 2e-1)];

/// A way to compute on this machine.
struct Setup {
    name: &'static str,
    device: Device,
    dtype: DType,
    /// Whether our GPU kernels may be used in place of candle's operations.
    kernels: bool,
}

impl DoctorCommand {
    pub(crate) fn run(self) -> Result<()> {
        print_machine();
        let device = self.device.open()?;
        let folders = PartFolders::new(&self.model, None);
        println!("\nrelative difference from f64 on the CPU, {}:", self.model.display());
        let expected = compute(&folders, &Device::Cpu, DType::F64)?;
        let mut wrong = Vec::new();
        for setup in setups(device)? {
            enable_gpu_kernels(setup.kernels);
            let first = compute(&folders, &setup.device, setup.dtype)?;
            let second = compute(&folders, &setup.device, setup.dtype)?;
            wrong.extend(setup.compare(&expected, &first, &second)?);
        }
        if !wrong.is_empty() {
            bail!(
                "{} differ from f64 on the CPU by more than rounding explains: do not train on this machine until the \
                 cause is found",
                wrong.join(", ")
            );
        }
        println!("\nall results are correct");
        Ok(())
    }
}

/// The CPU, and the device if it is a GPU: in every type, with our kernels where they are available, and without.
fn setups(device: Device) -> Result<Vec<Setup>> {
    // candle's convolution on the CPU supports no other type.
    let mut setups = vec![Setup { name: "cpu", device: Device::Cpu, dtype: DType::F32, kernels: true }];
    if device.is_cpu() {
        return Ok(setups);
    }
    for (dtype, _) in TOLERANCES {
        if gpu_kernels_available(&[&Tensor::zeros(1, dtype, &device)?]) {
            setups.push(Setup { name: "gpu", device: device.clone(), dtype, kernels: true });
        } else {
            println!("  our GPU kernels are not available in {}: training is slower without", dtype.as_str());
        }
        setups.push(Setup { name: "gpu composed", device: device.clone(), dtype, kernels: false });
    }
    Ok(setups)
}

impl Setup {
    /// Prints each output's difference from the expected one, and whether the repetition gave the same bits. Returns
    /// the outputs that are wrong.
    fn compare(&self, expected: &[Output], first: &[Output], second: &[Output]) -> Result<Vec<String>> {
        let Self { name, dtype, .. } = self;
        let tolerance = TOLERANCES.iter().find(|(t, _)| t == dtype).map_or(0.0, |(_, tolerance)| *tolerance);
        let mut wrong = Vec::new();
        for (((part, first), (_, second)), (_, expected)) in first.iter().zip(second).zip(expected) {
            let difference = relative_difference(first, expected)?;
            let repeats = if relative_difference(second, first)? == 0.0 { "" } else { ", not reproducible" };
            let verdict = if difference <= tolerance { "ok" } else { "WRONG" };
            println!("  {name:<12} {:<5} {part:<24} {difference:.1e}  {verdict}{repeats}", dtype.as_str());
            if difference > tolerance || difference.is_nan() {
                wrong.push(format!("{name} {} {part}", dtype.as_str()));
            }
        }
        Ok(wrong)
    }
}

/// |a - b| / |b|.
fn relative_difference(a: &Tensor, b: &Tensor) -> Result<f64> {
    let norm = |t: &Tensor| -> Result<f64> { Ok(t.sqr()?.sum_all()?.to_scalar::<f64>()?.sqrt()) };
    Ok(norm(&(a - b)?)? / norm(b)?)
}
