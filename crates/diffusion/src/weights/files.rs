//! Which files hold the weights of a part of a model (`unet/`, `vae/`, `text_encoder/`, ...).

use crate::{Error, Result, config};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// What a part's weights files are called, without endings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stem {
    safetensors: &'static str,
    pickle: &'static str,
}

impl Stem {
    /// Of diffusers' networks.
    pub const NETWORK: Self =
        Self { safetensors: "diffusion_pytorch_model", pickle: "diffusion_pytorch_model" };
    /// Of transformers' models.
    pub const TRANSFORMER: Self = Self { safetensors: "model", pickle: "pytorch_model" };

    /// The names that count, best first: full precision before half, one file before shards, safetensors before
    /// pickles. An index stands for its shards.
    #[must_use]
    pub fn names(self) -> [String; 8] {
        let Self { safetensors, pickle } = self;
        [
            format!("{safetensors}.safetensors"),
            format!("{safetensors}.safetensors.index.json"),
            format!("{pickle}.bin"),
            format!("{pickle}.bin.index.json"),
            format!("{safetensors}.fp16.safetensors"),
            format!("{safetensors}.safetensors.index.fp16.json"),
            format!("{pickle}.fp16.bin"),
            format!("{pickle}.bin.index.fp16.json"),
        ]
    }

    /// How many of [`Stem::names`] are in full precision; the others are in half.
    pub const FULL: usize = 4;
}

/// The files that hold the weights of a part: one, or the shards that an index names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartFiles {
    /// The one file, or the index.
    pub(super) origin: PathBuf,
    /// In the order of their names.
    files: Vec<PathBuf>,
    /// Where the index says that each tensor is, as a place in `files`.
    pub(super) places: Option<BTreeMap<String, usize>>,
}

/// `*.index.json`.
#[derive(Debug, Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

impl PartFiles {
    /// The first of the stem's names that `folder` has, and what belongs to it.
    ///
    /// # Errors
    /// The folder has none, or an index that cannot be read or whose shards are not all there.
    pub fn locate(folder: &Path, stem: Stem) -> Result<Self> {
        let names = stem.names();
        let Some(origin) = names.iter().map(|name| folder.join(name)).find(|file| file.is_file()) else {
            return Err(Error::format(&folder.join(&names[0]), absent(folder, &names)));
        };
        if origin.extension().is_some_and(|ending| ending == "json") {
            Self::of_index(origin)
        } else {
            Ok(Self::one(&origin))
        }
    }

    /// One file.
    #[must_use]
    pub fn one(file: &Path) -> Self {
        Self { origin: file.to_owned(), files: vec![file.to_owned()], places: None }
    }

    fn of_index(origin: PathBuf) -> Result<Self> {
        let Index { weight_map } = config::read(&origin)?;
        let folder = origin.parent().unwrap_or(Path::new("."));
        let mut names: Vec<&String> = weight_map.values().collect();
        names.sort();
        names.dedup();
        if names.is_empty() {
            return Err(Error::format(&origin, "weight_map: names no shard"));
        }
        if let Some(name) =
            names.iter().find(|name| Path::new(name.as_str()).file_name() != Some(name.as_ref()))
        {
            let problem = format!("weight_map: {name:?} is no name of a file in the same folder");
            return Err(Error::format(&origin, problem));
        }
        let files: Vec<PathBuf> = names.iter().map(|name| folder.join(name)).collect();
        let missing: Vec<&str> = names
            .iter()
            .zip(&files)
            .filter(|(_, file)| !file.is_file())
            .map(|(name, _)| name.as_str())
            .collect();
        if !missing.is_empty() {
            let problem = format!(
                "{} of {} shards are not there: {}; copy or download them",
                missing.len(),
                files.len(),
                missing.join(", ")
            );
            return Err(Error::format(&origin, problem));
        }
        let places = weight_map
            .iter()
            .filter_map(|(tensor, name)| Some((tensor.clone(), names.binary_search(&name).ok()?)))
            .collect();
        Ok(Self { origin, files, places: Some(places) })
    }

    /// The files with the weights themselves, sorted.
    #[must_use]
    pub fn files(&self) -> &[PathBuf] {
        &self.files
    }

    /// The one file, or the index of the shards.
    #[must_use]
    pub fn origin(&self) -> &Path {
        &self.origin
    }
}

/// What to say of a folder without weights.
fn absent(folder: &Path, names: &[String; 8]) -> String {
    let mut others: Vec<String> = std::fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| {
            [".safetensors", ".bin", ".msgpack", ".onnx", ".ckpt"].iter().any(|end| name.ends_with(end))
        })
        .collect();
    others.sort();
    others.truncate(4);
    let there = match &others[..] {
        [] => String::new(),
        others => format!(" (it has {}, which is none of these)", others.join(", ")),
    };
    format!("is not there: the folder needs weights, in one of {}{there}", names.join(", "))
}
