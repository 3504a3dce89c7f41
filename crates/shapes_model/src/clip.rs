//! The CLIP of the bundled model. Contrastive training alone leaves shape words nearly merged for a long time,
//! so both towers also learn to name what they see: every word's state its word, every feature the first
//! object's shape, colour and size and the background.

use super::cross_entropy::{of_classes, of_distributions};
use super::files::{write_json, write_part, write_tokenizer};
use super::rate::rate;
use anyhow::{Context, Result};
use candle_core::{Device, Tensor};
use clap::Args;
use diffusion::nn::Linear;
use diffusion::noise::Noise;
use diffusion::tokenizer::Tokenizer;
use diffusion::weights::{Parameters, Variables};
use domain::train::{Moments, OptimizerSpec};
use evaluation::clip::{Towers, normalised};
use process::progress::Progress;
use rayon::prelude::*;
use serde_json::{Value, json};
use shapes::Image;
use shapes::world::{Background, Colour, Kind, Scene, Shape, Size, Split, scene};
use std::collections::HashMap;
use std::path::PathBuf;
use training::data::images::to_tensor;
use training::optim::{Gradients, Optimiser};

/// Tokens of a caption.
pub(super) const POSITIONS: usize = 24;
const WIDTH: usize = 128;
const BATCH: usize = 64;
/// Steps over which the rate rises.
const WARMUP: u32 = 100;
/// Seeds from here on are kept for measuring.
const MEASURE_SEED: u64 = 30_000_000;

/// How to train it.
#[derive(Debug, Args)]
pub(super) struct Options {
    /// Folder of the model; `clip/`, `text_encoder/` and `tokenizer/` are written there.
    #[arg(long, default_value = "models/shapes")]
    out: PathBuf,
    /// Steps of the text tower.
    #[arg(long, default_value_t = 500)]
    text_steps: u32,
    /// Steps of the image tower, against the frozen text tower.
    #[arg(long, default_value_t = 2500)]
    image_steps: u32,
    /// Keep the text tower as it is in `clip/` (its states are what a UNet was trained on).
    #[arg(long)]
    keep_text: bool,
    /// Images in the set.
    #[arg(long, default_value_t = 16_000)]
    images: u64,
    /// Of every draw.
    #[arg(long, default_value_t = 2)]
    seed: u64,
}

fn text_config() -> Value {
    json!({
        "architectures": ["CLIPTextModel"],
        "model_type": "clip_text_model",
        "vocab_size": shapes::vocabulary::tokens().len(),
        "hidden_size": WIDTH,
        "intermediate_size": 4 * WIDTH,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "max_position_embeddings": POSITIONS,
        "hidden_act": "quick_gelu",
        "layer_norm_eps": 1e-5,
        "projection_dim": WIDTH,
        "bos_token_id": shapes::vocabulary::tokens().len() - 2,
        "eos_token_id": shapes::vocabulary::tokens().len() - 1,
        "pad_token_id": shapes::vocabulary::tokens().len() - 1
    })
}

fn config() -> Value {
    json!({
        "architectures": ["CLIPModel"],
        "model_type": "clip",
        "projection_dim": WIDTH,
        "logit_scale_init_value": 2.6592,
        "text_config": text_config(),
        "vision_config": {
            "model_type": "clip_vision_model",
            "image_size": shapes::SIDE,
            "patch_size": 8,
            "num_channels": 3,
            "hidden_size": WIDTH,
            "intermediate_size": 4 * WIDTH,
            "num_hidden_layers": 3,
            "num_attention_heads": 4,
            "hidden_act": "quick_gelu",
            "layer_norm_eps": 1e-5,
            "projection_dim": WIDTH
        }
    })
}

/// What a caption says, as classes; `None` where it says nothing.
type Attributes = [Option<u32>; 4];

fn attributes(scene: &Scene, caption: &str) -> Attributes {
    let says = |word: &str| caption.split([' ', ',']).any(|w| w == word);
    let object = &scene.objects[0];
    let class = |i: Option<usize>| i.map(|i| i as u32);
    [
        class(Shape::ALL.iter().position(|&s| s == object.shape)),
        class(Colour::ALL.iter().position(|&c| c == object.colour)),
        class(object.size.filter(|s| says(s.name())).and_then(|s| Size::ALL.iter().position(|&x| x == s))),
        class(
            Background::ALL
                .iter()
                .position(|&b| b == scene.background)
                .filter(|_| says(scene.background.name())),
        ),
    ]
}

