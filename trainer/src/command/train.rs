//! `train CONFIG.toml`: a run without server and database.

mod terminal;

use super::register::register;
use super::spec_file::read_spec;
use crate::storage::StorageSettings;
use anyhow::{Context, Result};
use candle_core::Device;
use catalogue::local_models::{LocalModels, RUNS};
use catalogue::register::Registrar;
use clap::Args;
use diffusion::device::{DeviceName, allow_reduced_precision};
use domain::train::TrainSpec;
use hub::HubSettings;
use process::stop_signal::StopSignal;
use std::path::{Path, PathBuf};
use terminal::{NoReports, Terminal};
use training::collective::Membership;
use training::data::clip::with_clip;
use training::data::fetched::{fetch_for, unless_stopped};
use training::recipes::run_paths::RunPaths;
use training::recipes::train::{Ending, train_together};

/// Arguments of `train`.
#[derive(Debug, Args)]
pub(crate) struct TrainCommand {
    /// TOML file with a train spec (docs/training.md; examples in trainer/configs).
    config: PathBuf,
    /// Folder for resume state, metrics, samples and models; default: data/runs/NAME. If it holds a saved state, the
    /// run resumes from it.
    #[arg(long)]
    out: Option<PathBuf>,
    #[command(flatten)]
    models: LocalModels,
    /// Folder of encoded sets, shared between runs.
    #[arg(long, default_value = "data/cache")]
    cache: PathBuf,
    /// Device to compute on: auto, cpu, cuda or cuda:NUMBER.
    #[arg(long, env = "DEVICE", default_value_t)]
    device: DeviceName,
    /// Go on from the saved state with the learning rate and schedule of the config, although the run had others: after
    /// a divergence.
    #[arg(long)]
    new_learning_rate: bool,
    /// Allow TF32 matrix products on a GPU: faster, but less precise and not the same on every GPU model.
    #[arg(long, env = "ALLOW_TF32")]
    allow_tf32: bool,
    #[command(flatten)]
    membership: Membership,
    #[command(flatten)]
    hub: HubSettings,
    /// When the run ends, finished or stopped, bring it into the database (as the command `register`).
    #[arg(long)]
    register: bool,
    #[command(flatten)]
    storage: StorageSettings,
}

impl TrainCommand {
    pub(crate) fn run(self) -> Result<()> {
        let spec = read_spec(&self.config, "train", TrainSpec::validate)?;
        allow_reduced_precision(self.allow_tf32);
        let device = self.device.open()?;
        let paths = self.paths(&spec)?;
        let outcome = self.train(&spec, &paths, &device);
        if outcome.is_err() {
            // Fails for a folder that holds anything, which is then kept.
            drop(std::fs::remove_dir(&paths.run));
        }
        outcome
    }

    fn train(&self, spec: &TrainSpec, paths: &RunPaths, device: &Device) -> Result<()> {
        std::fs::create_dir_all(&paths.run)
            .with_context(|| format!("cannot create {}", paths.run.display()))?;
        println!(
            "{}: {} from {}, effective learning rate {:e}, in {}",
            spec.name,
            spec.objective.kind(),
            spec.base,
            spec.effective_rate(),
            paths.run.display()
        );
        let collective = self.membership.meet(device)?;
        if !collective.leads() {
            let mut reports = NoReports(self.new_learning_rate);
            return train_together(spec, paths, device, &collective, &mut reports).map(drop);
        }
        if self.register {
            // A wrong address or a name that is taken is reported now, not after the run.
            self.storage.with_catalogue(&self.models.models, async |catalogue| {
                let registrar = Registrar { catalogue: &catalogue, local: &self.models };
                registrar.check_name(&paths.run, spec).await
            })?;
        }
        let stop = StopSignal::listen()?;
        fetch_for(&spec.data, &paths.run, &self.hub, &mut unless_stopped(stop))?;
        let mut terminal = Terminal::new(spec, &paths.run, stop, self.new_learning_rate);
        match train_together(spec, paths, device, &collective, &mut terminal)? {
            Ending::Finished => terminal.finish("finished"),
            Ending::Stopped(step) => {
                terminal.finish(&format!("stopped after step {step}; rerun the command to resume"));
            }
        }
        if self.register {
            register(&self.storage, &self.models, &paths.run, None)?;
        }
        Ok(())
    }

    fn paths(&self, spec: &TrainSpec) -> Result<RunPaths> {
        let start = self.models.model(&spec.base).context("base")?;
        let start = with_clip(start, spec.clip.as_deref(), &self.models.models, &self.hub)?;
        let reference = spec.reference.as_deref().map(|name| self.models.model(name).context("reference"));
        Ok(RunPaths {
            start,
            reference: reference.transpose()?,
            run: self.out.clone().unwrap_or_else(|| Path::new(RUNS).join(&spec.name)),
            cache: self.cache.clone(),
        })
    }
}
