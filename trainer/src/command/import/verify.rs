//! Checks that every part of an imported model can be used, and that the parts fit together.

use anyhow::{Context, Error, Result};
use diffusion::config::{ClipTextConfig, Prediction, read};
use diffusion::layout::{PARTS, verify_part};
use diffusion::part_folders::PartFolders;
use diffusion::tokenizer::Tokenizer;
use process::progress::Progress;
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
    check_tokenizers(&folders)?;
    if folders.is_editor()? {
        println!(
            "an editing model (InstructPix2Pix), which `style` can use; it draws nothing from text alone"
        );
        return Ok(());
    }
    let (defaults, _) = folders.defaults()?;
    let schedule = folders.schedule()?;
    println!(
        "{} x {} pixels, {}, predicts {}{}",
        defaults.width,
        defaults.height,
        defaults.sampler,
        match schedule.prediction() {
            Prediction::Epsilon => "the noise",
            Prediction::VPrediction => "the velocity",
        },
        if schedule.config().ends_without_signal() { ", no signal at the last timestep" } else { "" }
    );
    Ok(())
}

/// Checks that every tokenizer fits its text encoder.
fn check_tokenizers(folders: &PartFolders) -> Result<()> {
    for (encoder, tokenizer) in [("text_encoder", "tokenizer"), ("text_encoder_2", "tokenizer_2")] {
        let Ok(folder) = folders.part(encoder) else { continue };
        let config: ClipTextConfig = read(&folder.join("config.json"))?;
        let folder = folders.part(tokenizer)?;
        let tokens = Tokenizer::load(&folder)?;
        tokens
            .check_embeddings(config.vocab_size)
            .map_err(Error::msg)
            .with_context(|| folder.display().to_string())?;
        let unnamed = config.vocab_size.saturating_sub(tokens.tokens());
        if unnamed > 0 {
            println!(
                "{encoder}: {unnamed} embeddings more than {tokenizer} has tokens; no prompt can use them"
            );
        }
    }
    Ok(())
}
