//! Measures a model of the bundled world: how many images show what their prompts ask for. The judge is a rule of the
//! world, not a network.

use super::held_out;
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

/// Settings of the measurement.
#[derive(Debug, Args)]
pub(super) struct Options {
    /// Folder of the model.
    #[arg(long, default_value = "models/shapes")]
    model: PathBuf,
    /// Folder with the parts that the model's own folder lacks.
    #[arg(long)]
    base: Option<PathBuf>,
    /// Number of prompts with one object (held-out combinations).
    #[arg(long, default_value_t = 200)]
    prompts: usize,
    /// Number of prompts with two objects.
    #[arg(long, default_value_t = 100)]
    pairs: usize,
    /// Guidance scale; default: the model's.
    #[arg(long)]
    guidance_scale: Option<f64>,
    /// Denoising steps; default: the model's.
    #[arg(long)]
    steps: Option<u32>,
    /// Seed of the first image; image i uses seed + i.
    #[arg(long, default_value_t = 5)]
    seed: u64,
    /// Folder for contact sheets of the images.
    #[arg(long)]
    out: Option<PathBuf>,
}

/// Images per batch.
const BATCH: usize = 20;
/// Seeds that draw the prompts.
const PROMPT_SEED: u64 = 777;
const PAIR_PROMPT_SEED: u64 = 778;

impl Options {
    pub(super) fn run(self) -> Result<()> {
        let folders = PartFolders::new(&self.model, self.base.as_deref());
        let (vae, _) = Autoencoder::load(&folders.part("vae")?, &Device::Cpu, false)?;
        print_share("reconstructed", reconstructed(&vae, self.prompts)?, self.prompts);
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
        self.measure_single_objects(&model, &settings)?;
        self.measure_pairs(&model, &settings)
    }

    fn measure_single_objects(&self, model: &TextToImage, settings: &Settings) -> Result<()> {
        let prompts = held_out_prompts(self.prompts, PROMPT_SEED);
        let captions: Vec<&str> = prompts.iter().map(|p| p.caption.as_str()).collect();
        let images = self.generate(model, settings, &captions)?;
        let verdicts: Vec<_> = images.iter().map(judge).collect();
        let n = prompts.len();
        let count = |f: &dyn Fn(usize) -> bool| (0..n).filter(|&i| f(i)).count();
        print_share("shape and colour", count(&|i| verdicts[i].satisfies(&prompts[i])), n);
        print_share("shape", count(&|i| verdicts[i].shape == Some(prompts[i].shape)), n);
        print_share("colour", count(&|i| verdicts[i].colour == Some(prompts[i].colour)), n);
        print_share("size", count(&|i| verdicts[i].size == Some(prompts[i].size)), n);
        print_share("background", count(&|i| verdicts[i].background == prompts[i].background), n);
        let print_satisfied = |name: &str, is_asked: &dyn Fn(usize) -> bool| {
            let satisfied = count(&|i| is_asked(i) && verdicts[i].satisfies(&prompts[i]));
            print_share(&format!("  {name}"), satisfied, count(is_asked));
        };
        for &shape in Shape::ALL {
            print_satisfied(&shape.to_string(), &|i| prompts[i].shape == shape);
        }
        for &size in Size::ALL {
            print_satisfied(&size.to_string(), &|i| prompts[i].size == size);
        }
        self.write_sheet("single", &images)
    }

    fn measure_pairs(&self, model: &TextToImage, settings: &Settings) -> Result<()> {
        let prompts = pair_prompts(self.pairs, PAIR_PROMPT_SEED);
        if prompts.is_empty() {
            return Ok(());
        }
        let captions: Vec<&str> = prompts.iter().map(|p| p.caption.as_str()).collect();
        let images = self.generate(model, settings, &captions)?;
        let verdicts: Vec<_> = images.iter().map(judge_pair).collect();
        let pairs = || verdicts.iter().zip(&prompts).filter_map(|(v, p)| v.as_ref().map(|v| (v, p)));
        print_share("both objects", pairs().filter(|(v, p)| v.shows_both(p)).count(), prompts.len());
        print_share("and their relation", pairs().filter(|(v, p)| v.satisfies(p)).count(), prompts.len());
        self.write_sheet("pairs", &images)
    }

    fn generate(&self, model: &TextToImage, settings: &Settings, captions: &[&str]) -> Result<Vec<Image>> {
        let mut generated = Vec::with_capacity(captions.len());
        for (i, batch) in captions.chunks(BATCH).enumerate() {
            let prompts: Vec<Prompt> = batch
                .iter()
                .enumerate()
                .map(|(j, caption)| Prompt {
                    prompt: (*caption).to_owned(),
                    negative_prompt: None,
                    seed: self.seed + (i * BATCH + j) as u64,
                })
                .collect();
            let images = model
                .generate(&prompts, settings, &mut |_, _| ControlFlow::Continue(()))?
                .context("generation was interrupted")?;
            for image in images {
                generated.push(Image::from_pixels(image.into_raw()).context(
                    "the model does not generate images of 64 x 64 pixels, as models of the bundled world do",
                )?);
            }
        }
        Ok(generated)
    }

    fn write_sheet(&self, name: &str, images: &[Image]) -> Result<()> {
        let Some(out) = &self.out else { return Ok(()) };
        std::fs::create_dir_all(out).with_context(|| format!("cannot create {}", out.display()))?;
        let file = out.join(format!("{name}.png"));
        contact_sheet(images, 20, 1)
            .save(&file)
            .with_context(|| format!("cannot write {}", file.display()))?;
        println!("{}", file.display());
        Ok(())
    }
}

fn print_share(name: &str, count: usize, of: usize) {
    println!("{name:18} {count:4} of {of:4}  {:5.1}%", 100.0 * count as f64 / of.max(1) as f64);
}

/// In how many of `count` held-out scenes the rule still finds shape and colour after the autoencoder: an upper bound
/// for every UNet on its latents.
fn reconstructed(vae: &Autoencoder, count: usize) -> Result<usize> {
    let mut correct = 0;
    let seeds: Vec<u64> = (held_out::AUTOENCODER..).take(count).collect();
    for seeds in seeds.chunks(BATCH) {
        let scenes: Vec<_> = seeds.iter().map(|&seed| scene(seed, Split::HeldOut, Kind::Single)).collect();
        let originals: Vec<Image> = scenes.iter().map(Scene::paint).collect();
        let latents = vae.encode(&to_tensor(originals.iter(), &Device::Cpu)?)?.mean.detach();
        let images = to_images(&vae.decode(&latents)?.detach())?;
        for (image, scene) in images.into_iter().zip(&scenes) {
            let verdict = judge(
                &Image::from_pixels(image.into_raw())
                    .context("the autoencoder's images are not 64 x 64 pixels")?,
            );
            let [object] = scene.objects.as_slice() else {
                anyhow::bail!("the scene has more than one object")
            };
            correct +=
                usize::from(verdict.shape == Some(object.shape) && verdict.colour == Some(object.colour));
        }
    }
    Ok(correct)
}
