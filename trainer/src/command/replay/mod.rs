//! `replay`: one objective on stored inputs, without any randomness: loss, errors, weights and every gradient go to
//! a file, to be compared with another implementation's or machine's (docs/replay.md; `oracles/replay.py` does the
//! same with PyTorch and diffusers).

mod batch;
mod errors;
mod mix;

use anyhow::{Context, Result, bail, ensure};
use batch::Batch;
use candle_core::{Device, Tensor};
use clap::{Args, ValueEnum};
use diffusion::schedule::Schedule;
use diffusion::unet::Unet;
use diffusion::weights::{self, Parameters};
use errors::{Image, errors, gradients};
use mix::mix;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// What to compute, and on what.
#[derive(Debug, Args)]
pub(crate) struct ReplayCommand {
    /// Folder in diffusers layout with the policy's `unet/` and `scheduler/`.
    #[arg(long)]
    model: PathBuf,
    /// Folder in diffusers layout with the reference's `unet/`.
    #[arg(long)]
    reference: PathBuf,
    /// The inputs, a safetensors file (see docs/replay.md).
    #[arg(long)]
    batch: PathBuf,
    /// What is minimised.
    #[arg(long)]
    objective: Objective,
    /// How far policy and reference may part; larger holds them together. `sft` ignores it.
    #[arg(long, allow_negative_numbers = true)]
    beta: f64,
    /// Temperature of the weights: small compares each winner with the most similar loser. `sft` and
    /// `diffusion_dpo` ignore it.
    #[arg(long, allow_negative_numbers = true)]
    tau: f64,
    /// Where the results go, a safetensors file.
    #[arg(long)]
    out: PathBuf,
}

/// Objectives on pairs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
enum Objective {
    /// Mean error on winners.
    Sft,
    /// Each winner against its own loser.
    DiffusionDpo,
    /// Every winner against every loser, weighted outside the log-sigmoid.
    DiffContrast,
    /// The same, weighted inside.
    Rpo,
}

impl Objective {
    /// Whether similarities of embeddings decide.
    fn compares(self) -> bool {
        matches!(self, Self::DiffContrast | Self::Rpo)
    }
}

impl ReplayCommand {
    /// # Errors
    /// An input that is missing or wrong, by name. Nothing is written then.
    pub(crate) fn run(self) -> Result<()> {
        self.check()?;
        let schedule = self.schedule()?;
        let batch = Batch::read(&self.batch, self.objective.compares(), schedule.timesteps())?;
        for folder in [&self.model, &self.reference] {
            batch.check(&Unet::config_of(&folder.join("unet"))?, folder)?;
        }
        let images = batch.images(&schedule)?;
        // One network after the other, so that never two are in memory.
        let reference = {
            let (unet, _) = Unet::load(&self.reference.join("unet"), &Device::Cpu, false)?;
            errors(&unet, &images).context("the reference")?
        };
        let results = self.policy(&batch, &images, &reference)?;
        weights::save(&results, &std::path::absolute(&self.out)?)?;
        println!("{}: {} tensors, {} pairs", self.out.display(), results.len(), batch.pairs);
        Ok(())
    }

    /// Everything that the policy decides: the results by name.
    fn policy(&self, batch: &Batch, images: &[Image], reference: &[f64]) -> Result<BTreeMap<String, Tensor>> {
        let folder = self.model.join("unet");
        let (unet, variables) = Unet::load(&folder, &Device::Cpu, true)?;
        let policy = {
            // The same values without a graph: the errors alone decide how much each image's gradient counts.
            let values = weights::values(&variables, candle_core::DType::F32)?;
            let frozen = Parameters::of_tensors(values, &Device::Cpu);
            let frozen = Unet::new(&frozen.root(), unet.config().clone())?;
            errors(&frozen, images).context("the policy")?
        };
        let mixed = mix(self.objective, &policy, reference, batch, self.beta, self.tau)?;
        let gradients = gradients(&unet, &variables, images, &mixed.slopes)?;
        let m = batch.pairs;
        let all: Vec<f32> = policy.iter().chain(reference).map(|&e| e as f32).collect();
        let mut results = BTreeMap::from([
            ("loss".to_owned(), Tensor::new(mixed.loss as f32, &Device::Cpu)?),
            ("errors".to_owned(), Tensor::from_vec(all, (4, m), &Device::Cpu)?),
            ("weights".to_owned(), mixed.weights),
        ]);
        for (name, gradient) in gradients {
            results.insert(format!("grad.{name}"), gradient);
        }
        Ok(results)
    }

    /// Settings, as far as they show without reading a file.
    fn check(&self) -> Result<()> {
        let positive = |flag: &str, value: f64| {
            ensure!(
                value.is_finite() && value > 0.0,
                "{flag}: {value} is no positive number; give one above 0"
            );
            Ok(())
        };
        if self.objective != Objective::Sft {
            positive("--beta", self.beta)?;
        }
        if self.objective.compares() {
            positive("--tau", self.tau)?;
        }
        for (flag, folder) in [("--model", &self.model), ("--reference", &self.reference)] {
            ensure!(
                folder.join("unet").is_dir(),
                "{flag}: {} has no unet/: give a folder in diffusers layout",
                folder.display()
            );
        }
        ensure!(!self.out.is_dir(), "--out: {} is a folder: give the name of a file", self.out.display());
        Ok(())
    }

    /// The model's noise schedule, with which the reference's must agree where it has one.
    fn schedule(&self) -> Result<Schedule> {
        let file = |folder: &Path| folder.join("scheduler").join("scheduler_config.json");
        let schedule = Schedule::load(&file(&self.model)).context("--model needs its noise schedule")?;
        if !file(&self.reference).exists() {
            eprintln!("the reference has no scheduler/: it is taken to agree with the model");
            return Ok(schedule);
        }
        let other = Schedule::load(&file(&self.reference))?;
        let differs = if other.prediction() != schedule.prediction() {
            format!("predicts {:?} where the model predicts {:?}", other.prediction(), schedule.prediction())
        } else if other.timesteps() != schedule.timesteps() {
            format!("has {} timesteps where the model has {}", other.timesteps(), schedule.timesteps())
        } else if let Some(t) = (0..schedule.timesteps())
            .find(|&t| (other.alpha_bar(t) / schedule.alpha_bar(t) - 1.0).abs() > 1e-9)
        {
            let (a, b) = (other.alpha_bar(t), schedule.alpha_bar(t));
            format!("leaves {a} of the variance at timestep {t} where the model leaves {b}")
        } else {
            return Ok(schedule);
        };
        bail!(
            "--reference: {} {differs}: policy and reference need one noise schedule",
            file(&self.reference).display()
        )
    }
}
