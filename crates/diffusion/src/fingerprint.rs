//! The identity of a model: one SHA-256 of everything that decides its images.

use crate::config;
use crate::layout::{MODEL_INDEX, PARTS, SCHEDULE};
use crate::lora;
use crate::part_folders::PartFolders;
use crate::tokenizer::Tokenizer;
use crate::weights::{PartFiles, Stem};
use crate::{Error, Result};
use files::sha256;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// What decides a model's images: the SHA-256 of each thing, by a name that an error message can use (`vae weights`,
/// `scheduler config`, `adapter settings`).
///
/// Two models with equal fingerprints draw the same image from the same request. Paths, times, names of weights files, the
/// layout of a config and its notes (`_name_or_path`, versions) are not part of it. A model's bases are: a part that the
/// model lacks is that of its base.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Fingerprint {
    parts: BTreeMap<String, String>,
}

/// The name of the default settings in a fingerprint. They decide an image only where a request leaves them out.
pub const DEFAULTS: &str = "generation_config.json";
/// The name of the UNet's weights in a fingerprint.
const UNET_WEIGHTS: &str = "unet weights";

/// Keys of configs that decide nothing: where a config came from, and the type in which others load the weights.
const NOTES: [&str; 12] = [
    "_name_or_path",
    "_diffusers_version",
    "_commit_hash",
    "transformers_version",
    "dtype",
    "torch_dtype",
    "base_model_name_or_path",
    "revision",
    "peft_version",
    "inference_mode",
    "auto_mapping",
    "task_type",
];

impl Fingerprint {
    /// The fingerprint of a model. Large files that have not changed are read once in the life of the process.
    ///
    /// # Errors
    /// Fails if a part is missing or a file cannot be read.
    pub fn of(folders: &PartFolders) -> Result<Self> {
        let mut fingerprint = Self::of_untrained(folders)?;
        let unet = PartFiles::locate(&folders.part("unet")?, Stem::NETWORK)?;
        fingerprint.add(UNET_WEIGHTS, weights(&unet)?);
        let adapters = folders.adapters().into_iter().map(|file| Ok((Self::of_adapter(&file)?, 1.0)));
        Ok(fingerprint.with_adapters(&adapters.collect::<Result<Vec<_>>>()?))
    }

    /// As [`Self::of`], without the weights of the UNet: for a run that begins from random ones.
    ///
    /// # Errors
    /// As [`Self::of`].
    pub fn of_untrained(folders: &PartFolders) -> Result<Self> {
        let mut fingerprint = Self::default();
        for (part, stem) in PARTS {
            let is_optional = part == "text_encoder_2";
            let folder = match folders.part(part) {
                Err(_) if is_optional => continue,
                folder => folder?,
            };
            fingerprint.add(&format!("{part} config"), settings(&folder.join("config.json"))?);
            if part != "unet" {
                fingerprint.add(&format!("{part} weights"), weights(&PartFiles::locate(&folder, stem)?)?);
            }
            if let Some(number) = part.strip_prefix("text_encoder") {
                let name = format!("tokenizer{number}");
                let hash = tokenizer(&folders.part(&name)?)?;
                fingerprint.add(&name, hash);
            }
        }
        fingerprint.add("scheduler config", settings(&folders.part(SCHEDULE)?)?);
        for (name, keys) in [
            (DEFAULTS, &["num_inference_steps", "guidance_scale", "sampler"][..]),
            (MODEL_INDEX, &["force_zeros_for_empty_prompt"][..]),
        ] {
            if let Ok(file) = folders.part(name) {
                let hash = chosen(&file, |key| keys.contains(&key))?;
                fingerprint.add(name, hash);
            }
        }
        Ok(fingerprint)
    }

    /// The fingerprint of an adapter alone: its weights, and the settings that lie beside them.
    ///
    /// # Errors
    /// Fails if a file cannot be read.
    pub fn of_adapter(file: &Path) -> Result<Self> {
        let mut fingerprint = Self::default();
        fingerprint.add("weights", sha256::of_unchanged_file(file)?);
        if let Some(beside) = lora::settings_file(file)?.filter(|beside| beside.is_file()) {
            fingerprint.add("settings", settings(&beside)?);
        }
        Ok(fingerprint)
    }

