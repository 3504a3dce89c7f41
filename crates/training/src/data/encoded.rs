//! A set as its encoders see it, read from its shards where they lie: nothing of it is ever held whole.

use super::encoder::{CAPTIONS, POOLED, SIDED, STATES};
use super::images::Place;
use super::prepare::{MANIFEST, Plan, needed, shard_name};
use super::shard::{Shard, stack};
use crate::data::key::Part;
use anyhow::{Context, Result, bail, ensure};
use candle_core::{Device, Tensor};
use diffusion::conditioning::{EncodedText, MicroConditioning};
use diffusion::part_folders::PartFolders;
use domain::data::DataSpec;
use domain::prepare::{DEFAULT_SHARD_SIZE, ImageSpec, Manifest};
use std::path::Path;

/// An encoded set.
#[derive(Debug)]
pub struct EncodedSet {
    shards: Vec<Parts>,
    count: usize,
    has_losers: bool,
    /// Width and height of the images, in pixels.
    size: [u32; 2],
}

/// The files of one shard, and how many rows lie before it.
#[derive(Debug)]
struct Parts {
    files: Vec<Shard>,
    examples_before: usize,
    captions_before: usize,
}

impl EncodedSet {
    /// The set that a spec names: one that was prepared, or one that is encoded now, once, below `cache`. `report` hears
    /// of examples encoded, of all (0 where nobody knows).
    ///
    /// # Errors
    /// A set or model that cannot be read, or was prepared with other encoders or another part of each image.
    pub fn prepare(
        spec: &DataSpec,
        image: &ImageSpec,
        folders: &PartFolders,
        with_clip: bool,
        cache: &Path,
        device: &Device,
        report: &mut dyn FnMut(usize, usize) -> Result<()>,
    ) -> Result<Self> {
        if let DataSpec::Prepared(prepared) = spec {
            let folder = Path::new(&prepared.folder);
            let manifest = read_manifest(folder)?;
            check_encoders(&manifest, image, folders, with_clip)
                .with_context(|| format!("data.folder: {}", folder.display()))?;
            return Self::open(folder, &manifest);
        }
        let shard_size = DEFAULT_SHARD_SIZE as usize;
        let plan = Plan::new(spec, image, None, shard_size, with_clip, folders)?;
        let folder = cache.join(plan.cache_name());
        let manifest = plan.carry_out(&folder, folders, device, report)?;
        Self::open(&folder, &manifest)
    }

    /// Opens the shards of a folder.
    ///
    /// # Errors
    /// One is missing or damaged.
    pub fn open(folder: &Path, manifest: &Manifest) -> Result<Self> {
        let (mut shards, mut count, mut captions) = (Vec::new(), 0, 0);
        let there: Vec<Part> =
            needed(true, true).filter(|part| manifest.parts.contains_key(part.name())).collect();
        for (number, &examples) in manifest.examples.iter().enumerate() {
            if examples == 0 {
                continue;
            }
            let files = there.iter().map(|&part| Shard::open(&folder.join(shard_name(part, number))));
            let shard = Parts {
                files: files.collect::<Result<_>>()?,
                examples_before: count,
                captions_before: captions,
            };
            let rows = shard.of("winner.mean")?.rows_of("winner.mean");
            ensure!(rows == examples as usize, "shard {number} has {rows} examples instead of {examples}");
            count += rows;
            captions += shard.of(STATES)?.rows_of(STATES);
            shards.push(shard);
        }
        ensure!(count > 0, "the set has no example that can be used: {}", manifest.report);
        let has_losers = shards.iter().all(|shard| shard.of("loser.mean").is_ok());
        Ok(Self { shards, count, has_losers, size: manifest.size })
    }

    /// Examples.
    #[must_use]
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Whether every example has a loser.
    #[must_use]
    pub fn has_losers(&self) -> bool {
        self.has_losers
    }

    /// Rows of a tensor: of captions' tensors (`text`, `pooled`, `clip.text`) by the rows that [`Self::captions_of`]
    /// gives, of the others by examples.
    ///
    /// # Errors
    /// The set was encoded without it.
    pub fn rows(&self, name: &str, indices: &[u32]) -> Result<Tensor> {
        let of_captions = matches!(name, STATES | POOLED | "clip.text");
        self.gather(name, of_captions, indices.iter().map(|&index| (name, index)))
    }

    /// Rows of several tensors of the shape of `like`, each with the tensor that it lies in.
    fn gather<'a>(
        &self,
        like: &str,
        of_captions: bool,
        rows: impl ExactSizeIterator<Item = (&'a str, u32)>,
    ) -> Result<Tensor> {
        let first = self.shards.first().context("the encoded set is empty")?.of(like)?;
        let (row, count) = (first.row_shape(like)?, rows.len());
        let mut values = Vec::with_capacity(count * row.iter().product::<usize>());
        for (name, index) in rows {
            let (shard, local) = self.find(index as usize, of_captions)?;
            shard.of(name)?.add_row(name, local, &mut values)?;
        }
        stack(values, count, row)
    }

    /// Mean and log-variance of the posteriors of a side's images, or where asked of the same images mirrored.
    ///
    /// # Errors
    /// There is no such example, or the set was encoded without what is asked for.
    pub fn posteriors(&self, side: &str, indices: &[u32], mirrored: &[bool]) -> Result<[Tensor; 2]> {
        let of = |what: &str| {
            let (plain, turned) = (format!("{side}.{what}"), format!("{side}.mirrored.{what}"));
            let rows = indices.iter().zip(mirrored);
            let rows = rows.map(|(&index, &mirrored)| (if mirrored { &*turned } else { &*plain }, index));
            self.gather(&plain, false, rows)
        };
        Ok([of("mean")?, of("log_variance")?])
    }

