//! The model card's sample image, generated from the exported files.

use anyhow::{Context, Result};
use candle_core::Device;
use catalogue::images::png;
use diffusion::noise::Noise;
use diffusion::pipeline::{Prompt, Settings, TextToImage};
use diffusion::weights::save;
use files::write_atomically;
use process::progress::Progress;
use serde_json::json;
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::Path;

/// Seed of the initial noise.
const SEED: u64 = 1;

/// Generates `sample.png` in the exported folder. Also writes the initial noise and the settings, so that
/// `oracles/export.py` can generate the same image with diffusers.
pub(super) fn write_sample(folder: &Path, prompt: &str) -> Result<()> {
    let model = TextToImage::load(folder, None, &Device::Cpu)?;
    let defaults = *model.defaults();
    let multiple = model.size_multiple();
    let (height, width) = ((defaults.height / multiple) as usize, (defaults.width / multiple) as usize);
    let shape = (1, model.unet().config().in_channels, height, width);
    let noise = Noise::new(SEED).normal_tensor(shape, &Device::Cpu)?;
    let settings = Settings {
        width: defaults.width,
        height: defaults.height,
        steps: defaults.steps,
        guidance_scale: defaults.guidance_scale,
        sampler: defaults.sampler,
    };
    let prompts = [Prompt { prompt: prompt.to_owned(), negative_prompt: None, seed: SEED }];
    let mut bar = Progress::new("sample", u64::from(defaults.steps));
    let images = model.generate_from(&noise, &prompts, &settings, &mut |done, _| {
        bar.reach(done as u64);
        ControlFlow::Continue(())
    })?;
    bar.finish();
    let image = images.and_then(|images| images.into_iter().next()).context("no sample was generated")?;
    write_atomically(&folder.join("sample.png"), &png(&image)?)?;
    save(&BTreeMap::from([("noise".to_owned(), noise)]), &folder.join("sample.safetensors"))?;
    let arguments = json!({
        "prompt": prompt,
        "width": settings.width,
        "height": settings.height,
        "num_inference_steps": settings.steps,
        "guidance_scale": settings.guidance_scale,
        "sampler": settings.sampler.as_str(),
    });
    let mut text = serde_json::to_string_pretty(&arguments)?;
    text.push('\n');
    Ok(write_atomically(&folder.join("sample.json"), text.as_bytes())?)
}
