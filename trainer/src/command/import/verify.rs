//! Checks that every part of an imported model can be used, and that the parts fit together.

use anyhow::{Context, Result, ensure};
use diffusion::config::{ClipTextConfig, Prediction, UnetConfig, read};
use diffusion::layout::{PARTS, verify_part};
use diffusion::part_folders::PartFolders;
use diffusion::tokenizer::Tokenizer;
use process::progress::Progress;
use std::collections::BTreeMap;
use std::path::Path;

/// Reads every tensor of every part in `folder`, and prints what was found. Parts that `folder` lacks are those of
/// `base`.
pub(super) fn verify(folder: &Path, base: Option<&Path>) -> Result<()> {
    for (part, stem) in PARTS {
        let part_folder = folder.join(part);
        if !part_folder.is_dir() {
            continue;
        }
        let mut bar = Progress::new(part, 100);
        let found = verify_part(&part_folder, part, stem, &mut |done, total| {
            bar.reach(100 * done / total.max(1));
            Ok(())
        })
        .with_context(|| format!("{part} cannot be used"))?;
        bar.finish();
        println!(
            "{part}: {} tensors, {} numbers of {}, {}",
            found.tensors, found.numbers, found.types, found.file
        );
    }
    let folders = PartFolders::new(folder, base);
    check_text_widths(&folders)?;
    let (defaults, _) = folders.defaults()?;
    println!(
        "{} x {} pixels, {}, predicts {}",
        defaults.width,
        defaults.height,
        defaults.sampler,
        match folders.schedule()?.prediction() {
            Prediction::Epsilon => "the noise",
            Prediction::VPrediction => "the velocity",
        }
    );
    Ok(())
}

/// Checks that vocabulary, text encoders and UNet fit together.
fn check_text_widths(folders: &PartFolders) -> Result<()> {
    let file = folders.part("unet")?.join("config.json");
    let unet = UnetConfig::read(&file)?;
    let mut width = 0;
    for (encoder, tokenizer) in [("text_encoder", "tokenizer"), ("text_encoder_2", "tokenizer_2")] {
        let Ok(folder) = folders.part(encoder) else { continue };
        let config: ClipTextConfig = read(&folder.join("config.json"))?;
        width += config.hidden_size;
        let folder = folders.part(tokenizer)?;
        Tokenizer::load(&folder)?;
        let vocabulary: BTreeMap<String, usize> = read(&folder.join("vocab.json"))?;
        let count = vocabulary.values().max().map_or(0, |last| last + 1);
        ensure!(
            count <= config.vocab_size,
            "{}: has {count} tokens, but {encoder} has embeddings of {}: use the vocabulary of the same model",
            folder.join("vocab.json").display(),
            config.vocab_size
        );
    }
    ensure!(
        width == unet.cross_attention_dim,
        "{}: cross_attention_dim is {}, but the text states have width {width}: the UNet belongs to another base",
        file.display(),
        unet.cross_attention_dim
    );
    Ok(())
}
