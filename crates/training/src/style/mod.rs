//! Style sets: for each row of a set, one original image is the loser and its edited version the winner. Existing images
//! are kept, so an interrupted set resumes. Every file is a pure function of the spec and the editor's weights.
//!
//! A style set is a folder with `manifest.json`, `losers/` and `winners/` (a PNG per row of the source), `pairs.jsonl`,
//! and `data/train-00000-of-00001.parquet` in the columns of Pick-a-Pic.

mod editor;

use crate::data::example::Example;
use crate::data::examples::Examples;
use anyhow::{Context, Result, bail, ensure};
use candle_core::Device;
use catalogue::images::png;
use catalogue::local_models::LocalModels;
use datasets::pick_a_pic::{Record, Writer};
use diffusion::noise::Noise;
use domain::Timestamp;
use domain::dataset::ReadReport;
use domain::style::{StyleManifest, StyleSpec};
use editor::Editor;
use files::{write_atomically, write_atomically_by};
use image::RgbImage;
use serde_json::json;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

/// The stream of a row's seed that chooses the original.
const CHOICE: u64 = 2;
/// Difference between the edit seeds of sets with consecutive seeds. Within a set, rows have consecutive edit seeds.
const STRIDE: u64 = 1_000_003;

/// A finished pair.
#[derive(Debug)]
struct StylePair {
    row: usize,
    caption: String,
    edit_seed: u64,
}

/// Makes the set of a spec, or resumes it. `progress` receives the number of rows done, several times per row, and can
/// stop.
///
/// # Errors
/// Fails if the folder holds another set, if a file cannot be read or written, or if `progress` stops.
pub fn make(
    spec: &StyleSpec,
    models: &LocalModels,
    device: &Device,
    progress: &mut dyn FnMut(usize) -> ControlFlow<()>,
) -> Result<StyleManifest> {
    let out = Path::new(&spec.out);
    let editor = Editor::open(&spec.editor, models, device)?;
    let mut manifest =
        StyleManifest { spec: spec.clone(), files: Editor::files(&spec.editor, models)?, report: None };
    begin(out, &manifest)?;
    let mut examples = Examples::open(&spec.data)?;
    let mut pairs = Vec::new();
    let mut damaged = Vec::new();
    for row in 0.. {
        let portion = examples.take(1)?;
        if portion.taken == 0 {
            break;
        }
        damaged.extend(portion.dropped);
        for example in portion.examples {
            let pair =
                StylePair { row, caption: example.caption.clone(), edit_seed: edit_seed(spec.seed, row) };
            if !image_files(out, row).iter().all(|file| file.is_file()) {
                let original = choose_original(example, spec.seed, row);
                let mut within_row = |_: usize, _: usize| progress(row);
                let edited = editor.edit(&original, &pair.caption, pair.edit_seed, &mut within_row);
                let edited =
                    edited.with_context(|| format!("row {} of the set cannot be edited", row + 1))?;
                let Some([loser, winner]) = edited else { bail!(STOPPED) };
                let [loser_file, winner_file] = image_files(out, row);
                write_atomically(&loser_file, &png(&loser)?)?;
                write_atomically(&winner_file, &png(&winner)?)?;
            }
            pairs.push(pair);
        }
        ensure!(progress(row + 1).is_continue(), STOPPED);
    }
    ensure!(!pairs.is_empty(), "data: the set has no image that can be edited");
    let mut report: ReadReport = examples.report();
    for dropped in damaged {
        report.drop_pair(dropped);
    }
    write_list(out, spec, &pairs)?;
    write_parquet(out, spec, &pairs)?;
    manifest.report = Some(report);
    write_manifest(out, &manifest)?;
    Ok(manifest)
}

const STOPPED: &str = "stopped; rerun the same command to resume after the last finished pair";

/// Starts the folder of a set, or checks that it holds the same set.
fn begin(out: &Path, manifest: &StyleManifest) -> Result<()> {
    let file = out.join("manifest.json");
    if !file.is_file() {
        for side in ["losers", "winners"] {
            std::fs::create_dir_all(out.join(side))
                .with_context(|| format!("cannot create {}", out.join(side).display()))?;
        }
        return write_manifest(out, manifest);
    }
    let text = std::fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
    let old: StyleManifest = serde_json::from_str(&text)
        .with_context(|| format!("{} is not the manifest of a style set", file.display()))?;
    // Without the folder's path: it may have been moved.
    let same = StyleSpec { out: manifest.spec.out.clone(), ..old.spec } == manifest.spec;
    ensure!(
        same,
        "out: {} holds a set of another spec (see its manifest.json): name another folder, or remove this one",
        out.display()
    );
    ensure!(
        old.files == manifest.files,
        "out: {} was made with other weights or another example pair than those of the spec now: name another folder",
        out.display()
    );
    Ok(())
}

/// The image of a row that is edited. Of a pair, a random one, whatever its label: seed and row decide.
fn choose_original(example: Example, seed: u64, row: usize) -> RgbImage {
    match example.loser {
        Some(loser) if Noise::stream(edit_seed(seed, row), CHOICE).below(2) == 1 => loser,
        _ => example.winner,
    }
}

fn edit_seed(seed: u64, row: usize) -> u64 {
    seed.wrapping_mul(STRIDE).wrapping_add(row as u64)
}

/// The files of a row's loser and winner.
fn image_files(out: &Path, row: usize) -> [PathBuf; 2] {
    image_names(row).map(|name| out.join(name))
}

fn image_names(row: usize) -> [String; 2] {
    ["losers", "winners"].map(|side| format!("{side}/{row:07}.png"))
}

fn write_manifest(out: &Path, manifest: &StyleManifest) -> Result<()> {
    let mut text = serde_json::to_vec_pretty(manifest)?;
    text.push(b'\n');
    Ok(write_atomically(&out.join("manifest.json"), &text)?)
}

/// Writes `pairs.jsonl`, which data sets of the source `folder` are read from, with the instruction of each edit.
fn write_list(out: &Path, spec: &StyleSpec, pairs: &[StylePair]) -> Result<()> {
    let mut list = String::new();
    for pair in pairs {
        let [loser, winner] = image_names(pair.row);
        let line = json!({
            "prompt": pair.caption, "winner": winner, "loser": loser, "row": pair.row, "seed": pair.edit_seed,
            "editor": spec.editor.kind(), "told": Editor::instruction(&spec.editor, &pair.caption),
        });
        list.push_str(&line.to_string());
        list.push('\n');
    }
    Ok(write_atomically(&out.join("pairs.jsonl"), list.as_bytes())?)
}

/// Writes the set in the columns of Pick-a-Pic: the first image of each row is the original, and loses.
fn write_parquet(out: &Path, spec: &StyleSpec, pairs: &[StylePair]) -> Result<()> {
    let file = out.join("data/train-00000-of-00001.parquet");
    write_atomically_by(&file, |out_file| {
        let mut writer = Writer::new(out_file)?;
        for pair in pairs {
            let [loser, winner] = image_files(out, pair.row);
            let [loser_name, winner_name] = image_names(pair.row);
            writer.write(Record {
                caption: pair.caption.clone(),
                images: [std::fs::read(loser)?.into(), std::fs::read(winner)?.into()],
                uids: [loser_name, winner_name],
                models: ["original".to_owned(), spec.editor.kind().to_owned()],
                labels: [0.0, 1.0],
                // Fixed, so that the same set has the same bytes.
                created_at: Timestamp::UNIX_EPOCH,
                user: 0,
            })?;
        }
        writer.finish()?;
        Ok(())
    })
}
