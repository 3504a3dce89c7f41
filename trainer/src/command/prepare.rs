//! `prepare SPEC.toml`: encodes a set once, for all runs that learn from it.

use super::spec;
use anyhow::{Context, Result, ensure};
use catalogue::model_folders::ModelFolders;
use clap::Args;
use diffusion::device::DeviceName;
use domain::prepare::{Manifest, PrepareSpec};
use hub::HubSettings;
use process::progress::Progress;
use process::stop_signal::StopSignal;
use std::path::{Path, PathBuf};
use training::data::fetched::{fetch, unless_stopped};
use training::data::prepare::Plan;

/// What to encode, and where models lie.
#[derive(Debug, Args)]
pub(crate) struct PrepareCommand {
    /// A TOML file with a prepare spec (see docs/data.md).
    config: PathBuf,
    #[command(flatten)]
    models: ModelFolders,
    /// The device that computes: auto, cpu, cuda or cuda:NUMBER.
    #[arg(long, env = "DEVICE", default_value_t)]
    device: DeviceName,
    #[command(flatten)]
    hub: HubSettings,
}

impl PrepareCommand {
    /// # Errors
    /// What went wrong, for people.
    pub(crate) fn run(self) -> Result<()> {
        let spec = spec::read(&self.config, "prepare", PrepareSpec::validate)?;
        let folders = self.models.model(&spec.base).context("base")?;
        let stop = StopSignal::listen()?;
        let data = fetch(&spec.data, &self.hub, &mut unless_stopped(stop))?;
        let mut bar: Option<Progress> = None;
        let plan = Plan::new(
            &data,
            &spec.image,
            spec.image_filter.as_ref(),
            spec.shard_size as usize,
            spec.clip,
            &folders,
        )?;
        let manifest =
            plan.carry_out(Path::new(&spec.out), &folders, &self.device.open()?, &mut |done, of| {
                bar.get_or_insert_with(|| Progress::new("encoding", of as u64)).reach(done as u64);
                ensure!(!stop.received(), "stopped; the same command goes on from the last whole shard");
                Ok(())
            })?;
        if let Some(bar) = &bar {
            bar.finish();
        }
        describe(Path::new(&spec.out), &manifest);
        Ok(())
    }
}

fn describe(out: &Path, manifest: &Manifest) {
    println!("{}: {}", out.display(), manifest.report);
    for dropped in &manifest.report.named {
        println!("  {dropped}");
    }
    for (part, made) in &manifest.parts {
        println!("  {part}: {} shards, key {:.12}", made.shards.len(), made.key);
    }
}
