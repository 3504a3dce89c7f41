//! `data check`: reads a set as training does, without encoding it, and reports what it holds.

use crate::clip::require_clip;
use crate::dataset::{Dataset, generated, shapes_set};
use anyhow::{Context, Error, Result, bail};
use datasets::decode::{decode_pair, decoded_bytes};
use datasets::error::ReadError;
use datasets::pair::{PreferencePair, Row};
use datasets::rows::Pairs;
use diffusion::part_folders::PartFolders;
use diffusion::tokenizer::Tokenizer;
use domain::data::{DataSpec, ImagesSpec};
use domain::data_check::{
    DataReport, LISTED, Listed, PromptLengths, RepeatedPrompt, SizeCount, WinsAndLosses,
};
use domain::dataset::{Dropped, Source};
use domain::plain_words::in_plain_words;
use domain::prepare::PrepareSpec;
use domain::problem::Problems;
use domain::train::TrainSpec;
use files::sha256;
use image::codecs::jpeg::JpegEncoder;
use image::imageops::{self, FilterType};
use image::{Rgb, RgbImage};
use rayon::prelude::*;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;

/// Rows that are decoded at a time, and bytes of their images after which a portion ends: of large images, one pair.
const PORTION: usize = 32;
const PORTION_BYTES: u64 = 64 << 20;
/// Side of the images that are compared, in pixels.
const COMPARED: u32 = 16;
/// Largest mean difference of levels (0 to 255) of images that look the same: 1%.
const SAME: f64 = 2.55;
/// Rows of the contact sheet, and side of its images in pixels.
const SHEET_ROWS: usize = 16;
const SHEET_SIDE: u32 = 160;
/// Share of dropped rows above which the report warns.
const MANY: f64 = 0.1;

/// The outcome of a check.
#[derive(Debug)]
pub struct DataCheck {
    /// What the set holds.
    pub report: DataReport,
    /// The first examples: winners, and losers beside them.
    pub sheet: RgbImage,
}

/// A set to check, with the model and the run that it is for, as far as they are known.
#[derive(Clone, Debug)]
pub struct Subject {
    /// The set to check.
    pub data: DataSpec,
    /// Name of the base.
    pub base: Option<String>,
    /// The training spec, if there is one.
    pub run: Option<TrainSpec>,
}

/// A set and its base.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DataOnly {
    #[serde(default)]
    base: Option<String>,
    data: DataSpec,
}

impl Subject {
    /// Parses a training spec, a prepare spec, or only `data` and optionally `base`, as TOML or JSON.
    ///
    /// # Errors
    /// Fails if the text is none of these, or if a value is not accepted.
    pub fn parse(text: &str) -> Result<Self> {
        let text = text.trim_start_matches('\u{feff}');
        let table: Value = if text.trim_start().starts_with('{') {
            serde_json::from_str(text)?
        } else {
            toml::from_str(text).map_err(|error| Error::msg(in_plain_words(error.to_string().trim_end())))?
        };
        if table.get("objective").is_some() {
            let run: TrainSpec = read(table).context("not a valid train spec")?;
            run.validate()?;
            return Ok(Self { data: run.data.clone(), base: Some(run.base.clone()), run: Some(run) });
        }
        if table.get("out").is_some() {
            let spec: PrepareSpec = read(table).context("not a valid prepare spec")?;
            spec.validate()?;
            return Ok(Self { data: spec.data, base: Some(spec.base), run: None });
        }
        let DataOnly { base, data } = read(table).context("not a table with data")?;
        let mut problems = Problems::default();
        data.validate(&mut problems);
        problems.into_result()?;
        Ok(Self { data, base, run: None })
    }

    /// What keeps the run from starting, in sentences.
    #[must_use]
    pub fn obstacles(&self, base: &PartFolders) -> Vec<String> {
        let refused = self.run.as_ref().and_then(|run| require_clip(run, base).err());
        refused.map(|problems| format!("The run would be refused: {problems}.")).into_iter().collect()
    }
}

