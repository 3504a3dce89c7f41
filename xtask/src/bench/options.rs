//! The command line of `cargo xtask bench`.

use std::num::NonZero;
use std::path::PathBuf;

#[derive(clap::Args)]
pub(crate) struct Options {
    /// What to compare.
    pub(super) task: Task,
    /// Images in a batch.
    #[arg(long, default_value_t = 16)]
    pub(super) batch: u32,
    /// Timed rounds, after two rounds of warm-up; `pages` takes at least 20.
    #[arg(long, default_value_t = 10)]
    pub(super) rounds: usize,
    /// Denoising steps of `generate`.
    #[arg(long, default_value_t = 20)]
    pub(super) steps: u32,
    /// Use random weights of this published model's shape instead of `--model`. `score` defaults to vit-l-14.
    #[arg(long)]
    pub(super) shape: Option<Shape>,
    /// Side of the latents; defaults to the model's.
    #[arg(long)]
    pub(super) side: Option<NonZero<u32>>,
    /// Model folder in diffusers layout.
    #[arg(long, default_value = "models/shapes")]
    pub(super) model: PathBuf,
    /// Size of the shard that `data` reads; it is made under target/ if it is missing.
    #[arg(long, default_value_t = 2.0)]
    pub(super) gigabytes: f64,
    /// Size of the database of `pages`: 1 has 1000 runs, 100000 images and 1000000 votes.
    #[arg(long, default_value_t = 1.0)]
    pub(super) scale: f64,
    /// Device of both programs: cpu, or cuda with a `--program` that was built for it.
    #[arg(long, default_value = "cpu")]
    pub(super) device: String,
    /// Precision of the networks of `train`, `generate`, `objectives` and `kernels`: f32, f16 or bf16.
    #[arg(long, default_value = "f32")]
    pub(super) precision: String,
    /// Path of a built diff-contrast-benchmark; without it, one is built in release mode.
    #[arg(long)]
    pub(super) program: Option<PathBuf>,
    /// Threads of each program; defaults to all cores.
    #[arg(long)]
    pub(super) threads: Option<NonZero<usize>>,
    /// Python with the packages of xtask/bench/requirements.txt (for image-reward, of
    /// requirements-image-reward.txt). Without it, a virtual environment is made under target/.
    #[arg(long)]
    pub(super) python: Option<PathBuf>,
}

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Task {
    /// A training step: our trainer and PyTorch + diffusers.
    Train,
    /// A batch of generated images: our pipeline and PyTorch + diffusers.
    Generate,
    /// A training step: Diff-contrast and Diffusion-DPO.
    Objectives,
    /// A training step on a GPU: our kernels and compositions of candle's operations.
    Kernels,
    /// Reading preference pairs: our reader and the `datasets` package.
    Data,
    /// A training step: on prepared data and from image files.
    Prepared,
    /// Scoring images: ours and the package that published the score.
    Score,
    /// Inception features: ours and pytorch-fid.
    Fid,
    /// The time of every page and of the requests that pages make, on a large database, on SQLite and on Postgres.
    Pages,
}

#[derive(Clone, Copy, clap::ValueEnum)]
pub(super) enum Shape {
    /// Stable Diffusion 1.5 with half the channels.
    #[value(name = "sd15-half")]
    Sd15Half,
    /// OpenAI's CLIP ViT-L/14, for its CLIP score.
    #[value(name = "vit-l-14")]
    VitL14,
    /// LAION's CLIP ViT-H/14, for HPSv2.
    #[value(name = "vit-h-14")]
    VitH14,
    /// ImageReward: BLIP's ViT-L/16, and a BERT with cross-attention to the image.
    #[value(name = "image-reward")]
    ImageReward,
}
