//! `doctor`: what this machine offers, and whether its devices compute what they should: the bundled model's parts, forward
//! and backward, beside the same in f64 on the CPU.

use anyhow::{Context, Result, bail};
use candle_core::{DType, Device, Tensor};
use clap::Args;
use diffusion::conditioning::MicroConditioning;
use diffusion::config::VaeConfig;
use diffusion::device::{DeviceName, HAS_CUDA, gpus};
use diffusion::nn::{enable_gpu_kernels, gpu_kernels_available};
use diffusion::noise::Noise;
use diffusion::part_folders::PartFolders;
use diffusion::text_encoders::TextEncoders;
use diffusion::unet::Unet;
use diffusion::vae::Autoencoder;
use diffusion::weights::{Parameters, PartFiles, Stem, StoredWeights};
use std::path::PathBuf;

/// What to examine.
#[derive(Debug, Args)]
pub(crate) struct DoctorCommand {
    /// The device to examine: auto, cpu, cuda or cuda:NUMBER.
    #[arg(long, env = "DEVICE", default_value_t)]
    device: DeviceName,
    /// A folder in diffusers layout to compute with; small, for f64 is slow.
    #[arg(long, default_value = "models/shapes")]
    model: PathBuf,
}

/// A type, and the largest relative difference from f64 that its rounding explains.
const TYPES: [(DType, f64); 3] = [(DType::F32, 1e-4), (DType::F16, 5e-2), (DType::BF16, 2e-1)];
/// A GPU without our kernels, its operations composed of candle's.
const COMPOSED: &str = "gpu composed";
/// Images, and text that uses the vocabulary.
const BATCH: usize = 2;
const TEXT: [&str; BATCH] = ["a large red circle on a blue background", ""];

