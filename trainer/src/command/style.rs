//! `style SPEC.toml`: makes a set of pairs in which an image loses against its edited version.

use super::spec;
use anyhow::Result;
use catalogue::model_folders::ModelFolders;
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

/// What to make, and where models lie.
#[derive(Debug, Args)]
pub(crate) struct StyleCommand {
    /// A TOML file with a style spec (see docs/style.md).
    config: PathBuf,
    #[command(flatten)]
    models: ModelFolders,
    /// The device that computes: auto, cpu, cuda or cuda:NUMBER.
    #[arg(long, env = "DEVICE", default_value_t)]
    device: DeviceName,
    #[command(flatten)]
    hub: HubSettings,
}

impl StyleCommand {
    /// # Errors
    /// What went wrong, for people.
    pub(crate) fn run(self) -> Result<()> {
        let mut spec = spec::read(&self.config, "style", StyleSpec::validate)?;
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
        }
        Ok(())
    }
}
