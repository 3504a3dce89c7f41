//! Pairs that a run's base draws itself: several images of each prompt, ranked by a metric. Drawn once for all runs with the
//! same base and settings.

use super::evaluate::prompts::{Task, tasks};
use crate::data::drawing::{Drawing, DrawingSettings, draw_missing};
use crate::data::drawn::with_losers;
use crate::data::folder_lock::lock;
use crate::judges::Judges;
use anyhow::{Context, Result, ensure};
use candle_core::Device;
use diffusion::fingerprint::Fingerprint;
use diffusion::part_folders::PartFolders;
use domain::data::{DataSpec, FolderSpec};
use domain::drawn_pairs::DrawnPairsSpec;
use domain::evaluate::Metric;
use evaluation::fid::open_image;
use files::{sha256, write_atomically};
use image::RgbImage;
use serde_json::json;
use std::path::Path;

/// The list of the pairs, which is written when all images are drawn and scored.
const PAIRS: &str = "pairs.jsonl";
/// Spec, number of prompts and scores of all images.
const SCORES: &str = "scores.json";

/// The set of a spec whose images, or some of them, `base` draws: drawn into a folder of `cache`, unless they are there. Other
/// specs are returned unchanged. `report` receives the number of images drawn and their total; its error stops the work, and
/// finished images stay.
///
/// # Errors
/// Fails if the prompts, the base or a scorer cannot be read, if no prompt gives a pair, or if `report` fails.
pub fn with_drawn_images(
    data: &DataSpec,
    base: &PartFolders,
    cache: &Path,
    device: &Device,
    report: &mut dyn FnMut(usize, usize) -> Result<()>,
) -> Result<DataSpec> {
    let DataSpec::Drawn(spec) = data else {
        return with_losers(data, base, cache, device, report);
    };
    let tasks = tasks(&spec.prompts, &[]).context("data.prompts")?;
    let prompts: Vec<&str> = tasks.iter().map(|task: &Task| task.prompt.as_str()).collect();
    let key = serde_json::to_vec(&(Fingerprint::of(base)?.sha256(), spec, &prompts))?;
    let folder = cache.join(format!("drawn-{:.32}", sha256::of_bytes(&key)));
    if !folder.join(PAIRS).is_file() {
        let _lock = lock(&folder, &mut || report(0, 1))?;
        // Another process may have drawn them while this one waited.
        if !folder.join(PAIRS).is_file() {
            draw(spec, &prompts, base, &folder, device, report)?;
        }
    }
    Ok(DataSpec::Folder(FolderSpec {
        folder: folder.to_string_lossy().into_owned(),
        ..FolderSpec::default()
    }))
}

fn draw(
    spec: &DrawnPairsSpec,
    prompts: &[&str],
    base: &PartFolders,
    folder: &Path,
    device: &Device,
    report: &mut dyn FnMut(usize, usize) -> Result<()>,
) -> Result<()> {
    let rewards: Vec<_> = spec.reward.iter().cloned().collect();
    Judges::check_files(base, &rewards).context("data.reward")?;
    let each = spec.images_per_prompt as usize;
    let drawings: Vec<Drawing> = (0..prompts.len() * each)
        .map(|i| Drawing {
            file: folder.join(name(i / each, i % each)),
            prompt: prompts[i / each].to_owned(),
            seed: spec.seed + i as u64,
        })
        .collect();
    let DrawnPairsSpec { steps, guidance_scale, sampler, .. } = *spec;
    draw_missing(&drawings, base, DrawingSettings { steps, guidance_scale, sampler }, device, report)?;

    let mut judges = Judges::open(base, &rewards, &folder.join("scores"), device).context("data.reward")?;
    let (mut pairs, mut all) = (String::new(), Vec::new());
    for (number, (prompt, images)) in prompts.iter().zip(drawings.chunks(each)).enumerate() {
        report(drawings.len(), drawings.len())?;
        let opened =
            images.iter().map(|drawing| Ok(open_image(&drawing.file)?)).collect::<Result<Vec<RgbImage>>>()?;
        let mut scores = judges.scores(&vec![*prompt; each], &opened)?;
        let scores = scores.remove(&spec.metric).unwrap_or_else(|| vec![None; each]);
        for (winner, loser) in spec.pairs_of(&scores) {
            let pair = json!({
                "prompt": prompt, "winner": name(number, winner), "loser": name(number, loser),
                "winner_score": scores[winner], "loser_score": scores[loser],
            });
            pairs += &format!("{pair}\n");
        }
        all.push(scores);
    }
    require_pairs(&pairs, &all, spec.metric)?;
    let record = json!({ "spec": spec, "prompts": prompts, "scores": all });
    write_atomically(&folder.join(SCORES), &serde_json::to_vec(&record)?)?;
    Ok(write_atomically(&folder.join(PAIRS), pairs.as_bytes())?)
}

fn require_pairs(pairs: &str, scores: &[Vec<Option<f64>>], metric: Metric) -> Result<()> {
    let is_scored = scores.iter().flatten().any(Option::is_some);
    ensure!(
        is_scored,
        "data.metric: {} scores none of these images: the rules of the bundled world apply to its prompts and image size, and \
         clip_score needs a base with a CLIP",
        metric.as_str()
    );
    ensure!(
        !pairs.is_empty(),
        "data: the images of each prompt score alike by {}: use more images_per_prompt, a smaller least_gap, or other prompts",
        metric.as_str()
    );
    Ok(())
}

/// The file name of an image.
fn name(prompt: usize, image: usize) -> String {
    format!("{prompt:05}-{image:02}.png")
}
