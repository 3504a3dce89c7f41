//! `data check SPEC.toml`.

use super::measured_step::{MeasuredStep, measure_step};
use anyhow::{Context, Result, ensure};
use catalogue::data_check::{DataCheck, Subject, check_data};
use catalogue::images::png;
use catalogue::local_models::LocalModels;
use catalogue::run_cost::estimate;
use clap::Args;
use diffusion::device::DeviceName;
use diffusion::part_folders::PartFolders;
use domain::data::DataSpec;
use domain::data_check::{CostEstimate, DataReport, size_text};
use domain::train::TrainSpec;
use files::write_atomically;
use hub::HubSettings;
use process::progress::Progress;
use process::stop_signal::StopSignal;
use std::path::{Path, PathBuf};
use training::data::clip::with_clip;
use training::data::fetched::{fetch, unless_stopped};

/// Arguments of `data check`.
#[derive(Debug, Args)]
pub(crate) struct CheckCommand {
    /// TOML file with a train spec, a prepare spec, or only a table `data`.
    config: PathBuf,
    /// Folder for report.json and contact-sheet.png; default: data/checks/SPEC.
    #[arg(long)]
    out: Option<PathBuf>,
    /// Read at most this many examples.
    #[arg(long)]
    max: Option<u64>,
    /// Compute two steps of the run, to report its time and its peak memory. For a train spec.
    #[arg(long)]
    measure: bool,
    #[command(flatten)]
    models: LocalModels,
    /// Device of --measure: auto, cpu, cuda or cuda:NUMBER.
    #[arg(long, env = "DEVICE", default_value_t)]
    device: DeviceName,
    #[command(flatten)]
    hub: HubSettings,
}

impl CheckCommand {
    pub(crate) fn run(self) -> Result<()> {
        let text = std::fs::read_to_string(&self.config)
            .with_context(|| format!("cannot read {}", self.config.display()))?;
        let subject = Subject::parse(text.trim_start_matches('\u{feff}'));
        let subject = subject.with_context(|| self.config.display().to_string())?;
        let Subject { data, base, run } = subject.clone();
        ensure!(
            run.is_some() || !self.measure,
            "--measure computes steps of a run, and {} has no objective: name a train spec",
            self.config.display()
        );
        let base = base.map(|base| self.models.model(&base).context("base")).transpose()?;
        let stop = StopSignal::listen()?;
        let data = fetch(&data, &self.hub, &mut unless_stopped(stop))?;
        let total = datasets::listing::rows_of(&data).unwrap_or(0).min(self.max.unwrap_or(u64::MAX));
        let mut bar = Progress::new("examples", total);
        let check = check_data(&data, base.as_ref(), self.max.unwrap_or(u64::MAX), &mut |done| {
            bar.reach(done);
            ensure!(!stop.received(), "stopped");
            Ok(())
        })?;
        bar.finish();
        let DataCheck { mut report, sheet } = check;
        report.warnings.extend(base.as_ref().map(|base| subject.obstacles(base)).unwrap_or_default());
        if let (Some(run), Some(base)) = (&run, base) {
            report.cost = Some(self.cost(run, base, &data, &report)?);
        }
        print(&report);
        let stem = self.config.file_stem().unwrap_or_default();
        let out = self.out.clone().unwrap_or_else(|| Path::new("data/checks").join(stem));
        write_atomically(&out.join("report.json"), &serde_json::to_vec_pretty(&report)?)?;
        write_atomically(&out.join("contact-sheet.png"), &png(&sheet)?)?;
        println!("{}", out.join("contact-sheet.png").display());
        ensure!(
            report.rows.pairs > 0,
            "the set has no example that can be used: {}",
            report.rows.explained()
        );
        Ok(())
    }

    fn cost(
        &self,
        run: &TrainSpec,
        base: PartFolders,
        data: &DataSpec,
        report: &DataReport,
    ) -> Result<CostEstimate> {
        let mut cost = estimate(run, &base, report.rows.pairs, report.prompts.different)?;
        if self.measure {
            let base = with_clip(base, run.clip.as_deref(), &self.models.models, &self.hub)?;
            let reference = run.reference.as_ref().map(|name| self.models.model(name).context("reference"));
            let MeasuredStep { seconds, peak_bytes } =
                measure_step(run, data, base, reference.transpose()?, &self.device.open()?)?;
            cost.seconds = Some(seconds * f64::from(run.steps));
            cost.measured_bytes = Some(peak_bytes);
        }
        Ok(cost)
    }
}

/// Sizes of images that are printed.
const SHOWN_SIZES: usize = 6;

fn print(report: &DataReport) {
    println!(
        "{}: {}{}",
        report.source,
        report.rows,
        if report.is_partial { " (not read to the end)" } else { "" }
    );
    for dropped in &report.rows.named {
        println!("  {dropped}");
    }
    for left_out in &report.rows.left_out {
        println!("  {left_out}");
    }
    let drawn = if report.draws_losers { " (the base draws them before the run)" } else { "" };
    println!("examples with a loser: {} of {}{drawn}", report.with_loser, report.rows.pairs);
    let sizes = report
        .sizes
        .iter()
        .take(SHOWN_SIZES)
        .map(|of| format!("{} of {} x {}", of.images, of.width, of.height));
    let others = report.sizes.len().saturating_sub(SHOWN_SIZES);
    let others = if others == 0 { String::new() } else { format!(", and {others} other sizes") };
    println!("images: {}{others}", sizes.collect::<Vec<_>>().join(", "));
    let prompts = &report.prompts;
    println!(
        "prompts: {} different, {} to {} words, median {}",
        prompts.different, prompts.shortest, prompts.longest, prompts.median
    );
    for repeated in report.repeated_prompts.iter().take(3) {
        println!("  {} times {:?}", repeated.rows, repeated.prompt);
    }
    for (model, of) in &report.models {
        println!("  {model}: {} wins, {} losses", of.wins, of.losses);
    }
    if let Some(cost) = &report.cost {
        print_cost(cost);
    }
    for warning in &report.warnings {
        println!("warning: {warning}");
    }
}

fn print_cost(cost: &CostEstimate) {
    println!(
        "run: {} trained values, {} of memory without activations, {} of encoded set on disk",
        cost.trained,
        size_text(cost.memory_bytes),
        size_text(cost.encoded_bytes)
    );
    if let (Some(seconds), Some(bytes)) = (cost.seconds, cost.measured_bytes) {
        println!(
            "measured: {:.2} s per step, {:.0} min for all steps, {} at most",
            seconds / f64::from(cost.steps.max(1)),
            seconds / 60.0,
            size_text(bytes)
        );
    }
}
