//! Images that a model draws for a training set, into a folder of the cache. Finished images stay, so an interrupted call
//! resumes where it stopped.

use anyhow::{Context, Result};
use candle_core::Device;
use catalogue::images::{png, settings};
use diffusion::part_folders::PartFolders;
use diffusion::pipeline::{Prompt, TextToImage};
use domain::image::Sampler;
use files::write_atomically;
use std::ops::ControlFlow;
use std::path::PathBuf;

/// Images that are drawn at a time.
const BATCH: usize = 8;

/// An image to draw.
#[derive(Clone, Debug)]
pub(crate) struct Drawing {
    pub(crate) file: PathBuf,
    pub(crate) prompt: String,
    pub(crate) seed: u64,
}

/// The settings of a drawing; the model's defaults where absent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DrawingSettings {
    pub(crate) steps: Option<u32>,
    pub(crate) guidance_scale: Option<f64>,
    pub(crate) sampler: Option<Sampler>,
}

/// Draws the images whose files do not exist. `report` receives the number of images that exist and their total; its error
/// stops the work.
///
/// # Errors
/// Fails if the model cannot be read, if a file cannot be written, or if `report` fails.
pub(crate) fn draw_missing(
    drawings: &[Drawing],
    model: &PartFolders,
    settings_of: DrawingSettings,
    device: &Device,
    report: &mut dyn FnMut(usize, usize) -> Result<()>,
) -> Result<()> {
    let total = drawings.len();
    let missing: Vec<&Drawing> = drawings.iter().filter(|drawing| !drawing.file.is_file()).collect();
    let mut done = total - missing.len();
    if !missing.is_empty() {
        let (defaults, _) = model.defaults()?;
        let DrawingSettings { steps, guidance_scale, sampler } = settings_of;
        let settings = settings(&defaults, steps, guidance_scale, sampler);
        let pipeline = TextToImage::open(model, device)?;
        for batch in missing.chunks(BATCH) {
            report(done, total)?;
            let prompt = |drawing: &&Drawing| Prompt {
                prompt: drawing.prompt.clone(),
                negative_prompt: None,
                seed: drawing.seed,
            };
            let prompts: Vec<Prompt> = batch.iter().map(prompt).collect();
            let mut interruption = None;
            let drawn = pipeline.generate(&prompts, &settings, &mut |_, _| match report(done, total) {
                Ok(()) => ControlFlow::Continue(()),
                Err(error) => {
                    interruption = Some(error);
                    ControlFlow::Break(())
                }
            })?;
            if let Some(error) = interruption {
                return Err(error);
            }
            for (drawing, image) in batch.iter().zip(drawn.context("the drawing was interrupted")?) {
                write_atomically(&drawing.file, &png(&image)?)?;
            }
            done += batch.len();
        }
    }
    report(total, total.max(1))
}