/// Linear readouts, thrown away after training.
struct Readouts {
    words: Linear,
    attributes: [Linear; 4],
}

impl Readouts {
    fn new(parameters: &Parameters) -> Result<Self> {
        let root = parameters.root();
        let head = |name: &str, classes: usize| Linear::new(&root.at(name), WIDTH, classes);
        Ok(Self {
            words: head("words", shapes::vocabulary::tokens().len())?,
            attributes: [
                head("shape", Shape::ALL.len())?,
                head("colour", Colour::ALL.len())?,
                head("size", Size::ALL.len())?,
                head("background", Background::ALL.len())?,
            ],
        })
    }

    /// Cross-entropy of naming the attributes of each row of `features`.
    fn naming(&self, features: &Tensor, attributes: &[Attributes]) -> Result<Tensor> {
        let mut total = Tensor::zeros((), features.dtype(), features.device())?;
        for (i, head) in self.attributes.iter().enumerate() {
            let classes: Vec<Option<u32>> = attributes.iter().map(|a| a[i]).collect();
            total = (total + of_classes(&head.forward(features)?, &classes)?)?;
        }
        Ok(total)
    }
}

fn with_prefix(variables: Variables, prefix: &str) -> Variables {
    variables.into_iter().map(|(name, v)| (format!("{prefix}{name}"), v)).collect()
}

fn optimiser(variables: &Variables) -> Result<Optimiser> {
    let spec = OptimizerSpec::AdamW {
        beta1: 0.9,
        beta2: 0.98,
        epsilon: 1e-8,
        weight_decay: 0.02,
        max_grad_norm: 1.0,
        moments: Moments::F32,
    };
    Optimiser::new(&spec, variables)
}

impl Options {
    pub(super) fn run(self) -> Result<()> {
        let device = Device::Cpu;
        let folder = self.out.join("clip");
        write_tokenizer(&folder)?;
        write_tokenizer(&self.out.join("tokenizer"))?;
        let tokenizer = Tokenizer::load(&folder)?;
        let parameters = if self.keep_text {
            Parameters::open(&folder.join("model.safetensors"), &device, candle_core::DType::F32, true)?
        } else {
            Parameters::random(self.seed, &device)
        };
        let towers = Towers::new(&parameters.root(), serde_json::from_value(config())?)?;
        let variables = parameters.finish()?;
        if !self.keep_text {
            self.train_text(&towers, &variables, &tokenizer)?;
        }
        // The UNet will read the text tower in half precision: so must the image tower learn against it.
        for (name, v) in &variables {
            if name.starts_with("text_") {
                v.set(
                    &v.as_detached_tensor()
                        .to_dtype(candle_core::DType::F16)?
                        .to_dtype(candle_core::DType::F32)?,
                )?;
            }
        }
        let text_tower: Variables = variables
            .iter()
            .filter(|(name, _)| name.starts_with("text_model."))
            .map(|(name, v)| (name.clone(), v.clone()))
            .collect();
        write_part(&self.out.join("text_encoder"), &text_config(), "model.safetensors", &text_tower)?;
        if self.image_steps > 0 {
            self.train_image(&towers, &variables, &tokenizer)?;
        }
        write_part(&folder, &config(), "model.safetensors", &variables)?;
        write_json(
            &folder.join("preprocessor_config.json"),
            &json!({
                "image_processor_type": "CLIPImageProcessor",
                "size": {"shortest_edge": shapes::SIDE},
                "crop_size": {"height": shapes::SIDE, "width": shapes::SIDE},
                "resample": 3,
                "image_mean": [0.5, 0.5, 0.5],
                "image_std": [0.5, 0.5, 0.5]
            }),
        )?;
        println!("{}: {}", folder.display(), retrieval(&towers, &tokenizer)?);
        Ok(())
    }

