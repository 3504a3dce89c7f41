//! Encodes a set into shards. Shards that are up to date are kept, so an encoding that was killed resumes where it
//! stopped, and ends in the same bytes as an undisturbed one.

use super::cut::cut_captions;
use super::encoder::Encoder;
use super::examples::Examples;
use super::folder_lock::lock;
use super::frame::Frame;
use super::image_filter::{self, ImageFilter};
use super::key::{EncodedPart, set_key};
use super::manifest;
use super::shard_encoding::{ShardSlot, make_shard};
use anyhow::{Result, ensure};
use candle_core::Device;
use datasets::listing::rows_of;
use diffusion::part_folders::PartFolders;
use domain::data::DataSpec;
use domain::dataset::Dropped;
use domain::prepare::{ImageFilterSpec, ImageSpec, Manifest, ManifestPart};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// A set to be encoded, with the keys of its parts.
#[derive(Clone, Debug)]
pub struct Plan {
    data: DataSpec,
    frame: Frame,
    image_filter: Option<ImageFilterSpec>,
    /// SHA-256 of the filter's files, by name.
    filter_files: BTreeMap<String, String>,
    shard_size: usize,
    parts: Vec<(EncodedPart, ManifestPart)>,
}

impl Plan {
    /// Computes the keys of all parts, from the files of the set, the filter and the model's encoders.
    ///
    /// # Errors
    /// Fails if one of these files cannot be read, or if the size of the images does not suit the autoencoder.
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
        let set = set_key(data, shard_size, &filter_files)?;
        let mut parts = Vec::new();
        for part in EncodedPart::needed(image.mirrored, with_clip) {
            let encoder = part.encoder(folders)?;
            let key = part.key(&set, frame, &encoder)?;
            parts.push((part, ManifestPart { key, encoder, shards: BTreeMap::new() }));
        }
        let (data, image_filter) = (data.clone(), image_filter.cloned());
        Ok(Self { data, frame, image_filter, filter_files, shard_size, parts })
    }

    /// Name of the set's folder in a cache. It does not depend on CLIP features and mirrored images, so runs with and
    /// without them share a folder and the other parts.
    #[must_use]
    pub fn cache_name(&self) -> String {
        let shared = |part: &EncodedPart| matches!(part, EncodedPart::Latents | EncodedPart::Text);
        let keys = self.parts.iter().filter(|(part, _)| shared(part));
        keys.map(|(_, made)| made.key.get(..20).unwrap_or_default()).collect::<Vec<_>>().join("-")
    }

    /// Encodes the set into `folder`, as far as it is not up to date. `report` receives the number of rows done and
    /// their total (as far as it is known); its error stops the work, and finished shards stay.
    ///
    /// # Errors
    /// Fails if the set or the model cannot be read, if the folder cannot be written, or if `report` fails.
    pub fn carry_out(
        mut self,
        folder: &Path,
        folders: &PartFolders,
        device: &Device,
        report: &mut dyn FnMut(usize, usize) -> Result<()>,
    ) -> Result<Manifest> {
        if let Some(manifest) = manifest::up_to_date(folder, &self.parts)? {
            warn_of_cuts(&manifest);
            return Ok(manifest);
        }
        let total = usize::try_from(rows_of(&self.data).unwrap_or(0))?;
        let _lock = lock(folder, &mut || report(0, total.max(1)))?;
        // Another process may have encoded the set while this one waited.
        if let Some(manifest) = manifest::up_to_date(folder, &self.parts)? {
            return Ok(manifest);
        }
        let mut examples = Examples::open(&self.data)?;
        let mut encoder = Encoder::new(folders, device, self.frame);
        let mut filter = self.image_filter.as_ref().map(|spec| ImageFilter::new(spec, device));
        let (mut counts, mut dropped, mut done) = (Vec::new(), Vec::new(), 0);
        for number in 0.. {
            let slot = ShardSlot { folder, number, size: self.shard_size };
            let rows = make_shard(&slot, &mut self.parts, &mut examples, filter.as_mut(), &mut encoder)?;
            if rows.taken == 0 {
                break;
            }
            done += rows.taken;
            counts.push(rows.examples);
            dropped.extend(rows.dropped);
            report(done, total.max(done))?;
            if rows.taken < self.shard_size {
                break;
            }
        }
        report(done, done)?;
        let cut = cut_captions(folder, &counts, folders)?;
        let manifest = Manifest { cut, ..self.manifest(&examples, counts, dropped)? };
        manifest::write(folder, &manifest)?;
        warn_of_cuts(&manifest);
        Ok(manifest)
    }

    /// The manifest of the finished set. `counts` are the examples of each shard.
    fn manifest(self, examples: &Examples, counts: Vec<u32>, dropped: Vec<Dropped>) -> Result<Manifest> {
        let mut report = examples.report();
        let mut left_out: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
        for dropped in dropped {
            left_out.entry(dropped.source.file.clone()).or_default().insert(dropped.source.row);
            report.drop_pair(dropped);
        }
        ensure!(report.pairs > 0, "the set has no example that can be used: {}", report.explained());
        let parts = self.parts.into_iter().map(|(part, made)| (part.name().to_owned(), made)).collect();
        let Frame { width, height, crop } = self.frame;
        Ok(Manifest {
            data: self.data,
            size: [width, height],
            crop,
            image_filter: self.filter_files,
            report,
            left_out,
            cut: None,
            examples: counts,
            parts,
        })
    }
}

fn warn_of_cuts(manifest: &Manifest) {
    if let Some(cut) = &manifest.cut {
        tracing::warn!("captions: {cut}");
    }
}

/// The frame of a spec, in the model's default size where the spec names none.
fn frame_of(image: &ImageSpec, folders: &PartFolders) -> Result<Frame> {
    let (defaults, multiple) = folders.defaults()?;
    let size = [image.width.unwrap_or(defaults.width), image.height.unwrap_or(defaults.height)];
    ensure!(
        size.iter().all(|side| side % multiple == 0 && *side > 0),
        "image: width and height must be multiples of {multiple} for this model's autoencoder; {} x {} is not",
        size[0],
        size[1]
    );
    Ok(Frame { width: size[0], height: size[1], crop: image.crop })
}
