//! The files with the weights of a part of a model (`unet/`, `vae/`, `text_encoder/`, ...).

use crate::{Error, Result, config};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The names of a part's weights files, without extensions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stem {
    safetensors: &'static str,
    pickle: &'static str,
}

impl Stem {
    /// diffusers' networks.
    pub const NETWORK: Self =
        Self { safetensors: "diffusion_pytorch_model", pickle: "diffusion_pytorch_model" };
    /// transformers' models.
    pub const TRANSFORMER: Self = Self { safetensors: "model", pickle: "pytorch_model" };

    /// OpenCLIP's models.
    pub const OPEN_CLIP: Self = Self { safetensors: "open_clip_model", pickle: "open_clip_pytorch_model" };

    /// The accepted file names, best first: full precision before F16 before BF16, safetensors before pickles, one file before
    /// shards. Shards are represented by their index.
    #[must_use]
    pub fn names(self) -> Vec<String> {
        self.names_preferring(Variant::Full)
    }

    /// As [`Stem::names`], with the names of `variant` first.
    #[must_use]
    pub fn names_preferring(self, variant: Variant) -> Vec<String> {
        let Self { safetensors, pickle } = self;
        let others = Variant::ALL.into_iter().filter(|other| *other != variant);
        let names = |variant: Variant| {
            let part = variant.part();
            [
                format!("{safetensors}{part}.safetensors"),
                format!("{safetensors}.safetensors.index{part}.json"),
                format!("{pickle}{part}.bin"),
                format!("{pickle}.bin.index{part}.json"),
            ]
        };
        std::iter::once(variant).chain(others).flat_map(names).collect()
    }

    /// The name of the file that is written: one safetensors file in full precision.
    #[must_use]
    pub fn written(self) -> String {
        format!("{}.safetensors", self.safetensors)
    }
}

/// A precision in which a part's weights can be published beside others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Variant {
    /// The name without an addition, usually F32.
    Full,
    /// F16.
    Fp16,
    /// BF16.
    Bf16,
}

impl Variant {
    const ALL: [Self; 3] = [Self::Full, Self::Fp16, Self::Bf16];

    /// The part of file names that says it.
    fn part(self) -> &'static str {
        match self {
            Self::Full => "",
            Self::Fp16 => ".fp16",
            Self::Bf16 => ".bf16",
        }
    }
}

/// The weights files of a part: one file, or the shards that an index lists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartFiles {
    /// The single file, or the index.
    origin: PathBuf,
    /// Sorted by name.
    files: Vec<PathBuf>,
    /// For each tensor in the index, the position in `files` of its shard.
    pub(super) shards: Option<BTreeMap<String, usize>>,
}

/// `*.index.json`.
#[derive(Debug, Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

impl PartFiles {
    /// Finds the best of the stem's files in `folder`.
    ///
    /// # Errors
    /// Fails if the folder has none, or if an index cannot be read or a shard is missing.
    pub fn locate(folder: &Path, stem: Stem) -> Result<Self> {
        Self::first_of(folder, &stem.names())
    }

    /// Finds the first of the files in `folder`, of which some may be indices.
    ///
    /// # Errors
    /// As [`PartFiles::locate`].
    pub fn first_of(folder: &Path, names: &[String]) -> Result<Self> {
        let Some(origin) = names.iter().map(|name| folder.join(name)).find(|file| file.is_file()) else {
            let first = names.first().map_or("", String::as_str);
            return Err(Error::format(&folder.join(first), missing_problem(folder, names)));
        };
        Self::at(&origin)
    }

    /// A file, or the shards of an index (`.json`).
    ///
    /// # Errors
    /// Fails if an index cannot be read or a shard is missing.
    pub fn at(origin: &Path) -> Result<Self> {
        if origin.extension().is_some_and(|ending| ending == "json") {
            Self::of_index(origin.to_owned())
        } else {
            Ok(Self::one(origin))
        }
    }

    /// A single file.
    #[must_use]
    pub fn one(file: &Path) -> Self {
        Self { origin: file.to_owned(), files: vec![file.to_owned()], shards: None }
    }

    fn of_index(origin: PathBuf) -> Result<Self> {
        let Index { weight_map } = config::read(&origin)?;
        let names = shards_of(&weight_map).map_err(|problem| Error::format(&origin, problem))?;
        let folder = origin.parent().unwrap_or(Path::new("."));
        let files: Vec<PathBuf> = names.iter().map(|name| folder.join(name)).collect();
        let missing: Vec<&str> = names
            .iter()
            .zip(&files)
            .filter(|(_, file)| !file.is_file())
            .map(|(name, _)| name.as_str())
            .collect();
        if !missing.is_empty() {
            let problem = format!(
                "{} of {} shards are missing: {}; copy or download them",
                missing.len(),
                files.len(),
                missing.join(", ")
            );
            return Err(Error::format(&origin, problem));
        }
        let shards = weight_map
            .iter()
            .filter_map(|(tensor, name)| Some((tensor.clone(), names.binary_search(&name).ok()?)))
            .collect();
        Ok(Self { origin, files, shards: Some(shards) })
    }

    /// The files with the weights (not the index), sorted by name.
    #[must_use]
    pub fn files(&self) -> &[PathBuf] {
        &self.files
    }

    /// The single file, or the index of the shards.
    #[must_use]
    pub fn origin(&self) -> &Path {
        &self.origin
    }

    /// For each tensor in the index, the position in [`Self::files`] of its shard; `None` for a single file.
    #[must_use]
    pub fn shards(&self) -> Option<&BTreeMap<String, usize>> {
        self.shards.as_ref()
    }
}

/// The names of the shards that an index lists, each once, sorted. They are in the index's folder.
///
/// # Errors
/// Fails if the file is not an index, or if it lists no shard or one in another folder.
pub fn shard_names(index: &Path) -> Result<Vec<String>> {
    let Index { weight_map } = config::read(index)?;
    let names = shards_of(&weight_map).map_err(|problem| Error::format(index, problem))?;
    Ok(names.into_iter().cloned().collect())
}

fn shards_of(weight_map: &BTreeMap<String, String>) -> std::result::Result<Vec<&String>, String> {
    let mut names: Vec<&String> = weight_map.values().collect();
    names.sort();
    names.dedup();
    if names.is_empty() {
        return Err("weight_map: lists no shards".to_owned());
    }
    let leaves =
        |name: &&&String| name.contains('\\') || Path::new(name.as_str()).file_name() != Some(name.as_ref());
    match names.iter().find(leaves) {
        Some(name) => Err(format!("weight_map: {name:?} is not a file name in the same folder")),
        None => Ok(names),
    }
}

/// The problem of a folder without weights.
fn missing_problem(folder: &Path, names: &[String]) -> String {
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
    let found = match &others[..] {
        [] => String::new(),
        others => format!(" (it has {}, which is none of these)", others.join(", ")),
    };
    format!("is missing: the folder needs weights in one of {}{found}", names.join(", "))
}
