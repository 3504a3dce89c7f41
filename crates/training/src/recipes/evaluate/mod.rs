//! One evaluation, from spec to report: images of the same prompts and noise by every model, scores, comparisons.
//!
//! Existing images are kept, and the report is a pure function of the images. So an evaluation that was killed resumes
//! and ends in the same bytes as an undisturbed one.

mod agreement;
mod comparison;
mod contestant;
mod folder;
mod page;
pub(super) mod prompts;
mod report;
mod scored;
mod store;
mod summary;

pub use contestant::Contestant;
pub use folder::{FolderStore, Record};
pub use store::EvaluationStore;

use crate::data::cut::CutCounter;
use crate::judges::{Judges, Scores};
use crate::recipes::fid::{FidSettings, Side, fid};
use anyhow::{Context, Error, Result};
use candle_core::Device;
use catalogue::images;
use catalogue::world::require_world;
use diffusion::layout::CLIP;
use diffusion::part_folders::PartFolders;
use diffusion::pipeline::{Prompt, TextToImage};
use domain::evaluate::{EvaluateSpec, EvaluationReport, FidReport, FidSpec, ReportFile};
use domain::image::GenerationParams;
use domain::prepare::CutTexts;
use evaluation::fid::open_image;
use image::RgbImage;
use page::{page, table};
use prompts::{Task, tasks};
use report::report;
use scored::Scored;
use std::collections::BTreeSet;
use std::iter;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

/// Images that are drawn and scored at a time.
const BATCH: usize = 8;

/// Evaluates models, in the order of `spec.all_models()`. Scores of reward models are cached in `score_cache`.
/// `progress` receives the number of images drawn and their total, and can interrupt: then the result is `None`, and
/// the same call resumes later.
///
/// # Errors
/// Fails if the spec is invalid, a model or image cannot be read, or the store fails.
pub fn evaluate(
    spec: &EvaluateSpec,
    contestants: &[Contestant],
    store: &mut dyn EvaluationStore,
    score_cache: &Path,
    device: &Device,
    progress: &mut dyn FnMut(usize, usize) -> ControlFlow<()>,
) -> Result<Option<EvaluationReport>> {
    spec.validate()?;
    for contestant in contestants {
        require_world(&spec.prompts, &contestant.name, &contestant.folders)?;
    }
    let tasks = repeated(tasks(&spec.prompts, contestants).context("prompts")?, spec.images_per_prompt);
    let baseline = spec.all_models().iter().position(|model| *model == spec.baseline());
    let baseline = baseline.and_then(|index| contestants.get(index)).with_context(|| {
        format!("baseline: {:?} is not among the models: add it, or name one of them", spec.baseline())
    })?;

    let cut = cut_prompts(&tasks, contestants)?;
    if let Some(cut) = &cut {
        tracing::warn!("prompts: {cut}");
    }
    Judges::check_files(&baseline.folders, &spec.rewards)?;

    let named = tasks.iter().filter(|task| !task.category.is_empty());
    let categories: BTreeSet<(&str, &str)> =
        named.map(|task| (task.prompt.as_str(), task.category.as_str())).collect();
    store.put_categories(&categories.into_iter().collect::<Vec<_>>())?;

    let total = contestants.len() * tasks.len();
    for (model, contestant) in contestants.iter().enumerate() {
        let mut progress = |drawn: usize| progress(model * tasks.len() + drawn, total);
        let finished = draw(spec, &tasks, model, contestant, store, device, &mut progress)
            .with_context(|| format!("model {}", contestant.name))?;
        if !finished {
            return Ok(None);
        }
    }

    // One CLIP scores the images of all models: scores of different CLIPs cannot be compared.
    let mut judges = Judges::open(&baseline.folders, &spec.rewards, score_cache, device)?;
    let mut scored = Vec::new();
    for (model, contestant) in contestants.iter().enumerate() {
        let files: Vec<PathBuf> =
            (0..tasks.len()).map(|index| store.image_file(model, index)).collect::<Result<_>>()?;
        let scores = score(&mut judges, &tasks, &files)?;
        store.put_scores(model, &scores)?;
        let distance = match &spec.fid {
            None => None,
            Some(of) => Some(distance(of, files, &baseline.folders, spec.seed, device).context("fid")?),
        };
        let (name, sha256) = (contestant.name.clone(), contestant.sha256.clone());
        scored.push(Scored { model: name, sha256, scores, fid: distance });
    }
    let report = report(&tasks, spec.seed, &baseline.name, &scored, judges.statements());
    let report = EvaluationReport { cut, ..report };
    write_report(&report, &tasks, &scored, store)?;
    Ok(Some(report))
}

/// The prompts that the text encoders of a model cut.
fn cut_prompts(tasks: &[Task], contestants: &[Contestant]) -> Result<Option<CutTexts>> {
    let mut counter = CutCounter::of(contestants.iter().map(|contestant| &contestant.folders))?;
    let different: BTreeSet<&str> = tasks.iter().map(|task| task.prompt.as_str()).collect();
    different.into_iter().try_for_each(|prompt| counter.add(prompt, 1))?;
    Ok(counter.finish())
}