/// A job's spec has a `kind`, which the file of a command does not.
fn read<T: DeserializeOwned>(mut table: Value) -> Result<T> {
    if let Some(fields) = table.as_object_mut() {
        fields.remove("kind");
    }
    serde_json::from_value(table).map_err(|error| Error::msg(in_plain_words(&error.to_string())))
}

/// A sheet as a JPEG file.
///
/// # Errors
/// Fails if the encoder does.
pub fn jpeg(sheet: &RgbImage) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    sheet.write_with_encoder(JpegEncoder::new_with_quality(&mut bytes, 85))?;
    Ok(bytes)
}

/// Reads a set, at most `at_most` examples of it; of a prepared set, the set that was encoded. With a `base`, compares
/// sizes and prompts with what the base takes. `progress` receives the number of examples read; its error stops the
/// check.
///
/// # Errors
/// Fails if the set is not in files or cannot be read, or if `progress` fails.
pub fn check_data(
    spec: &DataSpec,
    base: Option<&PartFolders>,
    at_most: u64,
    progress: &mut dyn FnMut(u64) -> Result<()>,
) -> Result<DataCheck> {
    if let DataSpec::Prepared(prepared) = spec {
        return match Dataset::of_folder(Path::new(&prepared.folder)) {
            Dataset::Prepared(manifest) => check_data(&manifest.data, base, at_most, progress),
            _ => bail!("data.folder: {} is not a set that prepare has finished", prepared.folder),
        };
    }
    let mut pairs = open(spec)?;
    let training_size = base.map(|base| base.defaults()).transpose()?.map(|(of, _)| (of.width, of.height));
    let draws_losers =
        matches!(spec, DataSpec::Images(ImagesSpec { losers: Some(of), .. }) if of.folder.is_none());
    let mut check = Check { training_size, draws_losers, ..Check::default() };
    let mut damaged = Vec::new();
    let mut read = 0;
    loop {
        let left = usize::try_from(at_most - read).unwrap_or(usize::MAX);
        let (mut portion, mut bytes) = (Vec::new(), 0);
        for pair in pairs.by_ref().take(PORTION.min(left)) {
            let pair = pair?;
            bytes += decoded_bytes(&pair.winner) + pair.loser.as_deref().map_or(0, decoded_bytes);
            portion.push(pair);
            if bytes >= PORTION_BYTES {
                break;
            }
        }
        if portion.is_empty() {
            break;
        }
        read += portion.len() as u64;
        for decoded in portion.into_par_iter().map(Decoded::new).collect::<Vec<_>>() {
            match decoded {
                Ok(decoded) => check.add(&decoded),
                Err(dropped) => damaged.push(dropped),
            }
        }
        progress(read)?;
    }
    let mut report = check.finish(base)?;
    report.source = spec.source().to_owned();
    // Before the next pair is looked for, which would count as well.
    report.rows = pairs.report().clone();
    report.is_partial = read == at_most && pairs.next().is_some();
    damaged.into_iter().for_each(|dropped| report.rows.drop_pair(dropped));
    report.warnings = warnings(&report);
    Ok(DataCheck { report, sheet: sheet(&check.sheet) })
}

/// The rows of a set in files, or of the bundled world.
fn open(spec: &DataSpec) -> Result<Pairs> {
    if let DataSpec::Shapes { set, count, seed } = *spec {
        let row = move |index| {
            generated(shapes_set(set), seed, index)
                .map(Row::Pair)
                .map_err(|problem| ReadError::format(Path::new("shapes"), problem))
        };
        return Ok(Pairs::new((0..u64::from(count)).map(row), None, None));
    }
    Pairs::open(spec)?.with_context(|| {
        format!(
            "data.source: the images of {} are not in files here: there is nothing to check",
            spec.source()
        )
    })
}

/// An example whose images can be decoded.
struct Decoded {
    pair: PreferencePair,
    winner: RgbImage,
    loser: Option<RgbImage>,
    sha256: [String; 2],
    /// Whether winner and loser look the same.
    look_same: bool,
}

