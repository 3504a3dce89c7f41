//! Writes the files of the bundled model.

use anyhow::{Context, Result};
use candle_core::{DType, Device};
use diffusion::unet::{Unet, WEIGHTS_FILE};
use diffusion::weights::{Variables, save, values};
use files::write_atomically;
use serde_json::Value;
use shapes::world::{Kind, Split};
use std::path::Path;

/// Writes a part's config and its weights in half precision.
pub(super) fn write_part(folder: &Path, config: &Value, weights: &str, variables: &Variables) -> Result<()> {
    write_json(&folder.join("config.json"), config)?;
    save(&values(variables, DType::F16)?, &folder.join(weights))?;
    Ok(())
}

pub(super) fn write_json(file: &Path, value: &Value) -> Result<()> {
    let mut text = serde_json::to_string_pretty(value)?;
    text.push('\n');
    write_atomically(file, text.as_bytes())?;
    Ok(())
}

/// Writes the tokenizer of the world's vocabulary, for captions of at most `max_tokens` tokens.
pub(super) fn write_tokenizer(folder: &Path, max_tokens: usize) -> Result<()> {
    write_atomically(&folder.join("vocab.json"), shapes::vocabulary::vocab_json().as_bytes())?;
    write_atomically(&folder.join("merges.txt"), shapes::vocabulary::merges_txt().as_bytes())?;
    write_json(
        &folder.join("tokenizer_config.json"),
        &serde_json::json!({
            "tokenizer_class": "CLIPTokenizer",
            "bos_token": shapes::vocabulary::START,
            "eos_token": shapes::vocabulary::END,
            "unk_token": shapes::vocabulary::END,
            "pad_token": shapes::vocabulary::END,
            "model_max_length": max_tokens,
            "do_lower_case": true
        }),
    )
}

/// Replaces a model's UNet by that of a checkpoint, in half precision.
pub(super) fn adopt(from: &Path, out: &Path) -> Result<()> {
    let (_, variables) = Unet::load(&from.join("unet"), &Device::Cpu, true)
        .with_context(|| format!("{} is not a checkpoint with a UNet", from.display()))?;
    let config = std::fs::read(from.join("unet/config.json"))?;
    write_atomically(&out.join("unet/config.json"), &config)?;
    save(&values(&variables, DType::F16)?, &out.join("unet").join(WEIGHTS_FILE))?;
    println!("{}", out.join("unet").display());
    Ok(())
}

/// Writes contact sheets of the world, its styles and its quality pairs.
pub(super) fn sheets(out: &Path) -> Result<()> {
    std::fs::create_dir_all(out).with_context(|| format!("cannot create {}", out.display()))?;
    for (name, sheet) in [
        ("world", shapes::sheet::world_sheet(Kind::Mixed, Split::Train, 60)),
        ("styles", shapes::sheet::style_sheet(10)),
        ("quality", shapes::sheet::quality_sheet(8, 4)),
    ] {
        let file = out.join(format!("{name}.png"));
        sheet.save(&file).with_context(|| format!("cannot write {}", file.display()))?;
        println!("{}", file.display());
    }
    Ok(())
}
