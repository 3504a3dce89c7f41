//! Encodes a set into shards, each written whole. What is there already and current is kept, so that an encoding that
//! was killed goes on where it stood, and ends in the same bytes.

use super::encoder::{Encoder, Encoding};
use super::examples::Examples;
use super::image_filter::{self, ImageFilter};
use super::images::Frame;
use super::key::{Part, cut, held_to};
use super::shard::{self, Label};
use anyhow::{Context, Result, ensure};
use candle_core::Device;
use datasets::listing::rows_of;
use diffusion::part_folders::PartFolders;
use domain::data::DataSpec;
use domain::dataset::Dropped;
use domain::prepare::{ImageFilterSpec, ImageSpec, Manifest, ManifestPart};
use files::{sha256, write_atomically};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The manifest's name.
pub const MANIFEST: &str = "manifest.json";
/// Held by whoever encodes into the folder.
const LOCK: &str = "prepare.lock";
/// Time between looks at a lock that somebody else holds.
const PAUSE: Duration = Duration::from_millis(200);
/// The ending of shards.
const ENDING: &str = ".safetensors";

/// Name of a part's shard.
#[must_use]
pub fn shard_name(part: Part, number: usize) -> String {
    format!("{}-{number:05}{ENDING}", part.name())
}

/// What is to be made.
#[derive(Clone, Debug)]
pub struct Plan {
    data: DataSpec,
    frame: Frame,
    image_filter: Option<ImageFilterSpec>,
    /// SHA-256 of the filter's files.
    filter_files: BTreeMap<String, String>,
    shard_size: usize,
    parts: Vec<(Part, ManifestPart)>,
}

impl Plan {
    /// Reads what decides the content: the set's files, the filter's and the model's encoders.
    ///
    /// # Errors
    /// One of them cannot be read, or the images' size does not suit the model.
    pub fn new(
        data: &DataSpec,
        image: &ImageSpec,
        image_filter: Option<&ImageFilterSpec>,
        shard_size: usize,
        with_clip: bool,
        folders: &PartFolders,
    ) -> Result<Self> {
        let frame = frame_of(image, folders)?;
        let filter_files = image_filter.map(image_filter::hashes).transpose()?.unwrap_or_default();
        let cut = held_to(cut(data, shard_size)?, &filter_files)?;
        let mut parts = Vec::new();
        for part in needed(image.mirrored, with_clip) {
            let encoder = part.encoder(folders)?;
            let key = part.key(&cut, frame, &encoder)?;
            parts.push((part, ManifestPart { key, encoder, shards: BTreeMap::new() }));
        }
        let (data, image_filter) = (data.clone(), image_filter.cloned());
        Ok(Self { data, frame, image_filter, filter_files, shard_size, parts })
    }

    /// Name of its folder in a cache: the same with and without CLIP and mirrored images, so that all share the rest.
    #[must_use]
    pub fn cache_name(&self) -> String {
        let keys = self.parts.iter().filter(|(part, _)| matches!(part, Part::Latents | Part::Text));
        keys.map(|(_, made)| made.key.get(..20).unwrap_or_default()).collect::<Vec<_>>().join("-")
    }

