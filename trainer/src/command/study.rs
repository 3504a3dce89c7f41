//! `study SPEC.toml`: a study from its spec to its report, on this machine or shared with others.

use super::spec_file::read_spec;
use crate::storage::StorageSettings;
use crate::worker::{DEFAULT_LEASE, Worker, WorkerCommand};
use anyhow::{Context, Result};
use catalogue::local_models::LocalModels;
use catalogue::register::Registrar;
use clap::{Args, Subcommand};
use diffusion::device::DeviceName;
use domain::study::{Study, StudyReport, StudySpec, StudyState, StudySummary};
use hub::HubSettings;
use process::progress::Progress;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use training::recipes::study::write_report;

/// Folder in which studies are put under their name by default.
const STUDIES: &str = "data/studies";

/// Arguments of `study`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(crate) struct StudyCommand {
    #[command(subcommand)]
    action: Option<StudyAction>,
    /// TOML file with a study's spec (docs/studies.md; examples in trainer/configs/studies).
    #[arg(required = true)]
    config: Option<PathBuf>,
    /// Folder for database, artifacts and report; default: data/studies/NAME. An interrupted study resumes there, and the same
    /// command started again shares its work.
    #[arg(long)]
    out: Option<PathBuf>,
    /// Database to submit the study to; default: one of its own in the folder.
    #[arg(long, requires = "artifacts")]
    database_url: Option<String>,
    /// Folder of images and checkpoints that belongs to the database.
    #[arg(long, requires = "database_url")]
    artifacts: Option<PathBuf>,
    /// Submit cells again that failed.
    #[arg(long)]
    retry: bool,
    #[command(flatten)]
    models: LocalModels,
    /// Folder of encoded sets, shared between runs.
    #[arg(long, env = "CACHE", default_value = "data/cache")]
    cache: PathBuf,
    /// Name shown with the worker's jobs; default: host name and process id.
    #[arg(long, env = "WORKER_NAME")]
    name: Option<String>,
    /// Device to compute on: auto, cpu, cuda or cuda:NUMBER.
    #[arg(long, env = "DEVICE", default_value_t)]
    device: DeviceName,
    /// Allow TF32 matrix products on a GPU: faster, but less precise and not the same on every GPU model.
    #[arg(long, env = "ALLOW_TF32")]
    allow_tf32: bool,
    /// Seconds without a sign of life after which another process of the study takes over a job.
    #[arg(long, env = "LEASE", default_value_t = DEFAULT_LEASE, value_parser = clap::value_parser!(u32).range(3..=86_400))]
    lease: u32,
    #[command(flatten)]
    hub: HubSettings,
}

#[derive(Debug, Subcommand)]
enum StudyAction {
    /// Make the report again from the stored scores of a study's folder.
    Report {
        /// Folder with study.json, scores.csv and curves.csv.
        folder: PathBuf,
    },
}

impl StudyCommand {
    pub(crate) fn run(self) -> Result<()> {
        if let Some(StudyAction::Report { folder }) = &self.action {
            write_report(folder)?;
            println!("{}", folder.join(catalogue::study::folder::PAGE).display());
            return Ok(());
        }
        let config = self.config.as_deref().context("name the file with the study's spec")?;
        let spec = read_spec(config, "study", StudySpec::validate)?;
        let out = self.out.clone().unwrap_or_else(|| Path::new(STUDIES).join(&spec.name));
        std::fs::create_dir_all(&out).with_context(|| format!("cannot create {}", out.display()))?;
        let worker = self.worker(&out)?;
        let study = self.submit(&worker, &spec)?;
        let mut shown = Shown::default();
        worker.work_until(&mut |worker, _| {
            let summary = worker.study(&study)?;
            shown.show(&summary);
            let ended = summary.study.state != StudyState::Running;
            if ended {
                worker.write_study(&summary.study, &out)?;
            }
            Ok(ended)
        })?;
        shown.finish(&out)
    }

    /// The worker over the study's database: that of the folder, unless one is given.
    fn worker(&self, out: &Path) -> Result<Worker> {
        let database = self
            .database_url
            .clone()
            .unwrap_or_else(|| format!("sqlite://{}", out.join("study.db").display()));
        let artifacts = self.artifacts.clone().unwrap_or_else(|| out.join("artifacts"));
        let command = WorkerCommand {
            storage: StorageSettings::at(database, artifacts),
            models: self.models.models.clone(),
            cache: self.cache.clone(),
            name: self.name.clone(),
            device: self.device,
            allow_tf32: self.allow_tf32,
            lease: self.lease,
            until_empty: false,
            hub: self.hub.clone(),
        };
        command.open()
    }

