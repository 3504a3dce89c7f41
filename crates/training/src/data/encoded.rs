//! An encoded set, read from memory-mapped shards: only the rows of a micro-batch are copied into memory.

use super::frame::CropPlace;
use super::key::EncodedPart;
use super::manifest::{self, shard_name};
use super::prepare::Plan;
use super::shard::{Shard, stack};
use super::tensor_name::{Side, TensorName};
use crate::objectives::ClipFeatures;
use anyhow::{Context, Result, ensure};
use candle_core::{Device, Tensor};
use datasets::pair::ListPlace;
use diffusion::conditioning::{EncodedText, MicroConditioning};
use diffusion::part_folders::PartFolders;
use domain::data::DataSpec;
use domain::prepare::{DEFAULT_SHARD_SIZE, ImageSpec, Manifest};
use std::collections::BTreeMap;
use std::path::Path;

/// An encoded set. Examples are numbered across all shards, and so are captions; the empty caption is number 0.
#[derive(Debug)]
pub struct EncodedSet {
    shards: Vec<ShardFiles>,
    count: usize,
    has_losers: bool,
    /// Width and height of the encoded images, in pixels.
    size: [u32; 2],
    /// The key of each part, by name.
    keys: BTreeMap<String, String>,
}

/// The files of one shard, and the number of examples and captions in the shards before it.
#[derive(Debug)]
struct ShardFiles {
    files: Vec<Shard>,
    examples_before: usize,
    captions_before: usize,
}