/// Each prompt `times` times, the images of a prompt one after the other.
fn repeated(tasks: Vec<Task>, times: u32) -> Vec<Task> {
    tasks.into_iter().flat_map(|task| iter::repeat_n(task, times as usize)).collect()
}

/// Draws a model's images that do not exist yet; `false` if it was interrupted.
fn draw(
    spec: &EvaluateSpec,
    tasks: &[Task],
    model: usize,
    contestant: &Contestant,
    store: &mut dyn EvaluationStore,
    device: &Device,
    progress: &mut dyn FnMut(usize) -> ControlFlow<()>,
) -> Result<bool> {
    let (defaults, _) = contestant.folders.defaults()?;
    let settings = images::settings(&defaults, spec.steps, spec.guidance_scale, spec.sampler);
    let params: Vec<GenerationParams> = tasks
        .iter()
        .zip(spec.seed..)
        .map(|(task, seed)| images::params(&settings, &task.prompt, seed))
        .collect();
    let exists = store.existing(model, &params)?;
    if exists.iter().all(|&exists| exists) {
        return Ok(progress(tasks.len()).is_continue());
    }
    let pipeline = TextToImage::open(&contestant.folders, device)?;
    for first in (0..tasks.len()).step_by(BATCH) {
        let batch = first..(first + BATCH).min(tasks.len());
        let missing: Vec<usize> = batch.clone().filter(|&index| !exists[index]).collect();
        let prompts: Vec<Prompt> = missing.iter().map(|&index| prompt(&params[index])).collect();
        let images = pipeline.generate(&prompts, &settings, &mut |_, _| progress(first))?;
        let Some(images) = images else { return Ok(false) };
        let images: Vec<(usize, &GenerationParams, &RgbImage)> =
            missing.iter().zip(&images).map(|(&index, image)| (index, &params[index], image)).collect();
        store.put_images(model, &images)?;
        if progress(batch.end).is_break() {
            return Ok(false);
        }
    }
    Ok(true)
}

fn prompt(params: &GenerationParams) -> Prompt {
    Prompt { prompt: params.prompt.clone(), negative_prompt: None, seed: params.seed }
}

/// Scores of all images of a model, a batch at a time.
fn score(judges: &mut Judges, tasks: &[Task], files: &[PathBuf]) -> Result<Scores> {
    let mut all = Scores::new();
    for first in (0..tasks.len()).step_by(BATCH) {
        let batch: Vec<usize> = (first..(first + BATCH).min(tasks.len())).collect();
        let images = batch.iter().map(|&index| Ok(open_image(&files[index])?)).collect::<Result<Vec<_>>>()?;
        let prompts: Vec<&str> = batch.iter().map(|&index| tasks[index].prompt.as_str()).collect();
        for (metric, scores) in judges.scores(&prompts, &images)? {
            let column = all.entry(metric).or_insert_with(|| vec![None; tasks.len()]);
            batch.iter().zip(scores).for_each(|(&index, score)| column[index] = score);
        }
    }
    Ok(all)
}

/// The distance of a model's images from the reference set, with the baseline's CLIP unless Inception's weights are
/// given.
fn distance(
    of: &FidSpec,
    files: Vec<PathBuf>,
    baseline: &PartFolders,
    seed: u64,
    device: &Device,
) -> Result<FidReport> {
    let reference = Side::parse(&of.reference, false)?;
    let mode = of.mode.as_deref().map_or(Ok(evaluation::fid::Mode::default()), str::parse);
    let settings = FidSettings {
        weights: of.weights.as_ref().map(PathBuf::from),
        mode: mode.map_err(Error::msg)?,
        clip: if of.weights.is_some() { PathBuf::new() } else { baseline.part(CLIP)? },
        batch: 32,
        subsets: 100,
        subset_size: 1000,
        seed,
    };
    fid([&Side::Files(files), &reference], &settings, device, &mut |_| ControlFlow::Continue(()))
}

/// Writes the report in its three forms.
fn write_report(
    report: &EvaluationReport,
    tasks: &[Task],
    scored: &[Scored],
    store: &mut dyn EvaluationStore,
) -> Result<()> {
    let gallery = |model: &str, index: usize| -> Result<Vec<u8>> {
        let model = scored.iter().position(|of| of.model == model);
        let file =
            store.image_file(model.context("the report names a model that was not evaluated")?, index)?;
        std::fs::read(&file).with_context(|| format!("cannot read {}", file.display()))
    };
    let forms = [
        (ReportFile::Figures, serde_json::to_vec_pretty(report)?),
        (ReportFile::Scores, table(tasks, report.seed, scored).into_bytes()),
        (ReportFile::Page, page(report, tasks, &gallery)?.into_bytes()),
    ];
    forms.into_iter().try_for_each(|(file, bytes)| store.put_report(file, bytes))
}