    /// Submits the study, and registers its base if the database lacks it. A study that was submitted before resumes.
    fn submit(&self, worker: &Worker, spec: &StudySpec) -> Result<Study> {
        worker.block_on(async |catalogue| {
            if catalogue.store.find_model(&spec.base).await?.is_none() {
                let folder = self.models.named(&spec.base).context("base")?;
                let registered = Registrar { catalogue, local: &self.models }.register(&folder, None).await;
                // Another process that starts at the same time may have registered it first.
                if catalogue.store.find_model(&spec.base).await?.is_none() {
                    registered.context("base")?;
                }
            }
            let study = catalogue.submit_study(spec).await?;
            if self.retry {
                let count = catalogue.retry_study(&study, None).await?;
                println!("{count} cells are submitted again");
            }
            Ok(study)
        })
    }
}

/// What the terminal shows of a study.
#[derive(Default)]
struct Shown {
    bar: Option<Progress>,
    done: BTreeSet<String>,
    last: Option<StudyState>,
    failed: Vec<String>,
}

impl Shown {
    /// Notes the cells that have ended since the last call.
    fn show(&mut self, summary: &StudySummary) {
        let is_first = self.bar.is_none();
        let total = summary.cells.len() as u64;
        let bar = self.bar.get_or_insert_with(|| Progress::new(&summary.study.spec.name, total));
        let mut new = Vec::new();
        for cell in summary.cells.iter().filter(|cell| cell.is_done()) {
            if self.done.insert(cell.key.clone()) && !is_first {
                let seconds = cell.seconds.map(|seconds| format!(", {seconds:.0} s")).unwrap_or_default();
                let error = cell.error.as_ref().map(|error| format!(": {error}")).unwrap_or_default();
                new.push(format!("{} {}{seconds}{error}", cell.key, cell.state));
            }
        }
        bar.reach(summary.done as u64);
        if !new.is_empty() || is_first {
            let left = summary.estimate.map(|seconds| format!(", about {} left", duration(seconds)));
            let left = left.unwrap_or_default();
            bar.note(&format!("{} of {total} cells{left}  {}", summary.done, new.join("; ")));
        }
        self.last = Some(summary.study.state);
        self.failed = summary
            .cells
            .iter()
            .filter(|cell| cell.is_done() && cell.state != "succeeded")
            .map(|cell| format!("{}: {}", cell.key, cell.error.as_deref().unwrap_or(&cell.state)))
            .collect();
    }

    fn finish(&self, out: &Path) -> Result<()> {
        if let Some(bar) = &self.bar {
            bar.finish();
        }
        match self.last {
            Some(StudyState::Finished) => {
                let figures = out.join(catalogue::study::folder::FIGURES);
                let bytes =
                    std::fs::read(&figures).with_context(|| format!("cannot read {}", figures.display()))?;
                print(&serde_json::from_slice(&bytes)?);
                for failed in &self.failed {
                    println!("{failed}");
                }
                println!("{}", out.join(catalogue::study::folder::PAGE).display());
            }
            Some(StudyState::Cancelled) => println!("the study was cancelled; --retry goes on with it"),
            Some(StudyState::Running) | None => println!("stopped; rerun the command to resume"),
        }
        Ok(())
    }
}

fn duration(seconds: f64) -> String {
    let minutes = (seconds / 60.0).ceil() as u64;
    if minutes < 90 { format!("{minutes} min") } else { format!("{:.1} h", seconds / 3600.0) }
}

/// Prints the tables of the report.
fn print(report: &StudyReport) {
    for table in &report.tables {
        for row in &table.rows {
            let interval = row.mean.interval.map(|[low, high]| format!(" [{low:.4}, {high:.4}]"));
            println!(
                "{} {}: {} {} {:.4}{}",
                table.data,
                table.evaluation,
                row.method,
                row.measure.label(),
                row.mean.mean,
                interval.unwrap_or_default()
            );
        }
    }
}
