//! `fid A B`: how far two sets of images lie apart. The result goes to standard output as JSON, and to standard error for
//! people.

use anyhow::{Context, Result, ensure};
use clap::Args;
use diffusion::device::DeviceName;
use evaluation::fid::{Extractor, Mode, write_statistics};
use process::progress::Progress;
use process::stop_signal::StopSignal;
use std::ops::ControlFlow;
use std::path::PathBuf;
use training::recipes::fid::{
    FidReport, FidSettings, Side, SideFeatures, compare, features_of, open_extractor,
};

/// What to compare.
#[derive(Debug, Args)]
pub(crate) struct FidCommand {
    /// A folder of images, a .npz file of statistics (pytorch-fid's or ours), or shapes:SET:COUNT[:SEED].
    a: String,
    /// What to compare it with; may be left out with --save-statistics.
    b: Option<String>,
    /// Whose FID: pytorch-fid, clean-fid or torch-fidelity.
    #[arg(long, default_value = "pytorch-fid")]
    mode: Mode,
    /// Inception's published weights (pt_inception-2015-12-05-6726825d.pth, or what `convert` made of it). Without them the
    /// bundled CLIP's features are compared, which is not FID.
    #[arg(long)]
    weights: Option<PathBuf>,
    /// The CLIP's folder, for use without weights.
    #[arg(long, default_value = "models/shapes/clip")]
    clip: PathBuf,
    /// Writes the statistics of A, for pytorch-fid or a later comparison.
    #[arg(long)]
    save_statistics: Option<PathBuf>,
    /// Looks into the folders below, too.
    #[arg(long)]
    recursive: bool,
    /// Images at a time.
    #[arg(long, default_value_t = 32)]
    batch: usize,
    /// Subsets of the kernel distance.
    #[arg(long, default_value_t = 100)]
    subsets: usize,
    /// Images in a subset at most.
    #[arg(long, default_value_t = 1000)]
    subset_size: usize,
    /// Of the subsets' draws.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// The device that computes: auto, cpu, cuda or cuda:NUMBER.
    #[arg(long, env = "DEVICE", default_value_t)]
    device: DeviceName,
}

impl FidCommand {
    /// # Errors
    /// What went wrong, for people.
    pub(crate) fn run(self) -> Result<()> {
        ensure!(self.batch > 0, "--batch: use 1 or more");
        ensure!(self.subsets > 0, "--subsets: use 1 or more");
        ensure!(self.subset_size > 1, "--subset-size: use 2 or more");
        ensure!(
            self.b.is_some() || self.save_statistics.is_some(),
            "give B to compare A with, or --save-statistics"
        );
        let stop = StopSignal::listen()?;
        let a = Side::parse(&self.a, self.recursive).context("A")?;
        let b = self.b.as_deref().map(|b| Side::parse(b, self.recursive)).transpose().context("B")?;
        ensure!(
            self.save_statistics.is_none() || !matches!(a, Side::Statistics(_)),
            "--save-statistics: A is a file of statistics already"
        );
        let settings = FidSettings {
            weights: self.weights,
            mode: self.mode,
            clip: self.clip,
            batch: self.batch,
            subsets: self.subsets,
            subset_size: self.subset_size,
            seed: self.seed,
        };
        let extractor = open_extractor(&settings, &self.device.open()?)?;
        let total = a.count() + b.as_ref().map_or(0, Side::count);
        let mut progress = Progress::new("features", total as u64);
        let mut seen = |side: &Side, before: usize, extractor: &Extractor| -> Result<SideFeatures> {
            let seen = features_of(side, extractor, settings.batch, &mut |done| {
                progress.reach((before + done) as u64);
                if stop.received() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            })?;
            seen.context("stopped")
        };
        let seen_a = seen(&a, 0, &extractor)?;
        if let Some(file) = &self.save_statistics {
            write_statistics(&seen_a.statistics, file)?;
            eprintln!("{}: mu and sigma of A", file.display());
        }
        let Some(b) = &b else { return Ok(()) };
        let seen_b = seen(b, a.count(), &extractor)?;
        progress.finish();
        let report = compare(&seen_a, &seen_b, &extractor, &settings)?;
        print(&report);
        println!("{}", serde_json::to_string_pretty(&report)?);
        Ok(())
    }
}

fn print(report: &FidReport) {
    let mode = report.mode.as_ref().map_or(String::new(), |mode| format!(" ({mode})"));
    eprintln!("{}{mode}: {:.4}", report.metric, report.frechet);
    if let Some(kernel) = &report.kernel {
        let (subsets, size) = (kernel.subsets, kernel.subset_size);
        eprintln!(
            "{}: {:.6} ± {:.6} ({subsets} subsets of {size})",
            kernel.metric, kernel.mean, kernel.deviation
        );
    }
    if let Some(cmmd) = report.cmmd {
        eprintln!("CMMD-style distance: {cmmd:.4}");
    }
    for warning in &report.warnings {
        eprintln!("note: {warning}");
    }
}