impl Decoded {
    fn new(pair: PreferencePair) -> Result<Self, Dropped> {
        let (winner, loser) = decode_pair(&pair)?;
        let look_same = loser.as_ref().is_some_and(|loser| looks_same(&winner, loser));
        let of = |bytes: &[u8]| sha256::of_bytes(bytes);
        let sha256 = [of(&pair.winner), pair.loser.as_deref().map(of).unwrap_or_default()];
        Ok(Self { pair, winner, loser, sha256, look_same })
    }

    fn images(&self) -> impl Iterator<Item = &RgbImage> {
        std::iter::once(&self.winner).chain(&self.loser)
    }
}

fn looks_same(a: &RgbImage, b: &RgbImage) -> bool {
    let small = |image: &RgbImage| {
        imageops::grayscale(&imageops::resize(image, COMPARED, COMPARED, FilterType::Triangle))
    };
    let difference: u64 =
        small(a).pixels().zip(small(b).pixels()).map(|(a, b)| u64::from(a.0[0].abs_diff(b.0[0]))).sum();
    (difference as f64) < SAME * f64::from(COMPARED * COMPARED)
}

/// The figures of a report while a set is read.
#[derive(Default)]
struct Check {
    training_size: Option<(u32, u32)>,
    draws_losers: bool,
    with_loser: u64,
    enlarged: u64,
    sizes: BTreeMap<(u32, u32), u64>,
    prompts: HashMap<String, u64>,
    models: BTreeMap<String, WinsAndLosses>,
    seen: HashSet<[String; 2]>,
    duplicates: Listed,
    identical: Listed,
    near_identical: Listed,
    /// Examples of the contact sheet, scaled down.
    sheet: Vec<Vec<RgbImage>>,
}

impl Check {
    fn add(&mut self, example: &Decoded) {
        let source: &Source = &example.pair.source;
        self.with_loser += u64::from(example.loser.is_some() || self.draws_losers);
        for image in example.images() {
            let (width, height) = image.dimensions();
            *self.sizes.entry((width, height)).or_default() += 1;
            let is_smaller = self.training_size.is_some_and(|(w, h)| width < w || height < h);
            self.enlarged += u64::from(is_smaller);
        }
        *self.prompts.entry(example.pair.prompt.clone()).or_default() += 1;
        let [winner, loser] = &example.pair.models;
        if let Some(model) = winner {
            self.models.entry(model.clone()).or_default().wins += 1;
        }
        if let Some(model) = loser {
            self.models.entry(model.clone()).or_default().losses += 1;
        }
        if !self.seen.insert(example.sha256.clone()) {
            self.duplicates.add(source);
        }
        let [winner, loser] = &example.sha256;
        if winner == loser {
            self.identical.add(source);
        } else if example.look_same {
            self.near_identical.add(source);
        }
        if self.sheet.len() < SHEET_ROWS {
            self.sheet.push(example.images().map(thumbnail).collect());
        }
    }

    fn finish(&mut self, base: Option<&PartFolders>) -> Result<DataReport> {
        let mut sizes: Vec<SizeCount> = std::mem::take(&mut self.sizes)
            .into_iter()
            .map(|((width, height), images)| SizeCount { width, height, images })
            .collect();
        sizes.sort_by_key(|size| std::cmp::Reverse(size.images));
        let mut repeated: Vec<RepeatedPrompt> = self
            .prompts
            .iter()
            .filter(|(_, rows)| **rows > 1)
            .map(|(prompt, rows)| RepeatedPrompt { prompt: prompt.clone(), rows: *rows })
            .collect();
        repeated.sort_by(|a, b| b.rows.cmp(&a.rows).then_with(|| a.prompt.cmp(&b.prompt)));
        repeated.truncate(LISTED);
        Ok(DataReport {
            with_loser: self.with_loser,
            draws_losers: self.draws_losers,
            sizes,
            enlarged: self.training_size.map(|_| self.enlarged),
            prompts: self.prompt_lengths(base)?,
            repeated_prompts: repeated,
            models: std::mem::take(&mut self.models),
            duplicates: std::mem::take(&mut self.duplicates),
            identical_pairs: std::mem::take(&mut self.identical),
            near_identical_pairs: std::mem::take(&mut self.near_identical),
            ..DataReport::default()
        })
    }