    /// The fingerprint of the model with adapters applied to it, in this order and with these scales. An adapter of scale
    /// 1 gives the fingerprint of the model that has the adapter in its folder.
    #[must_use]
    pub fn with_adapters(mut self, adapters: &[(Self, f64)]) -> Self {
        let first = self.adapters() + 1;
        for (number, (adapter, scale)) in (first..).zip(adapters) {
            let name = if number == 1 { "adapter".to_owned() } else { format!("adapter {number}") };
            for (part, hash) in &adapter.parts {
                self.add(&format!("{name} {part}"), hash.clone());
            }
            if scale.to_bits() != 1.0_f64.to_bits() {
                self.add(&format!("{name} scale"), sha256::of_bytes(&scale.to_bits().to_le_bytes()));
            }
        }
        self
    }

    /// The same without one of its parts, for a use that this part does not affect.
    #[must_use]
    pub fn without(mut self, part: &str) -> Self {
        self.parts.remove(part);
        self
    }

    /// One SHA-256 of all parts, in hexadecimal.
    #[must_use]
    pub fn sha256(&self) -> String {
        // Neither a part's name nor a hash has a line break.
        let lines: String = self.parts.iter().map(|(part, hash)| format!("{part}\n{hash}\n")).collect();
        sha256::of_bytes(lines.as_bytes())
    }

    /// The SHA-256 of each part, by name.
    #[must_use]
    pub fn parts(&self) -> &BTreeMap<String, String> {
        &self.parts
    }

    /// The names of the parts that differ or that only one of the two has, sorted.
    #[must_use]
    pub fn differences(&self, other: &Self) -> Vec<String> {
        let mut names: Vec<&String> = self.parts.keys().chain(other.parts.keys()).collect();
        names.sort();
        names.dedup();
        names.into_iter().filter(|name| self.parts.get(*name) != other.parts.get(*name)).cloned().collect()
    }

    fn adapters(&self) -> usize {
        self.parts.keys().filter(|part| part.starts_with("adapter") && part.ends_with(" weights")).count()
    }

    fn add(&mut self, part: &str, hash: String) {
        self.parts.insert(part.to_owned(), hash);
    }
}

/// The hash of a part's weights: of one file its SHA-256; of shards that of their hashes and of the shard of each tensor.
fn weights(files: &PartFiles) -> Result<String> {
    let hashes: Vec<String> =
        files.files().iter().map(|file| sha256::of_unchanged_file(file)).collect::<Result<_, _>>()?;
    match (&hashes[..], files.shards()) {
        ([only], _) => Ok(only.clone()),
        (_, shards) => of_value(files.origin(), &(&hashes, shards)),
    }
}

/// The hash of the files of a tokenizer. Their names say what they mean.
fn tokenizer(folder: &Path) -> Result<String> {
    let mut hashes = BTreeMap::new();
    for file in Tokenizer::files(folder) {
        let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        hashes.insert(name, sha256::of_unchanged_file(&file)?);
    }
    of_value(folder, &hashes)
}

/// The hash of a config's settings, without its notes.
fn settings(file: &Path) -> Result<String> {
    chosen(file, |key| !NOTES.contains(&key))
}

/// The hash of some keys of a JSON object with their values, whatever its layout; of a file that is none, that of its bytes.
fn chosen(file: &Path, is_chosen: impl Fn(&str) -> bool) -> Result<String> {
    match config::read::<Map<String, Value>>(file) {
        Ok(mut object) => {
            object.retain(|key, _| is_chosen(key));
            // Without the feature preserve_order, keys are sorted.
            of_value(file, &object)
        }
        Err(_) => {
            let bytes = fs::read(file).map_err(|error| Error::file(file, error))?;
            Ok(sha256::of_bytes(&bytes))
        }
    }
}

fn of_value(file: &Path, value: &impl Serialize) -> Result<String> {
    let bytes = serde_json::to_vec(value).map_err(|error| Error::format(file, error))?;
    Ok(sha256::of_bytes(&bytes))
}
