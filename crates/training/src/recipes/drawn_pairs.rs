//! Pairs that a run's base draws itself: several images of each prompt, ranked by a metric. Drawn once for all runs with the
//! same base and settings.

use super::evaluate::prompts::tasks;
use crate::data::drawing::{Drawing, DrawingSettings, draw_missing};
use crate::data::drawn::with_losers;
use crate::data::folder_lock::make_once;
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
/// Spec, prompts, and the scores of all images.
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
    let prompts: Vec<&str> = tasks.iter().map(|task| task.prompt.as_str()).collect();
    let key = serde_json::to_vec(&(Fingerprint::of(base)?.sha256(), spec, &prompts))?;
    let folder = cache.join(format!("drawn-{:.32}", sha256::of_bytes(&key)));
    make_once(&folder, PAIRS, report, |report| draw(spec, &prompts, base, &folder, device, report))?;
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
    let judges = Judges::open(base, &rewards, &folder.join("scores"), device).context("data.reward")?;
    let mut set =
        Drawn { spec, prompts, base, folder, device, judges, scores: vec![Vec::new(); prompts.len()] };
    let first = spec.first_images.unwrap_or(spec.images_per_prompt);
    set.draw(&(0..prompts.len()).collect::<Vec<_>>(), first, report)?;
    if first < spec.images_per_prompt {
        let undecided = |number: &usize| !spec.pairs_of(&set.scores[*number]).is_empty();
        let undecided: Vec<usize> = (0..prompts.len()).filter(undecided).collect();
        set.draw(&undecided, spec.images_per_prompt, report)?;
    }
    set.write()
}

/// A set that is being drawn.
struct Drawn<'a> {
    spec: &'a DrawnPairsSpec,
    prompts: &'a [&'a str],
    base: &'a PartFolders,
    folder: &'a Path,
    device: &'a Device,
    judges: Judges,
    /// The scores of the images of each prompt.
    scores: Vec<Vec<Option<f64>>>,
}

impl Drawn<'_> {
    /// Draws and scores images of the prompts with these numbers, until each has `count`.
    fn draw(
        &mut self,
        numbers: &[usize],
        count: u32,
        report: &mut dyn FnMut(usize, usize) -> Result<()>,
    ) -> Result<()> {
        let mut drawings = Vec::new();
        for &number in numbers {
            for image in self.scores[number].len()..count as usize {
                drawings.push(Drawing {
                    file: self.folder.join(name(number, image)),
                    prompt: self.prompts[number].to_owned(),
                    // The same for an image whether it is drawn at first or later.
                    seed: self.spec.seed + (number * self.spec.images_per_prompt as usize + image) as u64,
                });
            }
        }
        let DrawnPairsSpec { steps, guidance_scale, sampler, .. } = *self.spec;
        let settings = DrawingSettings { steps, guidance_scale, sampler };
        draw_missing(&drawings, self.base, settings, self.device, report)?;
        let mut drawn = drawings.iter();
        for &number in numbers {
            report(drawings.len(), drawings.len().max(1))?;
            let new = count as usize - self.scores[number].len();
            let images = drawn.by_ref().take(new).map(|drawing| Ok(open_image(&drawing.file)?));
            let images = images.collect::<Result<Vec<RgbImage>>>()?;
            let mut scores = self.judges.scores(&vec![self.prompts[number]; new], &images)?;
            let scores = scores.remove(&self.spec.metric).unwrap_or_else(|| vec![None; new]);
            self.scores[number].extend(scores);
        }
        Ok(())
    }

    /// Writes scores and pairs.
    fn write(&self) -> Result<()> {
        let mut pairs = String::new();
        for (number, (prompt, scores)) in self.prompts.iter().zip(&self.scores).enumerate() {
            if self.spec.lists {
                pairs += &self.list(number, prompt, scores).unwrap_or_default();
                continue;
            }
            for (winner, loser) in self.spec.pairs_of(scores) {
                let pair = json!({
                    "prompt": prompt, "winner": name(number, winner), "loser": name(number, loser),
                    "winner_score": scores[winner], "loser_score": scores[loser],
                });
                pairs += &format!("{pair}\n");
            }
        }
        require_pairs(&pairs, &self.scores, self.spec.metric)?;
        let record = json!({ "spec": self.spec, "prompts": self.prompts, "scores": self.scores });
        write_atomically(&self.folder.join(SCORES), &serde_json::to_vec(&record)?)?;
        Ok(write_atomically(&self.folder.join(PAIRS), pairs.as_bytes())?)
    }
}

impl Drawn<'_> {
    /// The line of a prompt's ranked list.
    fn list(&self, number: usize, prompt: &str, scores: &[Option<f64>]) -> Option<String> {
        // A prompt whose first images score alike has no others.
        if scores.len() < self.spec.images_per_prompt as usize {
            return None;
        }
        let ranking = self.spec.ranking_of(scores)?;
        let names = |group: &Vec<usize>| group.iter().map(|&image| name(number, image)).collect::<Vec<_>>();
        let ranked: Vec<Vec<String>> = ranking.iter().map(names).collect();
        Some(format!("{}\n", json!({ "prompt": prompt, "ranked": ranked, "scores": scores })))
    }
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
