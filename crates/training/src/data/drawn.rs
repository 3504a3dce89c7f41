//! Losers that the base draws of the captions of a set of images, once for all runs with the same base and settings.

use super::folder_lock::lock;
use super::key::set_key;
use anyhow::{Context, Result};
use candle_core::Device;
use catalogue::images::{png, settings};
use datasets::images::loser_name;
use datasets::rows::Pairs;
use diffusion::fingerprint::Fingerprint;
use diffusion::part_folders::PartFolders;
use diffusion::pipeline::{Prompt, TextToImage};
use domain::data::{DataSpec, DrawnLosersSpec, ImagesSpec};
use files::{sha256, write_atomically};
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

/// Images that are drawn at a time.
const BATCH: usize = 8;
/// The file that is written when all losers are drawn.
const FINISHED: &str = "drawn.json";

/// The set of a spec with losers: those of its captions that `base` draws into a folder of `cache`, unless they are drawn.
/// A spec without losers to draw is returned unchanged. `report` receives the number of losers drawn and their total; its
/// error stops the work, and finished images stay.
///
/// # Errors
/// Fails if the set or the base cannot be read, or if `report` fails.
pub fn with_losers(
    data: &DataSpec,
    base: &PartFolders,
    cache: &Path,
    device: &Device,
    report: &mut dyn FnMut(usize, usize) -> Result<()>,
) -> Result<DataSpec> {
    let DataSpec::Images(spec @ ImagesSpec { losers: Some(losers), .. }) = data else {
        return Ok(data.clone());
    };
    if losers.folder.is_some() {
        return Ok(data.clone());
    }
    let folder = folder(spec, losers, base, cache)?;
    if !folder.join(FINISHED).is_file() {
        let _lock = lock(&folder, &mut || report(0, 1))?;
        // Another process may have drawn them while this one waited.
        if !folder.join(FINISHED).is_file() {
            draw(spec, losers, base, &folder, device, report)?;
        }
    }
    let folder = Some(folder.to_string_lossy().into_owned());
    let losers = Some(DrawnLosersSpec { folder, ..losers.clone() });
    Ok(DataSpec::Images(ImagesSpec { losers, ..spec.clone() }))
}

/// The folder of the losers, under a key of everything that decides them.
fn folder(spec: &ImagesSpec, losers: &DrawnLosersSpec, base: &PartFolders, cache: &Path) -> Result<PathBuf> {
    let set = set_key(&DataSpec::Images(spec.clone()), 1, &BTreeMap::new())?;
    let key = serde_json::to_vec(&(set, Fingerprint::of(base)?.sha256(), losers))?;
    Ok(cache.join(format!("losers-{:.32}", sha256::of_bytes(&key))))
}

fn draw(
    spec: &ImagesSpec,
    losers: &DrawnLosersSpec,
    base: &PartFolders,
    folder: &Path,
    device: &Device,
    report: &mut dyn FnMut(usize, usize) -> Result<()>,
) -> Result<()> {
    let images = DataSpec::Images(ImagesSpec { losers: None, ..spec.clone() });
    let rows = Pairs::open(&images)?.context("data: images are files")?;
    let mut missing: Vec<(u64, String)> = Vec::new();
    let mut total = 0;
    for row in rows {
        let row = row?;
        total += 1;
        if !folder.join(loser_name(row.source.row)).is_file() {
            missing.push((row.source.row, row.prompt));
        }
    }
    let (defaults, _) = base.defaults()?;
    let settings = settings(&defaults, losers.steps, losers.guidance_scale, losers.sampler);
    let pipeline = TextToImage::open(base, device)?;
    let mut done = total - missing.len();
    for batch in missing.chunks(BATCH) {
        report(done, total)?;
        let prompts: Vec<Prompt> = batch
            .iter()
            .map(|(row, prompt)| Prompt {
                prompt: prompt.clone(),
                negative_prompt: None,
                seed: losers.seed + row,
            })
            .collect();
        let mut interruption = None;
        let drawn = pipeline.generate(&prompts, &settings, &mut |_, _| match report(done, total) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => {
                interruption = Some(error);
                ControlFlow::Break(())
            }
        })?;
        if let Some(error) = interruption {
            return Err(error);
        }
        for ((row, _), image) in batch.iter().zip(drawn.context("the drawing of losers was interrupted")?) {
            write_atomically(&folder.join(loser_name(*row)), &png(&image)?)?;
        }
        done += batch.len();
    }
    report(total, total.max(1))?;
    Ok(write_atomically(&folder.join(FINISHED), &serde_json::to_vec_pretty(losers)?)?)
}
