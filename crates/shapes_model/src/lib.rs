//! Making the bundled model: its autoencoder and its CLIP, from nothing. Its UNet is trained by the same recipe
//! as any other model.

mod autoencoder;
mod clip;
mod cross_entropy;
mod files;
mod measure;
mod rate;

use anyhow::Result;
use clap::{Args, Subcommand};
use std::path::PathBuf;

/// Make or look at the bundled model and its world.
#[derive(Debug, Args)]
pub struct ShapesCommand {
    #[command(subcommand)]
    part: Part,
}

#[derive(Debug, Subcommand)]
enum Part {
    /// Train the autoencoder from nothing (or only its decoder, so that latents stay valid).
    Autoencoder(autoencoder::Options),
    /// Train CLIP: the text tower, then the image tower against it.
    Clip(clip::Options),
    /// Take a checkpoint's UNet as the bundled one, in half precision.
    Adopt {
        /// Folder of the checkpoint.
        #[arg(long)]
        from: PathBuf,
        /// Folder of the model.
        #[arg(long, default_value = "models/shapes")]
        out: PathBuf,
    },
    /// Judge a model's images of held-out prompts by the rule.
    Measure(measure::Options),
    /// Write contact sheets of the world, its styles and its quality pairs.
    Sheets {
        /// Folder to write to.
        #[arg(long)]
        out: PathBuf,
    },
}

impl ShapesCommand {
    /// # Errors
    /// What went wrong, for people.
    pub fn run(self) -> Result<()> {
        match self.part {
            Part::Autoencoder(options) => options.run(),
            Part::Clip(options) => options.run(),
            Part::Adopt { from, out } => files::adopt(&from, &out),
            Part::Measure(options) => options.run(),
            Part::Sheets { out } => files::sheets(&out),
        }
    }
}
