//! `prepare SPEC.toml`: encodes a data set once, for all runs that train on it.

use super::spec_file::read_spec;
use anyhow::{Context, Result, ensure};
use catalogue::local_models::LocalModels;
use clap::Args;
use diffusion::device::DeviceName;
use diffusion::layout::CLIP;
use domain::prepare::{Manifest, PrepareSpec};
use domain::train::PAPER_CLIP;
use hub::HubSettings;
use process::progress::Progress;
use process::stop_signal::StopSignal;
use std::path::{Path, PathBuf};
use training::data::clip::with_clip;
use training::data::fetched::{fetch, unless_stopped};
use training::data::prepare::Plan;
use training::recipes::drawn_pairs::with_drawn_images;

/// Arguments of `prepare`.
#[derive(Debug, Args)]
pub(crate) struct PrepareCommand {
    /// TOML file with a prepare spec (docs/data.md).
    config: PathBuf,
    #[command(flatten)]
    models: LocalModels,
    /// Device to compute on: auto, cpu, cuda or cuda:NUMBER.
    #[arg(long, env = "DEVICE", default_value_t)]
    device: DeviceName,
    #[command(flatten)]
    hub: HubSettings,
}

impl PrepareCommand {
    pub(crate) fn run(self) -> Result<()> {
        let spec = read_spec(&self.config, "prepare", PrepareSpec::validate)?;
        let folders = self.models.model(&spec.base).context("base")?;
        let folders = with_clip(folders, spec.clip.name(), &self.models.models, &self.hub)?;
        ensure!(
            !spec.clip.is_wanted() || folders.part(CLIP).is_ok(),
            "clip: the base {:?} has no CLIP, and diff_contrast and rpo need its features: add clip = \"{PAPER_CLIP}\" (the \
             paper's), or clip = false for other objectives",
            spec.base
        );
        let stop = StopSignal::listen()?;
        let data = fetch(&spec.data, &self.hub, &mut unless_stopped(stop))?;
        let (out, device) = (Path::new(&spec.out), self.device.open()?);
        let mut drawing: Option<Progress> = None;
        let data = with_drawn_images(&data, &folders, out, &device, &mut |done, total| {
            drawing.get_or_insert_with(|| Progress::new("drawing", total as u64)).reach(done as u64);
            ensure!(!stop.received(), "stopped; rerun the command to resume after the last drawn image");
            Ok(())
        })?;
        drawing.iter().for_each(Progress::finish);
        let plan = Plan::new(
            &data,
            &spec.image,
            spec.image_filter.as_ref(),
            spec.shard_size as usize,
            spec.clip.is_wanted(),
            &folders,
        )?;
        let mut bar: Option<Progress> = None;
        let manifest = plan.carry_out(out, &folders, &device, &mut |done, total| {
            bar.get_or_insert_with(|| Progress::new("encoding", total as u64)).reach(done as u64);
            ensure!(!stop.received(), "stopped; rerun the command to resume after the last complete shard");
            Ok(())
        })?;
        if let Some(bar) = &bar {
            bar.finish();
        }
        print(out, &manifest);
        Ok(())
    }
}

fn print(out: &Path, manifest: &Manifest) {
    println!("{}: {}", out.display(), manifest.report);
    for dropped in &manifest.report.named {
        println!("  {dropped}");
    }
    if let Some(cut) = &manifest.cut {
        println!("  captions: {cut}");
    }
    for left_out in &manifest.report.left_out {
        println!("  {left_out}");
    }
    for (name, part) in &manifest.parts {
        println!("  {name}: {} shards, key {:.12}", part.shards.len(), part.key);
    }
}