/// A part of the model as computed somewhere: its name and result, in f64 on the CPU.
type Results = Vec<(&'static str, Tensor)>;

impl DoctorCommand {
    /// # Errors
    /// A device that is not there, a model that cannot be read, or results that rounding does not explain.
    pub(crate) fn run(self) -> Result<()> {
        let gigabytes = |bytes: f64| format!("{:.1} GB", bytes / 1e9);
        println!("diff-contrast-trainer {}", env!("CARGO_PKG_VERSION"));
        println!("built for: {}", if HAS_CUDA { "CPU and CUDA" } else { "CPU (no feature cuda)" });
        let [all, free] = ["MemTotal:", "MemAvailable:"].map(|field| memory(field).map(gigabytes));
        println!(
            "cpu: {} threads, {} of memory, {} free",
            rayon::current_num_threads(),
            all.as_deref().unwrap_or("unknown"),
            free.as_deref().unwrap_or("unknown")
        );
        for (number, gpu) in gpus().iter().enumerate() {
            println!(
                "cuda:{number}: {}, compute capability {}.{}, {} of memory, {} free",
                gpu.name,
                gpu.capability.0,
                gpu.capability.1,
                gigabytes(gpu.memory as f64),
                gigabytes(gpu.free as f64)
            );
        }
        let device = self.device.open()?;
        let folders = PartFolders::new(&self.model, None);
        println!("\nrelative difference from f64 on the CPU, {}:", self.model.display());
        let right = results(&folders, &Device::Cpu, DType::F64)?;
        let mut examined = vec![("cpu", Device::Cpu, DType::F32)];
        if !device.is_cpu() {
            // On the CPU candle convolves in no other type, and nothing would be faster for it.
            for (dtype, _) in TYPES {
                if gpu_kernels_available(&[&Tensor::zeros(1, dtype, &device)?]) {
                    examined.push(("gpu", device.clone(), dtype));
                } else {
                    println!("  our GPU kernels of {} cannot be had here: slower without", dtype.as_str());
                }
                examined.push((COMPOSED, device.clone(), dtype));
            }
        }
        let mut wrong = Vec::new();
        for (name, device, dtype) in examined {
            enable_gpu_kernels(name != COMPOSED);
            let found = results(&folders, &device, dtype)?;
            let again = results(&folders, &device, dtype)?;
            for (((part, found), (_, again)), (_, right)) in found.iter().zip(&again).zip(&right) {
                let difference = distance(found, right)?;
                let allowed = TYPES.iter().find(|(t, _)| *t == dtype).map_or(0.0, |(_, allowed)| *allowed);
                let same = if distance(again, found)? == 0.0 { "" } else { ", another time other bits" };
                let verdict = if difference <= allowed { "ok" } else { "WRONG" };
                println!("  {name:<12} {:<5} {part:<24} {difference:.1e}  {verdict}{same}", dtype.as_str());
                if difference > allowed || difference.is_nan() {
                    wrong.push(format!("{name} {} {part}", dtype.as_str()));
                }
            }
        }
        if !wrong.is_empty() {
            bail!(
                "{} computes something else than f64 on the CPU: do not train here before that is understood",
                wrong.join(", ")
            );
        }
        println!("\nall right");
        Ok(())
    }
}

/// Every part once, forward, and the UNet backward too.
fn results(folders: &PartFolders, device: &Device, dtype: DType) -> Result<Results> {
    let mut noise = Noise::new(0);
    let mut results = Results::new();
    let mut keep = |name, tensor: &Tensor| -> Result<()> {
        results.push((name, tensor.detach().to_device(&Device::Cpu)?.to_dtype(DType::F64)?));
        Ok(())
    };
    let open = |files: &PartFiles, trainable| -> Result<Parameters> {
        Ok(Parameters::from_stored(StoredWeights::open(files)?, device, dtype, trainable))
    };

    let encoders = TextEncoders::open_in(folders, device, dtype)?;
    let text = encoders.encode(&TEXT)?;
    keep("text states", &text.states)?;
    text.pooled.iter().try_for_each(|pooled| keep("pooled text", pooled))?;

    let folder = folders.part("vae")?;
    let parameters = open(&PartFiles::locate(&folder, Stem::NETWORK)?, false)?;
    let vae = Autoencoder::new(&parameters.root(), VaeConfig::read(&folder.join("config.json"))?)?;
    let (config, files) = Unet::files(&folders.part("unet")?)?;
    encoders.check(&config).map_err(|problem| anyhow::anyhow!("unet/config.json: {problem}"))?;
    let side = config.sample_size * vae.config().downscale();
    let images = noise.normal_tensor((BATCH, vae.config().in_channels, side, side), device)?;
    let posterior = vae.encode(&images.clamp(-1.0, 1.0)?.to_dtype(dtype)?)?;
    keep("latents", &posterior.mean)?;
    keep("decoded image", &vae.decode(&posterior.mean)?)?;

    let parameters = open(&files, true)?;
    let shape = (BATCH, config.in_channels, config.sample_size, config.sample_size);
    let unet = Unet::new(&parameters.root(), config)?;
    let variables = parameters.finish()?;
    let latents = noise.normal_tensor(shape, device)?.to_dtype(dtype)?;
    let target = noise.normal_tensor(shape, device)?.to_dtype(dtype)?;
    let timesteps = Tensor::new(&[21f32, 977.0], device)?;
    let whole = MicroConditioning::whole(side as u32, side as u32);
    let told = text.for_images(&[whole; BATCH])?;
    let prediction = unet.forward_with(&latents, &timesteps, &told.text, told.added.as_ref())?;
    keep("prediction", &prediction)?;
    let slopes = (prediction - target)?.sqr()?.mean_all()?.backward()?;
    let gradients = variables
        .iter()
        .map(|(name, variable)| {
            let gradient = slopes.get(variable).with_context(|| format!("{name} received no gradient"))?;
            Ok(gradient.detach().flatten_all()?)
        })
        .collect::<Result<Vec<_>>>()?;
    keep("gradient of the UNet", &Tensor::cat(&gradients, 0)?)?;
    Ok(results)
}

/// |a - b| / |b|.
fn distance(a: &Tensor, b: &Tensor) -> Result<f64> {
    let length = |t: &Tensor| -> Result<f64> { Ok(t.sqr()?.sum_all()?.to_scalar::<f64>()?.sqrt()) };
    Ok(length(&(a - b)?)? / length(b)?)
}

/// A line of the kernel's account of memory, in bytes.
fn memory(field: &str) -> Option<f64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(field))?;
    line.trim().strip_suffix(" kB")?.parse::<f64>().ok().map(|kilobytes| kilobytes * 1024.0)
}
