//! Makes the bundled model: trains its autoencoder and its CLIP from random weights, and measures the result. The
//! UNet is trained by the same recipe as any other model's.

mod autoencoder;
mod clip;
mod cross_entropy;
mod files;
mod held_out;
mod learning_rate;
mod measure;

use anyhow::Result;
use clap::{Args, Subcommand};
use std::path::PathBuf;

/// Make and measure the bundled model.
#[derive(Debug, Args)]
pub struct ShapesCommand {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Train the autoencoder from random weights, or only its decoder, which keeps existing latents valid.
    Autoencoder(autoencoder::Options),
    /// Train CLIP: the text tower, then the image tower against it.
    Clip(clip::Options),
    /// Replace the bundled model's UNet by a checkpoint's, in half precision.
    Adopt {
        /// Folder of the checkpoint.
        #[arg(long)]
        from: PathBuf,
        /// Folder of the model.
        #[arg(long, default_value = "models/shapes")]
        out: PathBuf,
    },
    /// Generate held-out prompts and count, by the world's rule, how many images show what was asked.
    Measure(measure::Options),
    /// Write contact sheets of the world, its styles and its quality pairs.
    Sheets {
        /// Folder of the sheets.
        #[arg(long)]
        out: PathBuf,
    },
}

impl ShapesCommand {
    /// # Errors
    /// Fails if a file cannot be read or written, or if training fails.
    pub fn run(self) -> Result<()> {
        match self.action {
            Action::Autoencoder(options) => options.run(),
            Action::Clip(options) => options.run(),
            Action::Adopt { from, out } => files::adopt(&from, &out),
            Action::Measure(options) => options.run(),
            Action::Sheets { out } => files::sheets(&out),
        }
    }
}
