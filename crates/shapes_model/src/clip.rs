//! Trains the CLIP of the bundled model. With contrastive training alone the features of different shapes stay close
//! to each other for many steps, so both towers also train auxiliary classifiers of tokens and attributes.

mod configs;
mod image_tower;
mod optimiser;
mod readouts;
mod retrieval;
mod text_tower;

use super::files::{write_json, write_part, write_tokenizer};
use anyhow::Result;
use candle_core::{DType, Device};
use clap::Args;
use configs::{MAX_TOKENS, config, text_config};
use diffusion::tokenizer::Tokenizer;
use diffusion::weights::{Parameters, Variables};
use evaluation::clip::Towers;
use image_tower::train_image_tower;
use retrieval::retrieval;
use serde_json::json;
use std::path::PathBuf;
use text_tower::train_text_tower;

/// Settings of CLIP's training.
#[derive(Debug, Args)]
pub(super) struct Options {
    /// Folder of the model; its `clip/`, `text_encoder/` and `tokenizer/` are written.
    #[arg(long, default_value = "models/shapes")]
    out: PathBuf,
    /// Steps of the text tower.
    #[arg(long, default_value_t = 500)]
    text_steps: u32,
    /// Steps of the image tower, against the frozen text tower.
    #[arg(long, default_value_t = 2500)]
    image_steps: u32,
    /// Keep the text tower in `clip/`, so that a UNet trained on its states stays valid.
    #[arg(long)]
    keep_text: bool,
    /// Images in the training set.
    #[arg(long, default_value_t = 16_000)]
    images: u64,
    /// Seed of all random numbers.
    #[arg(long, default_value_t = 2)]
    seed: u64,
}

impl Options {
    pub(super) fn run(self) -> Result<()> {
        let device = Device::Cpu;
        let folder = self.out.join("clip");
        write_tokenizer(&folder, MAX_TOKENS)?;
        write_tokenizer(&self.out.join("tokenizer"), MAX_TOKENS)?;
        let tokenizer = Tokenizer::load(&folder)?;
        let parameters = if self.keep_text {
            Parameters::open(&folder.join("model.safetensors"), &device, DType::F32, true)?
        } else {
            Parameters::random(self.seed, &device)
        };
        let towers = Towers::new(&parameters.root(), serde_json::from_value(config())?)?;
        let variables = parameters.finish()?;
        if !self.keep_text {
            train_text_tower(&towers, &variables, &tokenizer, self.text_steps, self.seed)?;
        }
        round_text_tower(&variables)?;
        let text_tower: Variables = variables
            .iter()
            .filter(|(name, _)| name.starts_with("text_model."))
            .map(|(name, v)| (name.clone(), v.clone()))
            .collect();
        write_part(&self.out.join("text_encoder"), &text_config(), "model.safetensors", &text_tower)?;
        if self.image_steps > 0 {
            let Self { images, image_steps, seed, .. } = self;
            train_image_tower(&towers, &variables, &tokenizer, images, image_steps, seed)?;
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
}

/// Rounds the text tower to half precision, in which its file stores it and the UNet uses it, so that the image tower
/// trains against the same weights.
fn round_text_tower(variables: &Variables) -> Result<()> {
    for (name, v) in variables {
        if name.starts_with("text_") {
            v.set(&v.as_detached_tensor().to_dtype(DType::F16)?.to_dtype(DType::F32)?)?;
        }
    }
    Ok(())
}
