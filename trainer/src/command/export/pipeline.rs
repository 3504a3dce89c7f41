//! The files that make the parts of an exported model a pipeline of diffusers: index, noise schedule, tokenizers.

use super::parts::PartConfigs;
use anyhow::{Context, Result, ensure};
use diffusion::config;
use diffusion::layout::{MODEL_INDEX, SCHEDULE, model_index};
use diffusion::part_folders::PartFolders;
use files::{copy_atomically, write_atomically};
use serde_json::Value;
use std::fs;
use std::path::Path;

/// The version of diffusers whose layout is written.
const DIFFUSERS_VERSION: &str = "0.35.0";
/// The entry of SDXL's `model_index.json` that decides whether an empty negative prompt is encoded or replaced by
/// zeros.
const ZEROS_FOR_EMPTY_PROMPT: &str = "force_zeros_for_empty_prompt";
/// Default height, width, steps, guidance scale and sampler.
const GENERATION_CONFIG: &str = "generation_config.json";

/// The class of diffusers that loads the parts.
pub(super) fn pipeline_class(configs: &PartConfigs) -> &'static str {
    if configs.contains_key("text_encoder_2") || takes_pooled_text(&configs["unet"]) {
        "StableDiffusionXLPipeline"
    } else {
        "StableDiffusionPipeline"
    }
}

/// Writes `model_index.json`, tokenizers, noise schedule and generation defaults.
pub(super) fn write_pipeline_files(folders: &PartFolders, configs: &PartConfigs, out: &Path) -> Result<()> {
    ensure!(
        configs.contains_key("text_encoder_2") == takes_pooled_text(&configs["unet"]),
        "the UNet and the text encoders belong to different kinds of models: name the UNet's base with --base"
    );
    for folder in ["tokenizer", "tokenizer_2", "scheduler"] {
        if let Ok(from) = folders.part(folder) {
            copy_files(&from, &out.join(folder))?;
        }
    }
    let mut text = serde_json::to_string_pretty(&index(folders, configs)?)?;
    text.push('\n');
    write_atomically(&out.join(MODEL_INDEX), text.as_bytes())?;
    if let Ok(file) = folders.part(GENERATION_CONFIG) {
        copy_atomically(&file, &out.join(GENERATION_CONFIG))?;
    }
    Ok(())
}

fn index(folders: &PartFolders, configs: &PartConfigs) -> Result<Value> {
    let schedule: Value = config::read(&folders.part(SCHEDULE)?)?;
    let sampler = schedule["_class_name"].as_str().unwrap_or("DDIMScheduler");
    let mut index = model_index(pipeline_class(configs), sampler, DIFFUSERS_VERSION);
    if let Ok(file) = folders.part(MODEL_INDEX) {
        // The only entry that depends on the model's training and not on its parts.
        let source: Value = config::read(&file)?;
        if let (Some(value), Some(entry)) =
            (source.get(ZEROS_FOR_EMPTY_PROMPT), index.get_mut(ZEROS_FOR_EMPTY_PROMPT))
        {
            *entry = value.clone();
        }
    }
    Ok(index)
}

/// Whether a UNet takes pooled text and image sizes besides the prompt, as SDXL's does.
fn takes_pooled_text(unet: &Value) -> bool {
    unet["addition_embed_type"] == "text_time"
}

/// Copies the files of a folder, without those of its sub-folders.
fn copy_files(from: &Path, to: &Path) -> Result<()> {
    for entry in fs::read_dir(from).with_context(|| format!("cannot read {}", from.display()))? {
        let path = entry?.path();
        if let (true, Some(name)) = (path.is_file(), path.file_name()) {
            copy_atomically(&path, &to.join(name))?;
        }
    }
    Ok(())
}
