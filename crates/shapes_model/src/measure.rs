//! How well a model of the bundled world does what it is asked, by the rule that uses no network.

use super::autoencoder::MEASURE_SEED;
use anyhow::{Context, Result};
use candle_core::Device;
use clap::Args;
use diffusion::part_folders::PartFolders;
use diffusion::pipeline::{Prompt, Settings, TextToImage, to_images};
use diffusion::vae::Autoencoder;
use shapes::judge::{judge, judge_pair};
use shapes::world::{Kind, Scene, Shape, Size, Split, held_out_prompts, pair_prompts, scene};
use shapes::{Image, contact_sheet};
use std::ops::ControlFlow;
use std::path::PathBuf;
use training::data::images::to_tensor;

/// What to measure.
#[derive(Debug, Args)]
pub(super) struct Options {
    /// Folder of the model.
    #[arg(long, default_value = "models/shapes")]
    model: PathBuf,
    /// Folder of the parts that the model's own lacks.
    #[arg(long)]
    base: Option<PathBuf>,
    /// Single-object prompts (held-out combinations).
    #[arg(long, default_value_t = 200)]
    prompts: usize,
    /// Two-object prompts.
    #[arg(long, default_value_t = 100)]
    pairs: usize,
    /// Guidance scale; the model's default when absent.
    #[arg(long)]
    guidance_scale: Option<f64>,
    /// Denoising steps; the model's default when absent.
    #[arg(long)]
    steps: Option<u32>,
    /// Of the first image; image i uses seed + i.
    #[arg(long, default_value_t = 5)]
    seed: u64,
    /// Write the images here as contact sheets.
    #[arg(long)]
    out: Option<PathBuf>,
}

impl Options {
    pub(super) fn run(self) -> Result<()> {
        let folders = PartFolders::new(&self.model, self.base.as_deref());
        let (vae, _) = Autoencoder::load(&folders.part("vae")?, &Device::Cpu, false)?;
        let rebuilt = rebuilt(&vae, self.prompts)?;
        line("rebuilt", rebuilt, self.prompts);
        let model = TextToImage::open(&folders, &Device::Cpu)?;
        let defaults = *model.defaults();
        let settings = Settings {
            width: defaults.width,
            height: defaults.height,
            steps: self.steps.unwrap_or(defaults.steps),
            guidance_scale: self.guidance_scale.unwrap_or(defaults.guidance_scale),
            sampler: defaults.sampler,
        };
        println!("{} steps of {}, guidance {}", settings.steps, settings.sampler, settings.guidance_scale);

        let prompts = held_out_prompts(self.prompts, 777);
        let captions: Vec<&str> = prompts.iter().map(|p| p.caption.as_str()).collect();
        let images = self.draw(&model, &settings, &captions)?;
        let verdicts: Vec<_> = images.iter().map(judge).collect();
        let n = prompts.len();
        let count = |f: &dyn Fn(usize) -> bool| (0..n).filter(|&i| f(i)).count();
        line("shape and colour", count(&|i| verdicts[i].satisfies(&prompts[i])), n);
        line("shape", count(&|i| verdicts[i].shape == Some(prompts[i].shape)), n);
        line("colour", count(&|i| verdicts[i].colour == Some(prompts[i].colour)), n);
        line("size", count(&|i| verdicts[i].size == Some(prompts[i].size)), n);
        line("background", count(&|i| verdicts[i].background == prompts[i].background), n);
        for &shape in Shape::ALL {
            let of = count(&|i| prompts[i].shape == shape);
            line(
                &format!("  {shape}"),
                count(&|i| prompts[i].shape == shape && verdicts[i].satisfies(&prompts[i])),
                of,
            );
        }
        for &size in Size::ALL {
            let of = count(&|i| prompts[i].size == size);
            line(
                &format!("  {size}"),
                count(&|i| prompts[i].size == size && verdicts[i].satisfies(&prompts[i])),
                of,
            );
        }
        self.write("single", &images)?;

        let prompts = pair_prompts(self.pairs, 778);
        if !prompts.is_empty() {
            let captions: Vec<&str> = prompts.iter().map(|p| p.caption.as_str()).collect();
            let images = self.draw(&model, &settings, &captions)?;
            let verdicts: Vec<_> = images.iter().map(judge_pair).collect();
            let pairs = || verdicts.iter().zip(&prompts).filter_map(|(v, p)| v.as_ref().map(|v| (v, p)));
            line("both objects", pairs().filter(|(v, p)| v.shows_both(p)).count(), prompts.len());
            line("and their relation", pairs().filter(|(v, p)| v.satisfies(p)).count(), prompts.len());
            self.write("pairs", &images)?;
        }
        Ok(())
    }

    fn draw(&self, model: &TextToImage, settings: &Settings, captions: &[&str]) -> Result<Vec<Image>> {
        let mut drawn = Vec::with_capacity(captions.len());
        for (i, batch) in captions.chunks(20).enumerate() {
            let prompts: Vec<Prompt> = batch
                .iter()
                .enumerate()
                .map(|(j, caption)| Prompt {
                    prompt: (*caption).to_owned(),
                    negative_prompt: None,
                    seed: self.seed + (i * 20 + j) as u64,
                })
                .collect();
            let images = model
                .generate(&prompts, settings, &mut |_, _| ControlFlow::Continue(()))?
                .context("generation stopped")?;
            for image in images {
                drawn.push(
                    Image::from_pixels(image.into_raw())
                        .context("the model is not of this world: its images are not 64 x 64")?,
                );
            }
        }
        Ok(drawn)
    }

    fn write(&self, name: &str, images: &[Image]) -> Result<()> {
        let Some(out) = &self.out else { return Ok(()) };
        std::fs::create_dir_all(out).with_context(|| format!("cannot make {}", out.display()))?;
        let file = out.join(format!("{name}.png"));
        contact_sheet(images, 20, 1)
            .save(&file)
            .with_context(|| format!("cannot write {}", file.display()))?;
        println!("{}", file.display());
        Ok(())
    }
}

fn line(name: &str, right: usize, of: usize) {
    println!("{name:18} {right:4} of {of:4}  {:5.1}%", 100.0 * right as f64 / of.max(1) as f64);
}

/// Of how many held-out scenes shape and colour survive the autoencoder: no UNet over its latents can do better.
fn rebuilt(vae: &Autoencoder, count: usize) -> Result<usize> {
    let mut right = 0;
    let seeds: Vec<u64> = (MEASURE_SEED..).take(count).collect();
    for seeds in seeds.chunks(20) {
        let scenes: Vec<_> = seeds.iter().map(|&seed| scene(seed, Split::HeldOut, Kind::Single)).collect();
        let originals: Vec<Image> = scenes.iter().map(Scene::paint).collect();
        let latents = vae.encode(&to_tensor(originals.iter(), &Device::Cpu)?)?.mean.detach();
        let images = to_images(&vae.decode(&latents)?.detach())?;
        for (image, scene) in images.into_iter().zip(&scenes) {
            let verdict = judge(&Image::from_pixels(image.into_raw()).context("64 x 64 images")?);
            let [object] = scene.objects.as_slice() else { anyhow::bail!("a single object was asked for") };
            right +=
                usize::from(verdict.shape == Some(object.shape) && verdict.colour == Some(object.colour));
        }
    }
    Ok(right)
}
