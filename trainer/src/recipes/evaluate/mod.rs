//! One evaluation, from spec to report: images of the same prompts and noise by every model, scores, comparison.
//!
//! Images are files that are there whole or not at all, made in batches that are always the same; so an evaluation that was
//! killed goes on where it was, and ends in the same bytes as one that was not.

pub mod judges;
pub mod page;
pub mod prompts;
pub mod report;

use crate::data::key::file_sha256;
use crate::recipes::fid::{FidReport, FidSettings, Side, fid};
use anyhow::{Context, Error, Result, ensure};
use candle_core::Device;
use diffusion::model_folders::ModelFolders as Folders;
use diffusion::pipeline::{Defaults, Prompt, Settings, TextToImage};
use diffusion::unet::WEIGHTS_FILE;
use domain::evaluate::{EvaluateSpec, FidSpec, ReportFile};
use evaluation::fid::open_image;
use files::write_atomically;
use image::{ImageFormat, RgbImage};
use judges::{Judges, Scores};
use page::{Gallery, page, table};
use prompts::{Task, tasks};
use report::{EvaluationReport, Scored};
use serde::{Deserialize, Serialize};
use std::io::Cursor;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

/// Images generated together.
pub const BATCH: usize = 8;

/// A model under the name that the report calls it by.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// The name.
    pub name: String,
    /// Where its parts lie.
    pub folders: Folders,
}

/// What the folder belongs to: another spec or other weights would mix images.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Manifest {
    spec: EvaluateSpec,
    models: Vec<(String, String)>,
}

/// How a model draws under a spec.
///
/// # Errors
/// A sampler that the model does not know.
pub fn settings(spec: &EvaluateSpec, defaults: &Defaults) -> Result<Settings> {
    Ok(Settings {
        width: defaults.width,
        height: defaults.height,
        steps: spec.steps.unwrap_or(defaults.steps),
        guidance_scale: spec.guidance_scale.unwrap_or(defaults.guidance_scale),
        sampler: match spec.sampler {
            Some(sampler) => sampler.as_str().parse().map_err(Error::msg)?,
            None => defaults.sampler,
        },
    })
}

/// Evaluates into a folder: `images/MODEL/INDEX.png`, `report.json`, `scores.csv`, `report.html`. `progress` hears how many
/// images are there, of all, and can stop: then the result is `None`, and the same call goes on later.
///
/// # Errors
/// A spec that is invalid, a model or file that cannot be read, or a folder of another evaluation.
pub fn evaluate(
    spec: &EvaluateSpec,
    candidates: &[Candidate],
    out: &Path,
    device: &Device,
    progress: &mut dyn FnMut(usize, usize) -> ControlFlow<()>,
) -> Result<Option<EvaluationReport>> {
    spec.validate()?;
    let tasks = tasks(&spec.prompts).context("prompts")?;
    let baseline = spec.baseline();
    let judging = candidates
        .iter()
        .find(|candidate| candidate.name == baseline)
        .with_context(|| format!("the baseline {baseline:?} is not among the models"))?;
    let sha256s = candidates
        .iter()
        .map(|candidate| file_sha256(&candidate.folders.part("unet")?.join(WEIGHTS_FILE)))
        .collect::<Result<Vec<String>>>()?;
    claim_folder(spec, candidates, &sha256s, out)?;

    let total = candidates.len() * tasks.len();
    let folder = |i: usize| out.join("images").join(format!("{i:02}"));
    for (i, candidate) in candidates.iter().enumerate() {
        let done = i * tasks.len();
        let mut tell = |n: usize| progress(done + n, total);
        let finished = draw(spec, &tasks, &candidate.folders, &folder(i), device, &mut tell)
            .with_context(|| format!("model {}", candidate.name))?;
        if !finished {
            return Ok(None);
        }
    }
    // One judge for all, or scores could not be compared.
    let mut judges = Judges::of(&judging.folders, &spec.rewards, &out.join("scores"), device)?;
    let mut scored = Vec::new();
    for ((i, candidate), sha256) in candidates.iter().enumerate().zip(sha256s) {
        let files: Vec<PathBuf> = (0..tasks.len()).map(|k| image_file(&folder(i), k)).collect();
        let scores = score(&mut judges, &tasks, |k| Ok(open_image(&files[k])?))?;
        let distance = match &spec.fid {
            None => None,
            Some(of) => Some(distance(of, files, &judging.folders, spec.seed, device).context("fid")?),
        };
        scored.push(Scored { model: candidate.name.clone(), sha256, scores, fid: distance });
    }
    let report = EvaluationReport::new(&tasks, spec.seed, baseline, &scored);
    let report = report.with_statements(judges.statements());
    let name = |model: &str| candidates.iter().position(|candidate| candidate.name == model);
    let gallery = |model: &str, k: usize| -> Result<Vec<u8>> {
        let i = name(model).with_context(|| format!("{model:?} is not among the models"))?;
        let file = image_file(&folder(i), k);
        std::fs::read(&file).with_context(|| format!("cannot read {}", file.display()))
    };
    write_report(&report, &tasks, &scored, &gallery, out)?;
    Ok(Some(report))
}