impl EncodedSet {
    /// The set of a spec: a prepared one, or one that is encoded into a folder of `cache` unless that is up to date.
    /// `report` receives the number of rows done and their total, as far as it is known.
    ///
    /// # Errors
    /// Fails if the set or the model cannot be read, if a prepared set does not suit the run, or if `report` fails.
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
            let manifest = manifest::read(folder)?;
            manifest::check_prepared(&manifest, image, folders, with_clip)
                .with_context(|| format!("data.folder: {}", folder.display()))?;
            return Self::open(folder, &manifest);
        }
        let shard_size = DEFAULT_SHARD_SIZE as usize;
        let plan = Plan::new(spec, image, None, shard_size, with_clip, folders)?;
        let folder = cache.join(plan.cache_name());
        let manifest = plan.carry_out(&folder, folders, device, report)?;
        Self::open(&folder, &manifest)
    }

    /// Opens a prepared set, to read its captions.
    ///
    /// # Errors
    /// As [`Self::open`]; also fails if the folder has no manifest.
    pub fn prepared(folder: &Path) -> Result<Self> {
        Self::open(folder, &manifest::read(folder)?)
    }

    /// Opens the shards of a folder.
    ///
    /// # Errors
    /// Fails if a shard is missing or damaged, or if the set has no examples.
    pub fn open(folder: &Path, manifest: &Manifest) -> Result<Self> {
        let (mut shards, mut count, mut captions) = (Vec::new(), 0, 0);
        let parts: Vec<EncodedPart> =
            EncodedPart::needed(true, true).filter(|part| manifest.parts.contains_key(part.name())).collect();
        let mean = TensorName::Mean { side: Side::Winner, mirrored: false };
        for (number, &examples) in manifest.examples.iter().enumerate() {
            if examples == 0 {
                continue;
            }
            let files = parts.iter().map(|&part| Shard::open(&folder.join(shard_name(part, number))));
            let shard = ShardFiles {
                files: files.collect::<Result<_>>()?,
                examples_before: count,
                captions_before: captions,
            };
            let rows = shard.with(mean)?.rows_of(mean);
            ensure!(rows == examples as usize, "shard {number} has {rows} examples instead of {examples}");
            count += rows;
            captions += shard.with(TensorName::TextStates)?.rows_of(TensorName::TextStates);
            shards.push(shard);
        }
        ensure!(count > 0, "the set has no example that can be used: {}", manifest.report.explained());
        let loser_mean = TensorName::Mean { side: Side::Loser, mirrored: false };
        let has_losers = shards.iter().all(|shard| shard.with(loser_mean).is_ok());
        let keys = manifest.parts.iter().map(|(name, part)| (name.clone(), part.key.clone())).collect();
        Ok(Self { shards, count, has_losers, size: manifest.size, keys })
    }

    /// Number of examples.
    #[must_use]
    pub fn len(&self) -> usize {
        self.count
    }

    /// The keys of the parts that a run needs, by name. Equal keys mean equal content: rows, images, settings and encoders.
    #[must_use]
    pub(crate) fn keys(&self, mirrored: bool, with_clip: bool) -> BTreeMap<String, String> {
        let needed = EncodedPart::needed(mirrored, with_clip);
        needed
            .filter_map(|part| self.keys.get_key_value(part.name()))
            .map(|(k, v)| (k.clone(), v.clone()))
            .collect()
    }

    /// Whether the set has no examples; an open set has some.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Whether every example has a loser.
    #[must_use]
    pub(super) fn has_losers(&self) -> bool {
        self.has_losers
    }

    /// Whether the set has this tensor.
    #[must_use]
    pub fn has(&self, name: TensorName) -> bool {
        self.shards.first().is_some_and(|shard| shard.with(name).is_ok())
    }

    /// Rows of a tensor (f32), by the numbers of examples, or of captions ([`Self::captions_of`]).
    ///
    /// # Errors
    /// Fails if there is no such row, or if the set does not have the tensor.
    pub fn rows(&self, name: TensorName, indices: &[u32]) -> Result<Tensor> {
        self.gather(name, indices.iter().map(|&index| (name, index)))
    }

    /// Rows of several tensors whose rows have the shape of those of `like`.
    fn gather(
        &self,
        like: TensorName,
        rows: impl ExactSizeIterator<Item = (TensorName, u32)>,
    ) -> Result<Tensor> {
        let first = self.shards.first().context("the encoded set is empty")?.with(like)?;
        let (row, count) = (first.row_shape(like)?, rows.len());
        let mut values = Vec::with_capacity(count * row.iter().product::<usize>());
        for (name, index) in rows {
            let (shard, local) = self.find(index as usize, name.is_per_caption())?;
            shard.with(name)?.append_row(name, local, &mut values)?;
        }
        stack(values, count, row)
    }

    /// Mean and log-variance of the posteriors of some images, (M, channels, height, width) each. `mirrored` says for
    /// each image whether it is turned left to right.
    ///
    /// # Errors
    /// Fails if there is no such example, or if the set has no mirrored images or no losers.
    pub fn posteriors(&self, side: Side, indices: &[u32], mirrored: &[bool]) -> Result<[Tensor; 2]> {
        let of = |name: fn(Side, bool) -> TensorName| {
            let rows = indices.iter().zip(mirrored);
            self.gather(name(side, false), rows.map(|(&index, &mirrored)| (name(side, mirrored), index)))
        };
        Ok([
            of(|side, mirrored| TensorName::Mean { side, mirrored })?,
            of(|side, mirrored| TensorName::LogVariance { side, mirrored })?,
        ])
    }

    /// SDXL's micro-conditioning of some images: original size, crop and target size. `mirrored` is as in
    /// [`Self::posteriors`].
    ///
    /// # Errors
    /// Fails if there is no such example, or if the set has no crop places.
    pub(super) fn micro_conditioning(
        &self,
        side: Side,
        indices: &[u32],
        mirrored: &[bool],
    ) -> Result<Vec<MicroConditioning>> {
        let name = TensorName::CropPlace(side);
        let [width, height] = self.size;
        let of = |(&index, &mirrored): (&u32, &bool)| {
            let (shard, local) = self.find(index as usize, false)?;
            let row = shard.with(name).and_then(|file| file.integers(name, local));
            let place = CropPlace::of_row(
                row.context("data: the set does not hold the sizes of its images: prepare it again")?,
            );
            Ok(MicroConditioning {
                original_size: place.original_size,
                crop: [place.top, if mirrored { place.mirrored_left } else { place.left }],
                target_size: [height, width],
            })
        };
        indices.iter().zip(mirrored).map(of).collect()
    }

    /// SDXL's micro-conditioning of an image that has the set's size and is not cropped.
    pub(super) fn whole_image(&self) -> MicroConditioning {
        let [width, height] = self.size;
        MicroConditioning::whole(height, width)
    }

    /// Whether examples may be mirrored: not if the caption names a side.
    ///
    /// # Errors
    /// Fails if there is no such example, or if the set has no mirrored images.
    pub fn may_be_mirrored(&self, indices: &[u32]) -> Result<Vec<bool>> {
        let may_be = |&index: &u32| {
            let (shard, local) = self.find(index as usize, false)?;
            Ok(shard.with(TensorName::NamesSide)?.integers(TensorName::NamesSide, local)? == [0])
        };
        indices.iter().map(may_be).collect()
    }

    /// The places of pairs in ranked lists; none if the set has no lists. A pair of no list is a list of its own.
    ///
    /// # Errors
    /// Fails if there is no such example, or if its place is damaged.
    pub(super) fn list_places(&self, indices: &[u32]) -> Result<Option<Vec<ListPlace>>> {
        if !self.shards.iter().any(|shard| shard.with(TensorName::ListPlace).is_ok()) {
            return Ok(None);
        }
        let place = |&index: &u32| {
            let (shard, local) = self.find(index as usize, false)?;
            // A shard whose pairs are in no list. Lists are numbered by rows, of which there are fewer than numbers.
            let Ok(file) = shard.with(TensorName::ListPlace) else {
                return Ok(ListPlace { list: u32::MAX - index, pairs: 1, ranks: [0, 1] });
            };
            let [list, pairs, winner, loser] = file.integers(TensorName::ListPlace, local)?;
            Ok(ListPlace { list, pairs, ranks: [winner, loser] })
        };
        indices.iter().map(place).collect::<Result<_>>().map(Some)
    }

    /// Encoded captions, by the numbers of captions.
    ///
    /// # Errors
    /// Fails if there is no such caption.
    pub(super) fn text(&self, captions: &[u32]) -> Result<EncodedText> {
        let pooled = self.has(TensorName::PooledText).then(|| self.rows(TensorName::PooledText, captions));
        Ok(EncodedText { states: self.rows(TensorName::TextStates, captions)?, pooled: pooled.transpose()? })
    }

    /// CLIP features of pairs, by the numbers of examples and of their captions.
    ///
    /// # Errors
    /// Fails if there is no such pair, or if the set has no CLIP features.
    pub(super) fn clip_features(&self, examples: &[u32], captions: &[u32]) -> Result<ClipFeatures> {
        Ok(ClipFeatures {
            winner: self.rows(TensorName::ClipImage(Side::Winner), examples)?,
            loser: self.rows(TensorName::ClipImage(Side::Loser), examples)?,
            text: self.rows(TensorName::ClipText, captions)?,
        })
    }

    /// The number of each example's caption.
    ///
    /// # Errors
    /// Fails if there is no such example.
    pub fn captions_of(&self, indices: &[u32]) -> Result<Vec<u32>> {
        let number = |&index: &u32| {
            let (shard, row) = self.caption_row(index)?;
            u32::try_from(shard.captions_before + row).context("the set has too many captions")
        };
        indices.iter().map(number).collect()
    }

    /// The captions of examples, as texts.
    ///
    /// # Errors
    /// Fails if there is no such example, or if the list of captions is damaged.
    pub fn caption_texts(&self, indices: &[u32]) -> Result<Vec<String>> {
        let text = |&index: &u32| {
            let (shard, row) = self.caption_row(index)?;
            let list = shard.captions()?;
            list.get(row).cloned().context("the encoded set's list of captions is too short")
        };
        indices.iter().map(text).collect()
    }

    /// The different captions of each shard, in the order of the examples and without the empty one.
    ///
    /// # Errors
    /// Fails if a list of captions is damaged.
    pub fn captions(&self) -> Result<Vec<String>> {
        let mut all = Vec::new();
        for shard in &self.shards {
            all.extend(shard.captions()?.into_iter().filter(|caption| !caption.is_empty()));
        }
        Ok(all)
    }

    /// An example's shard, and the row of its caption in that shard.
    fn caption_row(&self, index: u32) -> Result<(&ShardFiles, usize)> {
        let (shard, local) = self.find(index as usize, false)?;
        let [row] = shard.with(TensorName::CaptionRow)?.integers(TensorName::CaptionRow, local)?;
        Ok((shard, row as usize))
    }

    /// The shard of an example or caption, and its row there.
    fn find(&self, index: usize, is_caption: bool) -> Result<(&ShardFiles, usize)> {
        let before =
            |shard: &ShardFiles| if is_caption { shard.captions_before } else { shard.examples_before };
        let after = self.shards.partition_point(|shard| before(shard) <= index);
        let shard = self.shards.get(after.wrapping_sub(1)).context("the encoded set is empty")?;
        Ok((shard, index - before(shard)))
    }
}

impl ShardFiles {
    /// The shard's captions; the empty one has row 0.
    fn captions(&self) -> Result<Vec<String>> {
        let list = self.with(TensorName::Captions)?.bytes(TensorName::Captions)?;
        serde_json::from_slice(list).context("the encoded set's list of captions is not valid")
    }

    /// The file with a tensor.
    fn with(&self, name: TensorName) -> Result<&Shard> {
        let found = self.files.iter().find(|file| file.has(name));
        found.with_context(|| format!("the encoded set has no tensor {name}"))
    }
}