    /// Makes `folder` hold the encoded set. `report` hears of examples done, of all (0 where nobody knows); its error
    /// ends the work, and what is done stays.
    ///
    /// # Errors
    /// A set or model that cannot be read, a folder that cannot be written, or what `report` returns.
    pub fn carry_out(
        mut self,
        folder: &Path,
        folders: &PartFolders,
        device: &Device,
        report: &mut dyn FnMut(usize, usize) -> Result<()>,
    ) -> Result<Manifest> {
        if let Some(manifest) = current(folder, &self.parts)? {
            return Ok(manifest);
        }
        // Runs that begin together would encode the same shards: one does, the others wait and find them.
        let total = usize::try_from(rows_of(&self.data).unwrap_or(0))?;
        let _lock = lock(folder, &mut || report(0, total.max(1)))?;
        if let Some(manifest) = current(folder, &self.parts)? {
            return Ok(manifest);
        }
        let mut examples = Examples::open(&self.data)?;
        let mut encoder = Encoder::new(folders, device, self.frame);
        let mut filter = self.image_filter.as_ref().map(|spec| ImageFilter::new(spec, device));
        let (mut counts, mut dropped, mut done) = (Vec::new(), Vec::new(), 0);
        for number in 0.. {
            let at = Place { folder, number, size: self.shard_size };
            let shard = one_shard(&at, &mut self.parts, &mut examples, filter.as_mut(), &mut encoder)?;
            if shard.taken == 0 {
                break;
            }
            done += shard.taken;
            counts.push(shard.examples);
            dropped.extend(shard.dropped);
            report(done, total.max(done))?;
            if shard.taken < self.shard_size {
                break;
            }
        }
        report(done, done)?;
        let mut account = examples.report();
        let mut left_out: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
        for dropped in dropped {
            left_out.entry(dropped.source.file.clone()).or_default().insert(dropped.source.row);
            account.drop_pair(dropped);
        }
        ensure!(account.pairs > 0, "the set has no example that can be used: {account}");
        let parts = self.parts.into_iter().map(|(part, made)| (part.name().to_owned(), made)).collect();
        let Frame { width, height, crop } = self.frame;
        let manifest = Manifest {
            data: self.data,
            size: [width, height],
            crop,
            image_filter: self.filter_files,
            report: account,
            left_out,
            examples: counts,
            parts,
        };
        let mut text = serde_json::to_vec_pretty(&manifest)?;
        text.push(b'\n');
        write_atomically(&folder.join(MANIFEST), &text)?;
        sweep(folder, &manifest)?;
        Ok(manifest)
    }
}

/// The parts of a set.
pub(super) fn needed(mirrored: bool, with_clip: bool) -> impl Iterator<Item = Part> {
    let mirrored = mirrored.then_some(Part::Mirrored);
    let clip = with_clip.then_some(Part::Clip);
    [Some(Part::Latents), mirrored, Some(Part::Text), clip].into_iter().flatten()
}

/// Waits until nobody else encodes into the folder. `waiting` is called now and then; its error ends the wait.
fn lock(folder: &Path, waiting: &mut dyn FnMut() -> Result<()>) -> Result<File> {
    std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let file = folder.join(LOCK);
    let open = File::create(&file).with_context(|| format!("cannot write {}", file.display()))?;
    loop {
        match open.try_lock() {
            Ok(()) => return Ok(open),
            Err(TryLockError::WouldBlock) => {
                waiting()?;
                std::thread::sleep(PAUSE);
            }
            Err(TryLockError::Error(error)) => {
                return Err(error).with_context(|| format!("cannot lock {}", file.display()));
            }
        }
    }
}

/// Where a shard lies, its number, and the rows that it stands for at most.
struct Place<'a> {
    folder: &'a Path,
    number: usize,
    size: usize,
}

impl Place<'_> {
    fn file(&self, part: Part) -> PathBuf {
        self.folder.join(shard_name(part, self.number))
    }
}

/// What one shard holds.
struct Made {
    taken: usize,
    examples: u32,
    dropped: Vec<Dropped>,
}

