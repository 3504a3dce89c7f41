//! `evaluate SPEC.toml`: an evaluation without server and database.

use super::spec_file::read_spec;
use crate::storage::StorageSettings;
use anyhow::{Context, Result};
use catalogue::local_models::LocalModels;
use catalogue::models_folder::weights_sha256;
use catalogue::register::{EvaluatedModel, Evaluation, Registrar};
use clap::Args;
use diffusion::device::DeviceName;
use diffusion::fingerprint::Fingerprint;
use domain::evaluate::{EvaluateSpec, EvaluationReport};
use hub::HubSettings;
use process::progress::Progress;
use process::stop_signal::StopSignal;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use training::data::clip::with_clip;
use training::recipes::evaluate::{Contestant, EvaluationStore, FolderStore, evaluate};

/// Arguments of `evaluate`.
#[derive(Debug, Args)]
pub(crate) struct EvaluateCommand {
    /// TOML file with an evaluate spec (docs/evaluate.md; example in trainer/configs). A model is a name in the
    /// models folder, a run, a folder, or NAME=FOLDER.
    config: PathBuf,
    /// Folder for images and reports; default: data/evaluations/SPEC. An interrupted evaluation resumes there.
    #[arg(long)]
    out: Option<PathBuf>,
    #[command(flatten)]
    models: LocalModels,
    /// Device to compute on: auto, cpu, cuda or cuda:NUMBER.
    #[arg(long, env = "DEVICE", default_value_t)]
    device: DeviceName,
    #[command(flatten)]
    hub: HubSettings,
    /// Bring the finished evaluation into the database, with its models, images and scores.
    #[arg(long)]
    register: bool,
    #[command(flatten)]
    storage: StorageSettings,
}

impl EvaluateCommand {
    pub(crate) fn run(self) -> Result<()> {
        let mut spec = read_spec(&self.config, "evaluate", EvaluateSpec::validate)?;
        let clip = spec.clip.as_deref();
        let given: Vec<String> = spec.all_models().into_iter().map(str::to_owned).collect();
        let contestants: Vec<Contestant> =
            spec.all_models().into_iter().map(|model| self.contestant(model, clip)).collect::<Result<_>>()?;
        spec.baseline = Some(name_and_path(spec.baseline()).0.to_owned());
        spec.models = contestants.iter().map(|contestant| contestant.name.clone()).collect();
        spec.model = String::new();

        let stem = self.config.file_stem().unwrap_or_default();
        let out = self.out.clone().unwrap_or_else(|| Path::new("data/evaluations").join(stem));
        if self.register {
            // A wrong address is reported now, not after the evaluation.
            self.storage.with_catalogue(&self.models.models, async |_| Ok(()))?;
        }
        std::fs::create_dir_all(&out).with_context(|| format!("cannot create {}", out.display()))?;
        let stop = StopSignal::listen()?;
        let mut bar: Option<Progress> = None;
        let mut store = FolderStore::open(&out, &spec, &contestants)?;
        let (cache, device) = (out.join("scores"), self.device.open()?);
        let report = evaluate(&spec, &contestants, &mut store, &cache, &device, &mut |done, total| {
            bar.get_or_insert_with(|| Progress::new("images", total as u64)).reach(done as u64);
            if stop.received() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        if let Some(bar) = &bar {
            bar.finish();
        }
        match report {
            None => println!("stopped; rerun the command to resume"),
            Some(report) => {
                print(&report);
                println!("{}", out.join("report.html").display());
                if self.register {
                    let models = evaluated(&given, &contestants, &store)?;
                    let categories = store.categories();
                    self.register(&Evaluation { folder: &out, spec: &spec, models, categories })?;
                }
            }
        }
        Ok(())
    }

    fn register(&self, evaluation: &Evaluation<'_>) -> Result<()> {
        let job = self.storage.with_catalogue(&self.models.models, async |catalogue| {
            Registrar { catalogue: &catalogue, local: &self.models }.evaluation(evaluation).await
        })?;
        println!("registered as evaluation {job}");
        Ok(())
    }

    fn contestant(&self, model: &str, clip: Option<&str>) -> Result<Contestant> {
        let (name, path) = name_and_path(model);
        let folders = self.models.model(path).context("models")?;
        let sha256 = weights_sha256(&folders)?;
        let folders = with_clip(folders, clip, &self.models.models, &self.hub)?;
        let fingerprint = Fingerprint::of(&folders).with_context(|| format!("model {name}"))?;
        Ok(Contestant { name: name.to_owned(), sha256, fingerprint, folders })
    }
}

/// What registration needs of each model.
fn evaluated(
    given: &[String],
    contestants: &[Contestant],
    store: &FolderStore,
) -> Result<Vec<EvaluatedModel>> {
    let models = given.iter().zip(contestants).zip(store.records()).enumerate();
    let evaluated = models.map(|(index, ((given, contestant), record))| {
        let images = (0..record.params.len()).map(|prompt| store.image_file(index, prompt));
        Ok(EvaluatedModel {
            name: contestant.name.clone(),
            place: name_and_path(given).1.to_owned(),
            sha256: contestant.sha256.clone(),
            fingerprint: contestant.fingerprint.clone(),
            params: record.params.clone(),
            images: images.collect::<Result<_>>()?,
            scores: record.scores.clone(),
        })
    });
    evaluated.collect()
}

/// Splits NAME=FOLDER. Reports show the name; without one, it is the model as the spec gives it.
fn name_and_path(model: &str) -> (&str, &str) {
    model.split_once('=').unwrap_or((model, model))
}

fn print(report: &EvaluationReport) {
    for model in &report.models {
        for metric in &model.metrics {
            let (label, mean, median) = (metric.metric.label(), metric.mean, metric.median);
            println!("{}: {label} {mean:.4}, median {median:.4}, {} images", model.model, metric.count);
        }
        if let Some(fid) = &model.fid {
            println!("{}: {} {:.4}", model.model, fid.metric, fid.frechet);
        }
    }
    if let Some(cut) = &report.cut {
        println!("prompts: {cut}");
    }
    if report.statements.is_empty() {
        println!(
            "no metric was measured: the report shows the images side by side. Metrics need these files:"
        );
        for (metric, needs) in &report.not_measured {
            println!("  {}: {needs}", metric.label());
        }
    }
    for comparison in &report.comparisons {
        let wins = &comparison.overall;
        println!(
            "{} against {} by {}: win rate {:.1}% [{:.1}, {:.1}], {} wins, {} ties, {} losses",
            comparison.model,
            report.baseline,
            comparison.metric.label(),
            100.0 * wins.win_rate.value,
            100.0 * wins.win_rate.low,
            100.0 * wins.win_rate.high,
            wins.wins,
            wins.ties,
            wins.losses
        );
    }
}