    fn prompt_lengths(&self, base: Option<&PartFolders>) -> Result<PromptLengths> {
        let mut words: Vec<u64> =
            self.prompts.keys().map(|prompt| prompt.split_whitespace().count() as u64).collect();
        words.sort_unstable();
        let cut = match base {
            Some(base) => {
                let tokenizer = Tokenizer::load(&base.part("tokenizer")?)?;
                let mut cut = 0;
                for prompt in self.prompts.keys() {
                    cut += u64::from(tokenizer.cuts(prompt)?);
                }
                Some(cut)
            }
            None => None,
        };
        let at = |index: usize| words.get(index).copied().unwrap_or_default();
        Ok(PromptLengths {
            different: words.len() as u64,
            shortest: at(0),
            median: at(words.len() / 2),
            longest: at(words.len().saturating_sub(1)),
            cut,
        })
    }
}

/// What a reader of the report should look at.
fn warnings(report: &DataReport) -> Vec<String> {
    let mut warnings = Vec::new();
    let DataReport { rows, .. } = report;
    if rows.pairs == 0 {
        warnings.push(format!("No row can be used: {}.", rows.explained()));
        return warnings;
    }
    let dropped = rows.rows.saturating_sub(rows.pairs);
    if dropped as f64 > MANY * rows.rows as f64 {
        warnings.push(format!("{dropped} of {} rows are dropped: see the reasons.", rows.rows));
    }
    let listed = [
        (&report.identical_pairs, "winner and loser are the same file: such pairs teach nothing"),
        (&report.near_identical_pairs, "winner and loser look the same"),
        (&report.duplicates, "both images repeat an earlier row"),
    ];
    for (rows, what) in listed {
        if let Some(first) = rows.first.first() {
            warnings.push(format!("In {} rows {what} (first: {first}).", rows.count));
        }
    }
    if let Some(cut) = report.prompts.cut.filter(|cut| *cut > 0) {
        warnings.push(format!("{cut} prompts are longer than the text encoder reads, and are cut."));
    }
    if let Some(enlarged) = report.enlarged.filter(|enlarged| *enlarged > 0) {
        warnings.push(format!("{enlarged} images are smaller than the training size, and are enlarged."));
    }
    for (model, WinsAndLosses { wins, losses }) in &report.models {
        if wins + losses >= 20 && (*wins == 0 || *losses == 0) {
            let always = if *losses == 0 { "wins" } else { "loses" };
            warnings.push(format!("{model:?} always {always}: the set teaches its look, not the prompt."));
        }
    }
    warnings
}

fn thumbnail(image: &RgbImage) -> RgbImage {
    let longer = image.width().max(image.height()).max(1);
    let side = |length: u32| (length * SHEET_SIDE / longer).max(1);
    imageops::resize(image, side(image.width()), side(image.height()), FilterType::Triangle)
}

/// Examples in two columns, each with its images side by side.
fn sheet(examples: &[Vec<RgbImage>]) -> RgbImage {
    const GAP: u32 = 24;
    let per_example = examples.iter().map(Vec::len).max().unwrap_or(0) as u32;
    let (column, row) = (per_example * SHEET_SIDE + GAP, SHEET_SIDE + GAP);
    let rows = examples.len().div_ceil(2) as u32;
    let mut sheet =
        RgbImage::from_pixel((2 * column + GAP).max(1), (rows * row + GAP).max(1), Rgb([255, 255, 255]));
    for (i, example) in (0u32..).zip(examples) {
        for (j, image) in (0u32..).zip(example) {
            let x = GAP + (i % 2) * column + j * SHEET_SIDE + (SHEET_SIDE - image.width()) / 2;
            let y = GAP + (i / 2) * row + (SHEET_SIDE - image.height()) / 2;
            imageops::replace(&mut sheet, image, i64::from(x), i64::from(y));
        }
    }
    sheet
}