/// The parts of one shard: kept where they are current, encoded where they are not.
fn one_shard(
    at: &Place<'_>,
    parts: &mut [(Part, ManifestPart)],
    examples: &mut Examples,
    filter: Option<&mut ImageFilter>,
    encoder: &mut Encoder<'_>,
) -> Result<Made> {
    let mut known: Option<Label> = None;
    let mut missing = BTreeSet::new();
    for (part, made) in parts.iter() {
        match shard::label(&at.file(*part))? {
            Some(label) if label.key == made.key => known = Some(label),
            _ => drop(missing.insert(*part)),
        }
    }
    let made = match known {
        Some(label) if missing.is_empty() => {
            let taken = examples.skip(label.taken)?;
            ensure!(taken == label.taken, "the set has become shorter while it was read");
            Made { taken, examples: label.examples, dropped: label.dropped }
        }
        _ => {
            let (made, encoding) = encode(at.size, &missing, examples, filter, encoder)?;
            if made.examples > 0 {
                let mut tensors = encoder.finish(encoding)?;
                for (part, manifest) in parts.iter() {
                    let Some(tensors) = tensors.remove(part) else { continue };
                    let label = Label {
                        key: manifest.key.clone(),
                        taken: made.taken,
                        examples: made.examples,
                        dropped: made.dropped.clone(),
                    };
                    shard::write(&at.file(*part), &label, &tensors)?;
                }
            }
            made
        }
    };
    if made.examples > 0 {
        for (part, manifest) in parts.iter_mut() {
            let sha256 = sha256::of_file(&at.file(*part))?;
            manifest.shards.insert(shard_name(*part, at.number), sha256);
        }
    }
    Ok(made)
}

/// What the encoders make of the next `size` rows, portion by portion.
fn encode(
    size: usize,
    parts: &BTreeSet<Part>,
    examples: &mut Examples,
    mut filter: Option<&mut ImageFilter>,
    encoder: &mut Encoder<'_>,
) -> Result<(Made, Encoding)> {
    let mut encoding = Encoding::of(parts);
    let (mut taken, mut dropped) = (0, Vec::new());
    while taken < size {
        let mut portion = examples.take(size - taken)?;
        if portion.taken == 0 {
            break;
        }
        if let Some(filter) = &mut filter {
            filter.sift(&mut portion)?;
        }
        encoder.add(&mut encoding, &portion.examples)?;
        taken += portion.taken;
        dropped.extend(portion.dropped);
    }
    Ok((Made { taken, examples: u32::try_from(encoding.examples())?, dropped }, encoding))
}

/// The manifest that is there, if it is of the very parts and all its shards are there.
fn current(folder: &Path, parts: &[(Part, ManifestPart)]) -> Result<Option<Manifest>> {
    let Ok(text) = std::fs::read(folder.join(MANIFEST)) else { return Ok(None) };
    let Ok(manifest) = serde_json::from_slice::<Manifest>(&text) else { return Ok(None) };
    for (part, wanted) in parts {
        let Some(made) = manifest.parts.get(part.name()) else { return Ok(None) };
        if made.key != wanted.key {
            return Ok(None);
        }
        for name in made.shards.keys() {
            if shard::label(&folder.join(name))?.is_none_or(|label| label.key != made.key) {
                return Ok(None);
            }
        }
    }
    Ok(Some(manifest))
}

/// Removes shards of the manifest's parts that it does not name, as a longer set leaves them, and halves of shards whose
/// writer was killed.
fn sweep(folder: &Path, manifest: &Manifest) -> Result<()> {
    let named: BTreeSet<&String> = manifest.parts.values().flat_map(|part| part.shards.keys()).collect();
    let listing = std::fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))?;
    for entry in listing {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let of_part = name.split('-').next().is_some_and(|part| manifest.parts.contains_key(part));
        let half = name.ends_with(".part");
        if half || (of_part && name.ends_with(ENDING) && !named.contains(&name)) {
            std::fs::remove_file(entry.path()).with_context(|| format!("cannot remove {name}"))?;
        }
    }
    Ok(())
}

/// What is encoded of images: of the size asked for, or the model's own.
fn frame_of(image: &ImageSpec, folders: &PartFolders) -> Result<Frame> {
    let (defaults, multiple) = folders.defaults()?;
    let size = [image.width.unwrap_or(defaults.width), image.height.unwrap_or(defaults.height)];
    ensure!(
        size.iter().all(|side| side % multiple == 0 && *side > 0),
        "image: {} x {} is no multiple of {multiple}, as the model's autoencoder needs it",
        size[0],
        size[1]
    );
    Ok(Frame { width: size[0], height: size[1], crop: image.crop })
}
