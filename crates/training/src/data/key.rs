//! Keys: SHA-256 of everything that decides what an encoder makes of a set, so that a changed model or setting makes
//! anew what it must and nothing else.

use super::images::Frame;
use anyhow::{Context, Result};
use datasets::listing::files_of;
use diffusion::part_folders::PartFolders;
use diffusion::text_encoders::TextEncoders;
use diffusion::weights::{PartFiles, Stem};
use domain::data::DataSpec;
use files::sha256;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

/// Changes when the layout of shards does.
const FORMAT: &str = "3";

/// What one encoder makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// The autoencoder's posteriors.
    Latents,
    /// Those of the same images turned left to right. A part of its own, so that runs with and without share the rest.
    Mirrored,
    /// Text states.
    Text,
    /// CLIP's features.
    Clip,
}

impl Part {
    /// The word in manifests and names of files.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Latents => "latents",
            Self::Mirrored => "mirrored",
            Self::Text => "text",
            Self::Clip => "clip",
        }
    }

    /// Files of the model that decide it.
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
            Self::Clip => {
                let mut files = of("clip", Stem::TRANSFORMER, &["config.json", "vocab.json", "merges.txt"])?;
                let preprocessor = folders.part("clip")?.join("preprocessor_config.json");
                files.extend(preprocessor.is_file().then_some(preprocessor));
                files
            }
        })
    }

    /// SHA-256 of each file of its encoder, by part and name.
    ///
    /// # Errors
    /// One cannot be read.
    pub fn encoder(self, folders: &PartFolders) -> Result<BTreeMap<String, String>> {
        let mut hashes = BTreeMap::new();
        for file in self.files(folders)? {
            let name = file.file_name().unwrap_or_default().to_string_lossy();
            let part = file.parent().and_then(Path::file_name).unwrap_or_default().to_string_lossy();
            hashes.insert(format!("{part}/{name}"), sha256::of_file(&file)?);
        }
        Ok(hashes)
    }

    /// Its key for a set that is cut into shards.
    ///
    /// # Errors
    /// serde's.
    pub fn key(self, cut: &str, frame: Frame, encoder: &BTreeMap<String, String>) -> Result<String> {
        // Text does not depend on what is seen of images, nor does CLIP, which sees them whole.
        let frame = match self {
            Self::Latents | Self::Mirrored => Some((frame.width, frame.height, frame.crop)),
            Self::Text | Self::Clip => None,
        };
        sha256_of(&(FORMAT, self.name(), cut, frame, encoder))
    }
}

/// Stands for a set and its division into shards. Of files it reads the names, sizes and ends: the end of a parquet
/// file describes all that lies before.
///
/// # Errors
/// A file cannot be read.
pub fn cut(data: &DataSpec, shard_size: usize) -> Result<String> {
    let mut files = BTreeMap::new();
    for file in files_of(data)? {
        files.insert(file.to_string_lossy().into_owned(), end_of(&file)?);
    }
    // A set is the same wherever its folder lies.
    let names: Vec<_> = files
        .iter()
        .map(|(file, end)| (file.rsplit('/').next().unwrap_or_default().to_owned(), end))
        .collect();
    sha256_of(&(FORMAT, without_folder(data), shard_size, names))
}

/// The same with the files of the filter that decides which of its images are left out, where there is one.
///
/// # Errors
/// serde's.
pub fn held_to(cut: String, filter: &BTreeMap<String, String>) -> Result<String> {
    if filter.is_empty() { Ok(cut) } else { sha256_of(&(cut, filter)) }
}

fn without_folder(data: &DataSpec) -> DataSpec {
    let mut data = data.clone();
    match &mut data {
        DataSpec::PickAPic(spec) => spec.folder.clear(),
        DataSpec::Folder(spec) | DataSpec::WebDataset(spec) => spec.folder.clear(),
        DataSpec::Shapes { .. } | DataSpec::Votes(_) | DataSpec::Prepared(_) => {}
    }
    data
}

/// Bytes at a file's end that stand for the file.
const END: u64 = 64 << 10;

fn end_of(file: &Path) -> Result<(u64, String)> {
    let read = || {
        let mut open = File::open(file)?;
        let length = open.metadata()?.len();
        open.seek(SeekFrom::Start(length.saturating_sub(END)))?;
        let mut end = Vec::new();
        open.take(END).read_to_end(&mut end)?;
        Ok::<_, std::io::Error>((length, end))
    };
    let (length, end) = read().with_context(|| format!("cannot read {}", file.display()))?;
    Ok((length, sha256::of_bytes(&end)))
}

fn sha256_of(value: &impl Serialize) -> Result<String> {
    Ok(sha256::of_bytes(&serde_json::to_vec(value)?))
}
