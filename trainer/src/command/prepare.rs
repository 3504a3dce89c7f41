//! `prepare SPEC.toml`: encodes a set once, for all runs that learn from it.

use super::spec;
use crate::data::fetched::{fetch, unless_stopped};
use crate::data::prepare::Plan;
use crate::hub::HubSettings;
use crate::report::Progress;
use crate::stop::StopSignal;
use anyhow::{Result, ensure};
use clap::Args;
use diffusion::device::DeviceName;
use diffusion::pipeline::Folders;
use domain::prepare::{Manifest, PrepareSpec};
use std::path::{Path, PathBuf};

/// What to encode, and where models lie.
#[derive(Debug, Args)]
pub struct PrepareCommand {
    /// A TOML file with a prepare spec (see docs/data.md).
    config: PathBuf,
    /// Folder of models by name, for `base`, which may also be a path.
    #[arg(long, default_value = "models")]
    models: PathBuf,
    /// Folder with the parts that the base's own lacks.
    #[arg(long)]
    base_parts: Option<PathBuf>,
    /// The device that computes: auto, cpu, cuda or cuda:NUMBER.
    #[arg(long, env = "DEVICE", default_value_t)]
    device: DeviceName,
    #[command(flatten)]
    hub: HubSettings,
}

impl PrepareCommand {
    /// # Errors
    /// What went wrong, for people.
    pub fn run(self) -> Result<()> {
        let spec = spec::read(&self.config, "prepare", PrepareSpec::validate)?;
        let named = self.models.join(&spec.base);
        let base = if named.is_dir() { named } else { PathBuf::from(&spec.base) };
        let folders = Folders::new(&base, self.base_parts.as_deref());
        let stop = StopSignal::listen()?;
        let data = fetch(&spec.data, &self.hub, &mut unless_stopped(stop))?;
        let mut bar: Option<Progress> = None;
        let plan = Plan::new(
            &data,
            &spec.picture,
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