    /// What SDXL is told of a side's images, some of them mirrored: how large each was, and what part of it this is.
    ///
    /// # Errors
    /// There is no such example, or the set was encoded without.
    pub fn images(&self, side: &str, indices: &[u32], mirrored: &[bool]) -> Result<Vec<MicroConditioning>> {
        let name = format!("{side}.place");
        let [width, height] = self.size;
        let told = |(&index, &mirrored): (&u32, &bool)| {
            let (shard, local) = self.find(index as usize, false)?;
            let numbers = shard.of(&name).and_then(|file| file.numbers(&name, local));
            let numbers =
                numbers.context("data: the set does not tell the images' sizes: prepare it again")?;
            let place = Place::of_numbers(numbers);
            Ok(MicroConditioning {
                original_size: place.original_size,
                crop: [place.top, if mirrored { place.mirrored_left } else { place.left }],
                target_size: [height, width],
            })
        };
        indices.iter().zip(mirrored).map(told).collect()
    }

    /// What SDXL is told of an image that is whole and of the set's size.
    #[must_use]
    pub fn whole(&self) -> MicroConditioning {
        let [width, height] = self.size;
        MicroConditioning::whole(height, width)
    }

    /// Whether examples may be mirrored: not where the caption would become wrong.
    ///
    /// # Errors
    /// There is no such example, or the set was encoded without mirrored images.
    pub fn may_be_mirrored(&self, indices: &[u32]) -> Result<Vec<bool>> {
        let may_be = |&index: &u32| {
            let (shard, local) = self.find(index as usize, false)?;
            Ok(shard.of(SIDED)?.numbers(SIDED, local)? == [0])
        };
        indices.iter().map(may_be).collect()
    }

    /// What the text encoders made of some captions, by their rows; row 0 is the empty caption.
    ///
    /// # Errors
    /// There is no such row.
    pub fn text(&self, rows: &[u32]) -> Result<EncodedText> {
        let pooled = self.has(POOLED).then(|| self.rows(POOLED, rows));
        Ok(EncodedText { states: self.rows(STATES, rows)?, pooled: pooled.transpose()? })
    }

    /// Whether the encoders made such a tensor.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.shards.first().is_some_and(|shard| shard.of(name).is_ok())
    }

    /// Which row of the captions' tensors belongs to each example. Row 0 is the empty caption.
    ///
    /// # Errors
    /// There is no such example.
    pub fn captions_of(&self, indices: &[u32]) -> Result<Vec<u32>> {
        indices
            .iter()
            .map(|&index| {
                let (shard, local) = self.find(index as usize, false)?;
                let [row] = shard.of("caption")?.numbers("caption", local)?;
                let row = shard.captions_before + row as usize;
                u32::try_from(row).context("too many captions")
            })
            .collect()
    }

    /// The captions of examples.
    ///
    /// # Errors
    /// There is no such example, or a damaged list.
    pub fn caption_texts(&self, indices: &[u32]) -> Result<Vec<String>> {
        indices
            .iter()
            .map(|&index| {
                let (shard, local) = self.find(index as usize, false)?;
                let [row] = shard.of("caption")?.numbers("caption", local)?;
                let list = shard.of(CAPTIONS)?.bytes(CAPTIONS)?;
                let list: Vec<String> = serde_json::from_slice(list).context("the encoded set's captions")?;
                list.get(row as usize).cloned().context("a caption is missing")
            })
            .collect()
    }

    /// The shard of a row, and the row's place in it.
    fn find(&self, row: usize, of_captions: bool) -> Result<(&Parts, usize)> {
        let before = |shard: &Parts| if of_captions { shard.captions_before } else { shard.examples_before };
        let after = self.shards.partition_point(|shard| before(shard) <= row);
        let shard = self.shards.get(after.wrapping_sub(1)).context("the encoded set is empty")?;
        Ok((shard, row - before(shard)))
    }
}

impl Parts {
    /// The file with such a tensor.
    fn of(&self, name: &str) -> Result<&Shard> {
        let found = self.files.iter().find(|file| file.has(name));
        found.with_context(|| format!("the encoded set has no {name}"))
    }
}

/// Reads the manifest of a prepared set.
///
/// # Errors
/// There is none, or it is damaged.
pub fn read_manifest(folder: &Path) -> Result<Manifest> {
    let file = folder.join(MANIFEST);
    let text = std::fs::read_to_string(&file)
        .with_context(|| format!("cannot read {}: has prepare finished there?", file.display()))?;
    serde_json::from_str(&text).with_context(|| format!("{} is no manifest of prepare", file.display()))
}

/// Whether a prepared set was made by the model's own encoders, of what a run wants to see of the images.
fn check_encoders(
    manifest: &Manifest,
    image: &ImageSpec,
    folders: &PartFolders,
    with_clip: bool,
) -> Result<()> {
    ensure!(
        manifest.crop == image.crop,
        "was prepared with crop = \"{}\": set the run's crop to that, or prepare it again with image.crop = \"{}\"",
        manifest.crop.name(),
        image.crop.name()
    );
    for part in needed(image.mirrored, with_clip) {
        let Some(made) = manifest.parts.get(part.name()) else {
            let remedy = match part {
                Part::Mirrored => "image.mirrored = true, or leave horizontal_flip out",
                _ => "clip = true",
            };
            bail!("was prepared without {}: prepare it again with {remedy}", part.name());
        };
        for (name, sha256) in part.encoder(folders)? {
            ensure!(
                made.encoder.get(&name) == Some(&sha256),
                "was prepared with another {name} than the base has: prepare it again for this base"
            );
        }
    }
    Ok(())
}