/// Writes the report in its three forms.
fn write_report(
    report: &EvaluationReport,
    tasks: &[Task],
    scored: &[Scored],
    gallery: Gallery<'_>,
    out: &Path,
) -> Result<()> {
    let path = |file: ReportFile| out.join(file.name());
    write_atomically(&path(ReportFile::Figures), &serde_json::to_vec_pretty(report)?)?;
    write_atomically(&path(ReportFile::Scores), table(tasks, report.seed, scored).as_bytes())?;
    write_atomically(&path(ReportFile::Page), page(report, gallery)?.as_bytes())?;
    Ok(())
}

/// Makes the folder this evaluation's, or sees that it is.
fn claim_folder(spec: &EvaluateSpec, candidates: &[Candidate], sha256s: &[String], out: &Path) -> Result<()> {
    let names = candidates.iter().map(|candidate| candidate.name.clone());
    let manifest = Manifest { spec: spec.clone(), models: names.zip(sha256s.iter().cloned()).collect() };
    let file = out.join("evaluation.json");
    if file.is_file() {
        let there: Option<Manifest> = serde_json::from_slice(&std::fs::read(&file)?).ok();
        ensure!(
            there.as_ref() == Some(&manifest),
            "{} belongs to another spec or other weights: give another folder, or remove it to begin anew",
            out.display()
        );
        return Ok(());
    }
    Ok(write_atomically(&file, &serde_json::to_vec_pretty(&manifest)?)?)
}

fn image_file(folder: &Path, index: usize) -> PathBuf {
    folder.join(format!("{index:05}.png"))
}

/// Makes the images that are not there yet; false if it was stopped.
fn draw(
    spec: &EvaluateSpec,
    tasks: &[Task],
    folders: &Folders,
    folder: &Path,
    device: &Device,
    progress: &mut dyn FnMut(usize) -> ControlFlow<()>,
) -> Result<bool> {
    let missing = |k: usize| !image_file(folder, k).is_file();
    if !(0..tasks.len()).any(missing) {
        return Ok(progress(tasks.len()).is_continue());
    }
    let pipeline = TextToImage::open(folders, device)?;
    let settings = settings(spec, pipeline.defaults())?;
    for first in (0..tasks.len()).step_by(BATCH) {
        let batch = first..(first + BATCH).min(tasks.len());
        if batch.clone().any(missing) {
            let prompts: Vec<Prompt> = batch.clone().map(|k| prompt(spec, &tasks[k], k)).collect();
            let images = pipeline.generate(&prompts, &settings, &mut |_, _| progress(first))?;
            let Some(images) = images else { return Ok(false) };
            for (k, image) in batch.clone().zip(&images) {
                write_atomically(&image_file(folder, k), &png(image)?)?;
            }
        }
        if progress(batch.end).is_break() {
            return Ok(false);
        }
    }
    Ok(true)
}

fn prompt(spec: &EvaluateSpec, task: &Task, index: usize) -> Prompt {
    Prompt { prompt: task.prompt.clone(), negative_prompt: None, seed: spec.seed + index as u64 }
}

/// An image as a PNG file.
///
/// # Errors
/// The encoder's.
pub fn png(image: &RgbImage) -> Result<Vec<u8>> {
    let mut bytes = Cursor::new(Vec::new());
    image.write_to(&mut bytes, ImageFormat::Png).context("cannot write a PNG")?;
    Ok(bytes.into_inner())
}

/// Scores of all images, some at a time.
///
/// # Errors
/// An image that cannot be read, or the judges'.
pub fn score(
    judges: &mut Judges,
    tasks: &[Task],
    image: impl Fn(usize) -> Result<RgbImage>,
) -> Result<Scores> {
    let mut all = Scores::new();
    for first in (0..tasks.len()).step_by(BATCH) {
        let batch: Vec<usize> = (first..(first + BATCH).min(tasks.len())).collect();
        let images = batch.iter().map(|&k| image(k)).collect::<Result<Vec<_>>>()?;
        let asked: Vec<&Task> = batch.iter().map(|&k| &tasks[k]).collect();
        for (metric, scores) in judges.scores(&asked, &images)? {
            let column = all.entry(metric).or_insert_with(|| vec![None; tasks.len()]);
            batch.iter().zip(scores).for_each(|(&k, score)| column[k] = score);
        }
    }
    Ok(all)
}

/// How far a model's images lie from the reference.
///
/// # Errors
/// What cannot be read or compared.
pub fn distance(
    of: &FidSpec,
    files: Vec<PathBuf>,
    judging: &Folders,
    seed: u64,
    device: &Device,
) -> Result<FidReport> {
    let reference = Side::parse(&of.reference, false)?;
    let mode = of.mode.as_deref().map_or(Ok(evaluation::fid::Mode::default()), str::parse);
    let settings = FidSettings {
        weights: of.weights.as_ref().map(PathBuf::from),
        mode: mode.map_err(Error::msg)?,
        clip: if of.weights.is_some() { PathBuf::new() } else { judging.part("clip")? },
        batch: 32,
        subsets: 100,
        subset_size: 1000,
        seed,
    };
    fid([&Side::Files(files), &reference], &settings, device, &mut |_| ControlFlow::Continue(()))
}