    fn train_text(&self, towers: &Towers, variables: &Variables, tokenizer: &Tokenizer) -> Result<()> {
        let parameters = Parameters::random(self.seed + 1, &Device::Cpu);
        let readouts = Readouts::new(&parameters)?;
        let mut learnt = with_prefix(parameters.finish()?, "readout.");
        learnt.extend(
            variables.iter().filter(|(n, _)| n.starts_with("text_")).map(|(n, v)| (n.clone(), v.clone())),
        );
        let mut optimiser = optimiser(&learnt)?;
        let mut noise = Noise::stream(self.seed, 1);
        let mut progress = Progress::new("text tower", u64::from(self.text_steps));
        for step in 0..self.text_steps {
            let scenes: Vec<Scene> = (0..BATCH)
                .map(|i| {
                    let kind = if i % 4 == 0 { Kind::Mixed } else { Kind::Single };
                    scene(noise.below(MEASURE_SEED as usize) as u64, Split::Train, kind)
                })
                .collect();
            let captions: Vec<String> = scenes.iter().map(Scene::caption).collect();
            let ids = captions.iter().map(|c| tokenizer.encode(c)).collect::<diffusion::Result<Vec<_>>>()?;
            let named: Vec<Attributes> =
                scenes.iter().zip(&captions).map(|(s, c)| attributes(s, c)).collect();
            let (states, features) = towers.text_features(&ids)?;
            let words: Vec<Option<u32>> = ids.concat().into_iter().map(Some).collect();
            let naming = readouts.naming(&features, &named)?;
            let words = of_classes(&readouts.words.forward(&states.flatten(0, 1)?)?, &words)?;
            let loss = (&naming + words)?;
            let mut gradients = Gradients::default();
            gradients.add(&loss.backward()?, &learnt)?;
            optimiser.update(&learnt, &gradients, 1, rate(7e-4, WARMUP, step, self.text_steps))?;
            progress.step(&[("loss", f64::from(loss.to_scalar::<f32>()?))], BATCH as f64);
        }
        progress.note("text tower trained");
        progress.finish();
        Ok(())
    }

    fn train_image(&self, towers: &Towers, variables: &Variables, tokenizer: &Tokenizer) -> Result<()> {
        let device = Device::Cpu;
        let drawn: Vec<(Image, String, Attributes)> = (0..self.images)
            .into_par_iter()
            .map(|i| {
                let kind = if i % 4 == 0 { Kind::Mixed } else { Kind::Single };
                let scene = scene(self.seed * 10_000_019 % MEASURE_SEED + i, Split::Train, kind);
                let caption = scene.caption();
                let attributes = attributes(&scene, &caption);
                (scene.paint(), caption, attributes)
            })
            .collect();
        let parameters = Parameters::random(self.seed + 2, &device);
        let readouts = Readouts::new(&parameters)?;
        let mut learnt = with_prefix(parameters.finish()?, "readout.");
        // The text side is frozen, and words are not read out of images.
        learnt.retain(|name, _| !name.contains(".words."));
        learnt.extend(
            variables.iter().filter(|(n, _)| !n.starts_with("text_")).map(|(n, v)| (n.clone(), v.clone())),
        );
        variables.get("logit_scale").context("logit_scale")?.set(&Tensor::new(15f32.ln(), &device)?)?;
        let mut optimiser = optimiser(&learnt)?;
        let mut noise = Noise::stream(self.seed, 2);
        let mut progress = Progress::new("image tower", u64::from(self.image_steps));
        for step in 0..self.image_steps {
            let picked: Vec<&(Image, String, Attributes)> =
                (0..BATCH).map(|_| &drawn[noise.below(drawn.len())]).collect();
            let x = to_tensor(picked.iter().map(|p| &p.0), &device)?;
            let ids = picked.iter().map(|p| tokenizer.encode(&p.1)).collect::<diffusion::Result<Vec<_>>>()?;
            let text = normalised(&towers.text_features(&ids)?.1.detach())?;
            let features = towers.image_features(&x)?;
            let similarity =
                normalised(&features)?.matmul(&text.t()?)?.broadcast_mul(&towers.logit_scale().exp()?)?;
            // Images of the same caption are no negatives of each other.
            let right = same_caption(&picked, &device)?;
            let contrast = (of_distributions(&similarity, &right)?
                + of_distributions(&similarity.t()?.contiguous()?, &right)?)?;
            let named: Vec<Attributes> = picked.iter().map(|p| p.2).collect();
            let naming = readouts.naming(&features, &named)?;
            let loss = ((contrast * 0.5)? + &naming)?;
            let mut gradients = Gradients::default();
            gradients.add(&loss.backward()?, &learnt)?;
            optimiser.update(&learnt, &gradients, 1, rate(1e-3, WARMUP, step, self.image_steps))?;
            let shown = [
                ("loss", f64::from(loss.to_scalar::<f32>()?)),
                ("naming", f64::from(naming.to_scalar::<f32>()?)),
            ];
            progress.step(&shown, BATCH as f64);
            if (step + 1) % 250 == 0 {
                progress.note(&format!("step {}: {}", step + 1, retrieval(towers, tokenizer)?));
            }
        }
        progress.finish();
        Ok(())
    }
}

