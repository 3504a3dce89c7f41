//! Cache keys of encoded parts: SHA-256 of everything that decides an encoder's output for a set. A changed model or
//! setting re-encodes the parts that depend on it, and no others.

use super::frame::Frame;
use anyhow::{Context, Result};
use datasets::listing::files_of;
use diffusion::layout::CLIP;
use diffusion::part_folders::PartFolders;
use diffusion::text_encoders::TextEncoders;
use diffusion::weights::{PartFiles, Stem};
use domain::data::DataSpec;
use evaluation::clip::files::ClipFiles;
use files::sha256;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

/// Version of the layout of shards and of the rules by which rows are read and numbered. Changes with them, so that older
/// shards are encoded again.
const FORMAT: &str = "4";

/// A part of an encoded set: the output of one encoder, in shard files of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum EncodedPart {
    /// Posteriors of the images, by the autoencoder.
    Latents,
    /// Posteriors of the mirrored images. Separate, so that runs with and without mirroring share the other parts.
    Mirrored,
    /// Hidden states and pooled text of the captions, by the text encoders.
    Text,
    /// CLIP features of images and captions.
    Clip,
}

impl EncodedPart {
    /// The parts that a run needs.
    pub(super) fn needed(mirrored: bool, with_clip: bool) -> impl Iterator<Item = Self> {
        let mirrored = mirrored.then_some(Self::Mirrored);
        let clip = with_clip.then_some(Self::Clip);
        [Some(Self::Latents), mirrored, Some(Self::Text), clip].into_iter().flatten()
    }

    /// The name in manifests and file names.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Latents => "latents",
            Self::Mirrored => "mirrored",
            Self::Text => "text",
            Self::Clip => CLIP,
        }
    }

    /// The model's files that decide the encoder's output.
    fn files(self, folders: &PartFolders) -> Result<Vec<PathBuf>> {
        let of = |part: &str, stem, names: &[&str]| -> Result<Vec<PathBuf>> {
            let folder = folders.part(part)?;
            let mut files: Vec<_> = names.iter().map(|name| folder.join(name)).collect();
            files.extend(PartFiles::locate(&folder, stem)?.files().iter().cloned());
            Ok(files)
        };
        Ok(match self {
            Self::Latents | Self::Mirrored => of("vae", Stem::NETWORK, &["config.json"])?,
            Self::Text => TextEncoders::files(folders)?,
            Self::Clip => ClipFiles::locate(&folders.part(CLIP)?)?.all(),
        })
    }

    /// SHA-256 of each file that decides the encoder's output, by `PART/FILE`.
    ///
    /// # Errors
    /// Fails if a file cannot be read.
    pub(super) fn encoder(self, folders: &PartFolders) -> Result<BTreeMap<String, String>> {
        let mut hashes = BTreeMap::new();
        for file in self.files(folders)? {
            let name = file.file_name().unwrap_or_default().to_string_lossy();
            let folder = file.parent().and_then(Path::file_name).unwrap_or_default().to_string_lossy();
            // The folder of a CLIP that a spec names can have any name.
            let part = if self == Self::Clip { CLIP } else { &folder };
            let mut key = format!("{part}/{name}");
            // Stacked adapters may be in folders of one name.
            while hashes.contains_key(&key) {
                key.push('+');
            }
            hashes.insert(key, sha256::of_unchanged_file(&file)?);
        }
        Ok(hashes)
    }

    /// The key of this part of the set with key `set`.
    pub(super) fn key(self, set: &str, frame: Frame, encoder: &BTreeMap<String, String>) -> Result<String> {
        // Neither captions nor CLIP features, which are of whole images, depend on the frame.
        let frame = match self {
            Self::Latents | Self::Mirrored => Some((frame.width, frame.height, frame.crop)),
            Self::Text | Self::Clip => None,
        };
        sha256_of(&(FORMAT, self.name(), set, frame, encoder))
    }
}

/// The key of a set and its division into shards. `filter` holds the SHA-256 of the image filter's files; it is empty
/// without one. Of the set's files the key covers names and contents; of a large file only parts of the content.
///
/// # Errors
/// Fails if a file cannot be read.
pub(super) fn set_key(
    data: &DataSpec,
    shard_size: usize,
    filter: &BTreeMap<String, String>,
) -> Result<String> {
    let mut files = BTreeMap::new();
    for file in files_of(data)? {
        files.insert(file.to_string_lossy().into_owned(), content_of(&file)?);
    }
    // Without the folder, so that a set that was moved keeps its key.
    let names: Vec<_> = files
        .iter()
        .map(|(file, content)| (file.rsplit('/').next().unwrap_or_default().to_owned(), content))
        .collect();
    let key = sha256_of(&(FORMAT, without_folder(data), shard_size, names))?;
    if filter.is_empty() { Ok(key) } else { sha256_of(&(key, filter)) }
}

fn without_folder(data: &DataSpec) -> DataSpec {
    let mut data = data.clone();
    match &mut data {
        DataSpec::PickAPic(spec) => spec.folder.clear(),
        DataSpec::Folder(spec) | DataSpec::Likes(spec) | DataSpec::WebDataset(spec) => spec.folder.clear(),
        DataSpec::Images(spec) => {
            spec.folder.clear();
            // Its files are part of the key.
            if let Some(losers) = &mut spec.losers {
                losers.folder = None;
            }
        }
        DataSpec::Shapes { .. } | DataSpec::Votes(_) | DataSpec::Drawn(_) | DataSpec::Prepared(_) => {}
    }
    data
}

/// Files up to this size are read whole.
const WHOLE: u64 = 16 << 20;
/// Bytes of each part of a larger file that is read.
const PART: u64 = 64 << 10;
/// Number of these parts, evenly spread. The last is the end: that of a parquet file describes all that is before it.
const PARTS: u64 = 64;

/// The size of a file and the SHA-256 of its content, or of parts of it.
fn content_of(file: &Path) -> Result<(u64, String)> {
    let read = || {
        let mut open = File::open(file)?;
        let length = open.metadata()?.len();
        let mut content = Vec::new();
        if length <= WHOLE {
            open.read_to_end(&mut content)?;
            return Ok((length, content));
        }
        for part in 0..PARTS {
            let first = u128::from(length - PART) * u128::from(part) / u128::from(PARTS - 1);
            open.seek(SeekFrom::Start(u64::try_from(first).unwrap_or_default()))?;
            open.by_ref().take(PART).read_to_end(&mut content)?;
        }
        Ok::<_, std::io::Error>((length, content))
    };
    let (length, content) = read().with_context(|| format!("cannot read {}", file.display()))?;
    Ok((length, sha256::of_bytes(&content)))
}

fn sha256_of(value: &impl Serialize) -> Result<String> {
    Ok(sha256::of_bytes(&serde_json::to_vec(value)?))
}
