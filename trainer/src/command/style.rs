//! `style SPEC.toml`: makes a style set, in which each image loses against an edited version of it.

use super::spec_file::read_spec;
use anyhow::Result;
use catalogue::local_models::LocalModels;
use clap::Args;
use datasets::listing::rows_of;
use diffusion::device::DeviceName;
use domain::style::StyleSpec;
use hub::HubSettings;
use process::progress::Progress;
use process::stop_signal::StopSignal;
use std::ops::ControlFlow;
use std::path::PathBuf;
use training::data::fetched::{fetch, unless_stopped};
use training::style::make;

/// Arguments of `style`.
#[derive(Debug, Args)]
pub(crate) struct StyleCommand {
    /// TOML file with a style spec (docs/style.md).
    config: PathBuf,
    #[command(flatten)]
    models: LocalModels,
    /// Device to compute on: auto, cpu, cuda or cuda:NUMBER.
    #[arg(long, env = "DEVICE", default_value_t)]
    device: DeviceName,
    #[command(flatten)]
    hub: HubSettings,
}

impl StyleCommand {
    pub(crate) fn run(self) -> Result<()> {
        let mut spec = read_spec(&self.config, "style", StyleSpec::validate)?;
        let stop = StopSignal::listen()?;
        spec.data = fetch(&spec.data, &self.hub, &mut unless_stopped(stop))?;
        let mut bar = Progress::new(spec.editor.kind(), rows_of(&spec.data).unwrap_or(0));
        let manifest = make(&spec, &self.models, &self.device.open()?, &mut |done| {
            bar.reach(done as u64);
            if stop.received() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        bar.finish();
        if let Some(report) = &manifest.report {
            println!("{}: {report}", spec.out);
            for dropped in &report.named {
                println!("  {dropped}");
            }
            for left_out in &report.left_out {
                println!("  {left_out}");
            }
        }
        Ok(())
    }
}