/// Row i: uniform over the columns with i's caption.
fn same_caption(picked: &[&(Image, String, Attributes)], device: &Device) -> Result<Tensor> {
    let mut counts: HashMap<&str, f32> = HashMap::new();
    for p in picked {
        *counts.entry(&p.1).or_default() += 1.0;
    }
    let n = picked.len();
    let rows: Vec<f32> = picked
        .iter()
        .flat_map(|a| picked.iter().map(|b| if a.1 == b.1 { 1.0 / counts[a.1.as_str()] } else { 0.0 }))
        .collect();
    Ok(Tensor::from_vec(rows, (n, n), device)?)
}

/// How often the nearest of all single-object captions is right, for 200 images of held-out combinations.
fn retrieval(towers: &Towers, tokenizer: &Tokenizer) -> Result<String> {
    let device = Device::Cpu;
    let mut candidates = Vec::new();
    for &shape in Shape::ALL {
        for &colour in Colour::ALL {
            for &size in Size::ALL {
                for &background in Background::ALL {
                    if shapes::world::allowed(colour, background) {
                        candidates.push((shape, colour, size, background));
                    }
                }
            }
        }
    }
    let article = |word: &str| if word.starts_with(['a', 'e', 'i', 'o', 'u']) { "an" } else { "a" };
    let captions = candidates.iter().map(|(shape, colour, size, background)| {
        format!("a {size} {colour} {shape} on {} {background} background", article(background.name()))
    });
    let ids = captions.map(|c| tokenizer.encode(&c)).collect::<diffusion::Result<Vec<_>>>()?;
    let texts = ids
        .chunks(256)
        .map(|ids| Ok(normalised(&towers.text_features(ids)?.1.detach())?))
        .collect::<Result<Vec<_>>>()?;
    let texts = Tensor::cat(&texts, 0)?;
    let scenes: Vec<Scene> =
        (0..200).map(|i| scene(MEASURE_SEED + i, Split::HeldOut, Kind::Single)).collect();
    let images: Vec<Image> = scenes.iter().map(Scene::paint).collect();
    let features = normalised(&towers.image_features(&to_tensor(images.iter(), &device)?)?.detach())?;
    let nearest = features.matmul(&texts.t()?)?.argmax(1)?.to_vec1::<u32>()?;
    let mut right = [0usize; 5];
    for (scene, &i) in scenes.iter().zip(&nearest) {
        let (shape, colour, size, background) = candidates[i as usize];
        let object = &scene.objects[0];
        let checks = [
            shape == object.shape,
            colour == object.colour,
            Some(size) == object.size,
            background == scene.background,
        ];
        right[0] += usize::from(checks.iter().all(|&c| c));
        for (right, check) in right[1..].iter_mut().zip(checks) {
            *right += usize::from(check);
        }
    }
    let share = |n: usize| n as f64 / scenes.len() as f64 * 100.0;
    Ok(format!(
        "nearest of {} captions right on held-out images: all {:.1}%, shape {:.1}%, colour {:.1}%, size {:.1}%, background {:.1}%",
        candidates.len(),
        share(right[0]),
        share(right[1]),
        share(right[2]),
        share(right[3]),
        share(right[4])
    ))
}
