//! `replay`: computes one objective on stored inputs, without randomness, and writes loss, errors, weights and every
//! gradient, to be compared with another implementation or machine. See docs/replay.md; `oracles/replay.py` does the
//! same with PyTorch and diffusers.

mod batch;
mod loss;
mod network;
mod tensor_file;

use anyhow::{Context, Result, bail, ensure};
use batch::Batch;
use candle_core::{DType, Device, Tensor};
use clap::Args;
use clap::builder::PossibleValuesParser;
use diffusion::fit::difference;
use diffusion::schedule::Schedule;
use diffusion::unet::Unet;
use diffusion::weights::{self, Parameters};
use domain::train::{Embedding, Objective};
use loss::loss_and_derivatives;
use network::{NoisedImage, errors, gradients};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Arguments of `replay`.
#[derive(Debug, Args)]
pub(crate) struct ReplayCommand {
    /// Folder in diffusers layout with the policy's `unet/` and `scheduler/`.
    #[arg(long)]
    model: PathBuf,
    /// Folder in diffusers layout with the reference's `unet/`.
    #[arg(long)]
    reference: PathBuf,
    /// Safetensors file with the inputs (docs/replay.md).
    #[arg(long)]
    batch: PathBuf,
    /// The objective, by its `kind` in a train spec.
    #[arg(long, value_parser = PossibleValuesParser::new(objectives(1.0, 1.0).map(|objective| objective.kind())))]
    objective: String,
    /// Strength of the preference per unit of error; larger keeps the policy closer to the reference. `sft` ignores
    /// it.
    #[arg(long, allow_negative_numbers = true)]
    beta: f64,
    /// Temperature of the weights; smaller compares each winner mostly with the most similar losers. `sft` and
    /// `diffusion_dpo` ignore it.
    #[arg(long, allow_negative_numbers = true)]
    tau: f64,
    /// Safetensors file for the results.
    #[arg(long)]
    out: PathBuf,
}

/// The objectives on pairs.
fn objectives(beta: f64, tau: f64) -> [Objective; 4] {
    // The batch has the embeddings that are compared, whatever they are made of.
    let embedding = Embedding::default();
    [
        Objective::Sft {},
        Objective::DiffusionDpo { beta },
        Objective::DiffContrast { beta, tau, embedding },
        Objective::Rpo { beta, tau, embedding },
    ]
}

impl ReplayCommand {
    pub(crate) fn run(self) -> Result<()> {
        let objective = self.checked_objective()?;
        self.check_paths()?;
        let schedule = self.schedule()?;
        let needs_embeddings = objective.weighting().is_some();
        let batch = Batch::read(&self.batch, needs_embeddings, schedule.timesteps())?;
        for folder in [&self.model, &self.reference] {
            batch.check(&Unet::config_of(&folder.join("unet"))?, folder)?;
        }
        let images = batch.noised_images(&schedule)?;
        // The reference is dropped before the policy is loaded, so that one network is in memory at a time.
        let reference = {
            let (unet, _) = Unet::load(&self.reference.join("unet"), &Device::Cpu, false)?;
            errors(&unet, &images).context("the reference")?
        };
        let results = self.results(&objective, &batch, &images, &reference)?;
        weights::save(&results, &std::path::absolute(&self.out)?)?;
        println!("{}: {} tensors, {} pairs", self.out.display(), results.len(), batch.pairs);
        Ok(())
    }

    /// The results by name.
    fn results(
        &self,
        objective: &Objective,
        batch: &Batch,
        images: &[NoisedImage],
        reference: &[f64],
    ) -> Result<BTreeMap<String, Tensor>> {
        let folder = self.model.join("unet");
        let (unet, variables) = Unet::load(&folder, &Device::Cpu, true)?;
        let policy = {
            // The same weights without a graph. The errors alone decide the weight of each image's gradient.
            let values = weights::values(&variables, DType::F32)?;
            let frozen = Parameters::of_tensors(values, &Device::Cpu);
            let frozen = Unet::new(&frozen.root(), unet.config().clone())?;
            errors(&frozen, images).context("the policy")?
        };
        let loss = loss_and_derivatives(objective, &policy, reference, batch)?;
        let gradients = gradients(&unet, &variables, images, &loss.derivatives)?;
        let all_errors: Vec<f32> = policy.iter().chain(reference).map(|&e| e as f32).collect();
        let mut results = BTreeMap::from([
            ("loss".to_owned(), Tensor::new(loss.loss as f32, &Device::Cpu)?),
            ("errors".to_owned(), Tensor::from_vec(all_errors, (4, batch.pairs), &Device::Cpu)?),
            ("weights".to_owned(), loss.weights),
        ]);
        for (name, gradient) in gradients {
            results.insert(format!("grad.{name}"), gradient);
        }
        Ok(results)
    }

    fn checked_objective(&self) -> Result<Objective> {
        let positive = |flag: &str, value: f64| {
            ensure!(value.is_finite() && value > 0.0, "{flag} {value}: use a number greater than 0");
            Ok(())
        };
        let objective =
            objectives(self.beta, self.tau).into_iter().find(|objective| objective.kind() == self.objective);
        let objective = objective.context("--objective: unknown")?;
        if objective.is_preference() {
            positive("--beta", self.beta)?;
        }
        if objective.weighting().is_some() {
            positive("--tau", self.tau)?;
        }
        Ok(objective)
    }

    fn check_paths(&self) -> Result<()> {
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

    /// The model's noise schedule. If the reference has one, it must be the same.
    fn schedule(&self) -> Result<Schedule> {
        let file = |folder: &Path| folder.join("scheduler").join("scheduler_config.json");
        let schedule = Schedule::load(&file(&self.model)).context("--model needs a noise schedule")?;
        if !file(&self.reference).exists() {
            eprintln!("the reference has no scheduler/: assuming the model's noise schedule");
            return Ok(schedule);
        }
        let other = Schedule::load(&file(&self.reference))?;
        if let Some(difference) = difference(&other, &schedule) {
            bail!(
                "--reference: {} {difference}: policy and reference must have the same noise schedule",
                file(&self.reference).display()
            );
        }
        Ok(schedule)
    }
}
