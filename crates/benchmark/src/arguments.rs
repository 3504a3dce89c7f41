//! The command line.

use anyhow::Result;
use candle_core::{DType, Device};
use clap::{Parser, ValueEnum};
use diffusion::device::DeviceName;
use domain::train::{Embedding, Objective, Precision};
use evaluation::rewards::RewardKind;
use std::path::PathBuf;
use training::policy::dtype_of;

/// Repeats one step of training, generation, scoring or reading for each line `step` on standard input.
#[derive(Debug, Parser)]
#[command(version)]
pub(crate) struct Arguments {
    /// The step to repeat.
    pub(crate) task: Task,
    /// Folder of a model in diffusers layout. For `score` and `fid`, a folder that `xtask/bench/score.py make` wrote;
    /// for `read`, the folder of a set in Pick-a-Pic's columns.
    #[arg(long)]
    pub(crate) model: PathBuf,
    /// Images per batch.
    #[arg(long, default_value_t = 16)]
    pub(crate) batch: usize,
    /// The reward model of `score`.
    #[arg(long, default_value = "clip_score_l14")]
    pub(crate) reward: RewardKind,
    /// The objective of `train`, with the paper's settings for SD 1.5: denoise, sft, diffusion_dpo, diffusion_lpo,
    /// diff_contrast or rpo.
    #[arg(long, default_value = "denoise", value_parser = objective_of_kind)]
    pub(crate) objective: Objective,
    /// Height and width of the latents; default: the model's.
    #[arg(long)]
    pub(crate) side: Option<usize>,
    /// Uses random weights, so that the model's folder needs only configs.
    #[arg(long)]
    pub(crate) random_weights: bool,
    /// Trains with the graph of one image at a time (`memory.two_pass` of a spec).
    #[arg(long)]
    pub(crate) two_pass: bool,
    /// Trains with blocks recomputed in the backward pass (`memory.checkpoint_activations` of a spec).
    #[arg(long)]
    pub(crate) checkpoint_activations: bool,
    /// Trains from image files: each step first decodes and encodes its images and captions, as if nothing were
    /// prepared. Only for objectives with pairs.
    #[arg(long)]
    pub(crate) from_images: bool,
    /// Trains an adapter of this rank over the frozen model instead of all weights (`lora.rank` of a spec).
    #[arg(long)]
    pub(crate) lora: Option<u32>,
    /// Denoising steps of `generate`.
    #[arg(long, default_value_t = 20)]
    pub(crate) steps: usize,
    /// The device that computes: auto, cpu, cuda or cuda:NUMBER.
    #[arg(long, default_value = "cpu")]
    pub(crate) device: DeviceName,
    /// On a GPU, uses candle's operations instead of our kernels.
    #[arg(long)]
    pub(crate) composed: bool,
    /// The type in which the networks of `train` and `generate` compute (`precision` of a spec).
    #[arg(long, default_value = "f32")]
    precision: PrecisionName,
    /// Threads. RAYON_NUM_THREADS must be set to the same number, because thread pools read it when they start.
    #[arg(long)]
    pub(crate) threads: Option<usize>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Task {
    /// An update: objective, backward pass, clipping, AdamW.
    Train,
    /// A batch of images: DDIM with guidance, then the decoder.
    Generate,
    /// The scores of a batch of images by a reward model.
    Score,
    /// Inception's features of a batch of images.
    Fid,
    /// All pairs of a set.
    Read,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum PrecisionName {
    F32,
    F16,
    Bf16,
}

impl Arguments {
    /// The type in which networks compute on this device.
    pub(crate) fn dtype(&self, device: &Device) -> Result<DType> {
        let precision = match self.precision {
            PrecisionName::F32 => Precision::F32,
            PrecisionName::F16 => Precision::F16,
            PrecisionName::Bf16 => Precision::Bf16,
        };
        dtype_of(precision, device)
    }
}

/// The objective of a kind, with the paper's settings for SD 1.5.
fn objective_of_kind(kind: &str) -> Result<Objective, String> {
    let (beta, tau, embedding) = (2000.0, 0.01, Embedding::Concat);
    let objectives = [
        Objective::Denoise { snr_clamp: None },
        Objective::Sft {},
        Objective::DiffusionDpo { beta },
        Objective::DiffusionLpo { beta },
        Objective::DiffContrast { beta, tau, embedding },
        Objective::Rpo { beta, tau, embedding },
    ];
    let kinds = objectives.each_ref().map(Objective::kind).join(", ");
    objectives
        .into_iter()
        .find(|objective| objective.kind() == kind)
        .ok_or_else(|| format!("use one of {kinds}"))
}

#[cfg(test)]
mod tests {
    use super::{Arguments, objective_of_kind};
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn objectives_have_the_names_of_specs() {
        for kind in ["denoise", "sft", "diffusion_dpo", "diffusion_lpo", "diff_contrast", "rpo"] {
            assert_eq!(objective_of_kind(kind).map(|objective| objective.kind()), Ok(kind));
        }
        assert!(objective_of_kind("dpo").is_err_and(|problem| problem.contains("diffusion_dpo")));
    }
}
