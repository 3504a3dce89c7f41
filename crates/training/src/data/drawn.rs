//! Losers that the base draws of the captions of a set of images, once for all runs with the same base and settings.

use super::drawing::{Drawing, DrawingSettings, draw_missing};
use super::folder_lock::make_once;
use super::key::set_key;
use anyhow::{Context, Result};
use candle_core::Device;
use datasets::images::loser_name;
use datasets::rows::Pairs;
use diffusion::fingerprint::Fingerprint;
use diffusion::part_folders::PartFolders;
use domain::data::{DataSpec, DrawnLosersSpec, ImagesSpec};
use files::{sha256, write_atomically};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The file that is written when all losers are drawn.
const FINISHED: &str = "drawn.json";

/// The set of a spec with losers: those of its captions that `base` draws into a folder of `cache`, unless they are drawn.
/// A spec without losers to draw is returned unchanged. `report` receives the number of losers drawn and their total; its
/// error stops the work, and finished images stay.
///
/// # Errors
/// Fails if the set or the base cannot be read, or if `report` fails.
pub(crate) fn with_losers(
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
    make_once(&folder, FINISHED, report, |report| draw(spec, losers, base, &folder, device, report))?;
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
    let drawings = rows.map(|row| {
        let row = row?;
        let number = row.source.row;
        Ok(Drawing { file: folder.join(loser_name(number)), prompt: row.prompt, seed: losers.seed + number })
    });
    let drawings = drawings.collect::<Result<Vec<_>>>()?;
    let DrawnLosersSpec { steps, guidance_scale, sampler, .. } = *losers;
    draw_missing(&drawings, base, DrawingSettings { steps, guidance_scale, sampler }, device, report)?;
    Ok(write_atomically(&folder.join(FINISHED), &serde_json::to_vec_pretty(losers)?)?)
}
