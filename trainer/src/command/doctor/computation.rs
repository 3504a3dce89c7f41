//! The computation that is compared between devices: every network of a model forward, and the UNet backward.

use anyhow::{Context, Result};
use candle_core::{DType, Device, Tensor};
use diffusion::conditioning::{Conditioning, MicroConditioning};
use diffusion::config::VaeConfig;
use diffusion::noise::Noise;
use diffusion::part_folders::PartFolders;
use diffusion::text_encoders::TextEncoders;
use diffusion::unet::Unet;
use diffusion::vae::Autoencoder;
use diffusion::weights::{Parameters, PartFiles, Stem, StoredWeights, Variables};

/// Images per batch.
const BATCH: usize = 2;
/// Prompts: one with words, and the empty one.
const PROMPTS: [&str; BATCH] = ["a large red circle on a blue background", ""];

/// Name and value of a network's output, in f64 on the CPU.
pub(super) type Output = (&'static str, Tensor);

/// Runs the networks on a device in this type. Inputs are the same on every device.
pub(super) fn compute(folders: &PartFolders, device: &Device, dtype: DType) -> Result<Vec<Output>> {
    let mut noise = Noise::new(0);
    let mut outputs = Vec::new();
    let mut keep = |name, tensor: &Tensor| -> Result<()> {
        outputs.push((name, tensor.detach().to_device(&Device::Cpu)?.to_dtype(DType::F64)?));
        Ok(())
    };

    let encoders = TextEncoders::open_in(folders, device, dtype)?;
    let text = encoders.encode(&PROMPTS)?;
    keep("text states", &text.states)?;
    text.pooled.iter().try_for_each(|pooled| keep("pooled text", pooled))?;

    let folder = folders.part("vae")?;
    let parameters = open(&PartFiles::locate(&folder, Stem::NETWORK)?, device, dtype, false)?;
    let vae = Autoencoder::new(&parameters.root(), VaeConfig::read(&folder.join("config.json"))?)?;
    let (config, files) = Unet::files(&folders.part("unet")?)?;
    encoders.check(&config).map_err(|problem| anyhow::anyhow!("unet/config.json: {problem}"))?;
    let side = config.sample_size * vae.config().downscale();
    let images = noise.normal_tensor((BATCH, vae.config().in_channels, side, side), device)?;
    let posterior = vae.encode(&images.clamp(-1.0, 1.0)?.to_dtype(dtype)?)?;
    keep("latents", &posterior.mean)?;
    keep("decoded image", &vae.decode(&posterior.mean)?)?;

    let parameters = open(&files, device, dtype, true)?;
    let unet = Unet::new(&parameters.root(), config)?;
    let variables = parameters.finish()?;
    let whole = MicroConditioning::whole(side as u32, side as u32);
    let conditioning = text.for_images(&[whole; BATCH])?;
    let (prediction, gradient) = train_unet(&unet, &variables, &conditioning, &mut noise, device, dtype)?;
    keep("prediction", &prediction)?;
    keep("gradient of the UNet", &gradient)?;
    Ok(outputs)
}

fn open(files: &PartFiles, device: &Device, dtype: DType, trainable: bool) -> Result<Parameters> {
    Ok(Parameters::from_stored(StoredWeights::open(files)?, device, dtype, trainable))
}

/// The UNet's prediction, and the gradient of its mean squared error for all weights in one vector.
fn train_unet(
    unet: &Unet,
    variables: &Variables,
    conditioning: &Conditioning,
    noise: &mut Noise,
    device: &Device,
    dtype: DType,
) -> Result<(Tensor, Tensor)> {
    let config = unet.config();
    let shape = (BATCH, config.in_channels, config.sample_size, config.sample_size);
    let latents = noise.normal_tensor(shape, device)?.to_dtype(dtype)?;
    let target = noise.normal_tensor(shape, device)?.to_dtype(dtype)?;
    let timesteps = Tensor::new(&[21f32, 977.0], device)?;
    let prediction =
        unet.forward_with(&latents, &timesteps, &conditioning.text, conditioning.added.as_ref())?;
    let store = (&prediction - target)?.sqr()?.mean_all()?.backward()?;
    let gradients = variables
        .iter()
        .map(|(name, variable)| {
            let gradient = store.get(variable).with_context(|| format!("{name} received no gradient"))?;
            Ok(gradient.detach().flatten_all()?)
        })
        .collect::<Result<Vec<_>>>()?;
    Ok((prediction, Tensor::cat(&gradients, 0)?))
}
