//! Style sets: images of a set, and what an editor makes of them. What is there is kept, so a set that was
//! interrupted is gone on with; every file is a function of the spec and of the editor's weights alone.
//!
//! A set is a folder: `manifest.json`, `losers/` and `winners/` with a PNG for each row of the source,
//! `pairs.jsonl`, and `data/train-00000-of-00001.parquet` in Pick-a-Pic's columns.

mod editor;

use crate::data::examples::{Example, Examples};
use anyhow::{Context, Result, bail, ensure};
use candle_core::Device;
use catalogue::local_models::LocalModels;
use datasets::pick_a_pic::{Record, Writer};
use diffusion::noise::Noise;
use domain::Timestamp;
use domain::dataset::ReadReport;
use domain::style::{StyleManifest, StyleSpec};
pub use editor::Editor;
use files::write_atomically;
use image::{ImageFormat, RgbImage};
use serde_json::json;
use std::fs::File;
use std::io::Cursor;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

/// The stream of a seed that says which image of a row is edited.
const PICKS: u64 = 2;
/// Distance between the seeds of two rows' edits is 1; between those of two sets, this.
const STRIDE: u64 = 1_000_003;

/// A pair of the set.
#[derive(Debug)]
struct Made {
    row: usize,
    caption: String,
    edit_seed: u64,
}

/// Makes the set that a spec asks for, or goes on with it. `progress` hears of rows done, of all if that is known,
/// also within a row, and can stop.
///
/// # Errors
/// The folder holds another set, something cannot be read or written, or `progress` stopped it.
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
    let mut made = Vec::new();
    let mut damaged = Vec::new();
    for row in 0.. {
        let portion = examples.take(1)?;
        if portion.taken == 0 {
            break;
        }
        damaged.extend(portion.dropped);
        for example in portion.examples {
            let pair = Made { row, caption: example.caption.clone(), edit_seed: edit_seed(spec.seed, row) };
            if !files(out, row).iter().all(|file| file.is_file()) {
                let original = pick(example, spec.seed, row);
                let mut within = |_: usize, _: usize| progress(row);
                let edited = editor.edit(&original, &pair.caption, pair.edit_seed, &mut within);
                let edited = edited.with_context(|| format!("row {row} of the set cannot be edited"))?;
                let Some([loser, winner]) = edited else { bail!(STOPPED) };
                let [loser_file, winner_file] = files(out, row);
                write_image(&loser_file, &loser)?;
                write_image(&winner_file, &winner)?;
            }
            made.push(pair);
        }
        ensure!(progress(row + 1).is_continue(), STOPPED);
    }
    ensure!(!made.is_empty(), "data: the set has no image that could be edited");
    let mut report: ReadReport = examples.report();
    for dropped in damaged {
        report.drop_pair(dropped);
    }
    write_list(out, spec, &made)?;
    write_parquet(out, spec, &made)?;
    manifest.report = Some(report);
    write_manifest(out, &manifest)?;
    Ok(manifest)
}

const STOPPED: &str = "stopped; the same command goes on from the last whole pair";

/// Notes what is made, or sees that the folder holds the same set.
fn begin(out: &Path, manifest: &StyleManifest) -> Result<()> {
    let file = out.join("manifest.json");
    if !file.is_file() {
        for side in ["losers", "winners"] {
            std::fs::create_dir_all(out.join(side))
                .with_context(|| format!("cannot make {}", out.join(side).display()))?;
        }
        return write_manifest(out, manifest);
    }
    let text = std::fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
    let old: StyleManifest =
        serde_json::from_str(&text).with_context(|| format!("{} is no manifest", file.display()))?;
    // The folder may have been moved.
    let same = StyleSpec { out: manifest.spec.out.clone(), ..old.spec } == manifest.spec;
    ensure!(
        same,
        "out: {} holds a set of another spec (see its manifest.json): name another folder, or remove it",
        out.display()
    );
    ensure!(
        old.files == manifest.files,
        "out: {} was made by other weights or another example pair than lie there now: name another folder",
        out.display()
    );
    Ok(())
}

/// Which image of a row is edited: a coin of the seed and the row, whatever the set says of the two.
fn pick(example: Example, seed: u64, row: usize) -> RgbImage {
    match example.loser {
        Some(loser) if Noise::stream(edit_seed(seed, row), PICKS).below(2) == 1 => loser,
        _ => example.winner,
    }
}

fn edit_seed(seed: u64, row: usize) -> u64 {
    seed.wrapping_mul(STRIDE).wrapping_add(row as u64)
}

/// A row's loser and winner.
fn files(out: &Path, row: usize) -> [PathBuf; 2] {
    names(row).map(|name| out.join(name))
}

fn names(row: usize) -> [String; 2] {
    ["losers", "winners"].map(|side| format!("{side}/{row:07}.png"))
}

fn write_image(file: &Path, image: &RgbImage) -> Result<()> {
    let mut bytes = Cursor::new(Vec::new());
    image.write_to(&mut bytes, ImageFormat::Png)?;
    Ok(write_atomically(file, bytes.get_ref())?)
}

fn write_manifest(out: &Path, manifest: &StyleManifest) -> Result<()> {
    let mut text = serde_json::to_vec_pretty(manifest)?;
    text.push(b'\n');
    Ok(write_atomically(&out.join("manifest.json"), &text)?)
}

/// The list that the folder format of sets reads, with what each edit was told.
fn write_list(out: &Path, spec: &StyleSpec, made: &[Made]) -> Result<()> {
    let mut list = String::new();
    for pair in made {
        let [loser, winner] = names(pair.row);
        let line = json!({
            "prompt": pair.caption, "winner": winner, "loser": loser, "row": pair.row, "seed": pair.edit_seed,
            "editor": spec.editor.kind(), "told": Editor::told(&spec.editor, &pair.caption),
        });
        list.push_str(&line.to_string());
        list.push('\n');
    }
    Ok(write_atomically(&out.join("pairs.jsonl"), list.as_bytes())?)
}

/// The same in Pick-a-Pic's columns: the original is the first image of each row, and loses.
fn write_parquet(out: &Path, spec: &StyleSpec, made: &[Made]) -> Result<()> {
    let folder = out.join("data");
    std::fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let file = folder.join("train-00000-of-00001.parquet");
    let temporary = folder.join(format!("train-00000-of-00001.parquet.{}.part", std::process::id()));
    let write = || -> Result<()> {
        let mut writer = Writer::new(File::create(&temporary)?)?;
        for pair in made {
            let [loser, winner] = files(out, pair.row);
            let [loser_name, winner_name] = names(pair.row);
            writer.write(Record {
                caption: pair.caption.clone(),
                images: [std::fs::read(loser)?.into(), std::fs::read(winner)?.into()],
                uids: [loser_name, winner_name],
                models: ["original".to_owned(), spec.editor.kind().to_owned()],
                labels: [0.0, 1.0],
                // The same set has the same bytes, whenever it was made.
                created_at: Timestamp::UNIX_EPOCH,
                user: 0,
            })?;
        }
        writer.finish()?.sync_all()?;
        std::fs::rename(&temporary, &file)?;
        Ok(File::open(&folder)?.sync_all()?)
    };
    write().inspect_err(|_| {
        // The error is what matters; a leftover temporary file is harmless.
        drop(std::fs::remove_file(&temporary));
    })
}
