//! `fid A B`: the Frechet distance of two sets of images. Prints the report as JSON to standard output, and a summary
//! to standard error.

use anyhow::{Context, Result, ensure};
use clap::Args;
use diffusion::device::DeviceName;
use domain::evaluate::FidReport;
use evaluation::fid::{Extractor, Mode, write_statistics};
use process::progress::Progress;
use process::stop_signal::StopSignal;
use std::ops::ControlFlow;
use std::path::PathBuf;
use training::recipes::fid::{FidSettings, Side, SideFeatures, compare, features_of, open_extractor};

/// Arguments of `fid`.
#[derive(Debug, Args)]
pub(crate) struct FidCommand {
    /// A folder of images, a .npz file of statistics (pytorch-fid's or ours), or shapes:SET:COUNT[:SEED].
    a: String,
    /// The other set, in the same forms. Optional with --save-statistics.
    b: Option<String>,
    /// Implementation to reproduce: pytorch-fid, clean-fid or torch-fidelity.
    #[arg(long, default_value = "pytorch-fid")]
    mode: Mode,
    /// Inception's published weights (pt_inception-2015-12-05-6726825d.pth, or that file converted by `convert`).
    /// Without them the features of the bundled CLIP are compared, which is not FID.
    #[arg(long)]
    weights: Option<PathBuf>,
    /// Folder of the CLIP that is used without --weights.
    #[arg(long, default_value = "models/shapes/clip")]
    clip: PathBuf,
    /// File for the statistics of A, for pytorch-fid or a later comparison.
    #[arg(long)]
    save_statistics: Option<PathBuf>,
    /// Include images in sub-folders.
    #[arg(long)]
    recursive: bool,
    /// Images per batch.
    #[arg(long, default_value_t = 32)]
    batch: usize,
    /// Number of subsets of the kernel distance.
    #[arg(long, default_value_t = 100)]
    subsets: usize,
    /// Largest number of images in a subset.
    #[arg(long, default_value_t = 1000)]
    subset_size: usize,
    /// Seed that draws the subsets.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Device to compute on: auto, cpu, cuda or cuda:NUMBER.
    #[arg(long, env = "DEVICE", default_value_t)]
    device: DeviceName,
}

impl FidCommand {
    pub(crate) fn run(self) -> Result<()> {
        self.check()?;
        let stop = StopSignal::listen()?;
        let a = Side::parse(&self.a, self.recursive).context("A")?;
        let b = self.b.as_deref().map(|b| Side::parse(b, self.recursive)).transpose().context("B")?;
        ensure!(
            self.save_statistics.is_none() || !matches!(a, Side::Statistics(_)),
            "--save-statistics: A is already a file of statistics"
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
        let mut features = |side: &Side, before: usize, extractor: &Extractor| -> Result<SideFeatures> {
            let features = features_of(side, extractor, settings.batch, &mut |done| {
                progress.reach((before + done) as u64);
                if stop.received() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            })?;
            features.context("stopped")
        };
        let features_a = features(&a, 0, &extractor)?;
        if let Some(file) = &self.save_statistics {
            write_statistics(&features_a.statistics, file)?;
            eprintln!("{}: mu and sigma of A", file.display());
        }
        let Some(b) = &b else { return Ok(()) };
        let features_b = features(b, a.count(), &extractor)?;
        progress.finish();
        let report = compare(&features_a, &features_b, &extractor, &settings)?;
        print_summary(&report);
        println!("{}", serde_json::to_string_pretty(&report)?);
        Ok(())
    }

    /// Checks the arguments that need no file.
    fn check(&self) -> Result<()> {
        ensure!(self.batch > 0, "--batch: use 1 or more");
        ensure!(self.subsets > 0, "--subsets: use 1 or more");
        ensure!(self.subset_size > 1, "--subset-size: use 2 or more");
        ensure!(
            self.b.is_some() || self.save_statistics.is_some(),
            "give B to compare A with, or --save-statistics"
        );
        Ok(())
    }
}

fn print_summary(report: &FidReport) {
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
