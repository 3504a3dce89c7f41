//! The files of a CLIP, in a folder or among those of a repository.

use diffusion::weights::{PartFiles, Stem};
use diffusion::{Error, Result};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// transformers' config.
pub(super) const CONFIG: &str = "config.json";
/// OpenCLIP's config.
const OPEN_CLIP_CONFIG: &str = "open_clip_config.json";
/// Names of OpenCLIP's weights, best first.
const OPEN_CLIP_WEIGHTS: [&str; 2] = ["open_clip_model.safetensors", "open_clip_pytorch_model.bin"];
/// The vocabulary, in both layouts.
const VOCABULARY: [&str; 2] = ["vocab.json", "merges.txt"];
/// Files of transformers' layout that are read if they exist.
const OPTIONAL: [&str; 5] = [
    "preprocessor_config.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    WHOLE_TOKENIZER,
];
/// The file that transformers 5 writes instead of the vocabulary's two.
const WHOLE_TOKENIZER: &str = "tokenizer.json";

/// The files of a CLIP's folder that decide its features.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClipFiles {
    /// transformers' layout.
    Transformers {
        /// Config, weights, vocabulary and preprocessing.
        files: Vec<PathBuf>,
    },
    /// OpenCLIP's layout.
    OpenClip {
        /// `open_clip_config.json`.
        config: PathBuf,
        /// The weights.
        weights: PathBuf,
        /// `vocab.json` and `merges.txt`.
        vocabulary: Vec<PathBuf>,
    },
}

/// The layout and the name of the weights among the files that `has` knows.
fn weights_among(has: &dyn Fn(&str) -> bool) -> Option<(&'static str, String)> {
    let transformers = Stem::TRANSFORMER.names().into_iter().find(|name| has(name)).filter(|_| has(CONFIG));
    let open_clip = || OPEN_CLIP_WEIGHTS.into_iter().find(|name| has(name)).filter(|_| has(OPEN_CLIP_CONFIG));
    transformers
        .map(|name| (CONFIG, name))
        .or_else(|| open_clip().map(|name| (OPEN_CLIP_CONFIG, name.to_owned())))
}

/// Why a folder or repository is no CLIP; `None` if it is one.
fn problem(has: &dyn Fn(&str) -> bool) -> Option<String> {
    let found = weights_among(has);
    if found.is_none() {
        return Some(format!(
            "is not a CLIP: it needs {CONFIG} with {} (transformers), or {OPEN_CLIP_CONFIG} with {} (OpenCLIP)",
            Stem::TRANSFORMER.written(),
            OPEN_CLIP_WEIGHTS.join(" or ")
        ));
    }
    if found.is_some_and(|(config, _)| config == CONFIG) && has(WHOLE_TOKENIZER) {
        return None;
    }
    let missing: Vec<&str> = VOCABULARY.into_iter().filter(|name| !has(name)).collect();
    (!missing.is_empty()).then(|| {
        format!(
            "lacks {}: copy them from openai/clip-vit-large-patch14, all CLIPs share them",
            missing.join(" and ")
        )
    })
}

impl ClipFiles {
    /// The files of a CLIP in a folder.
    ///
    /// # Errors
    /// Fails if the folder has neither layout or lacks a file of it.
    pub fn locate(folder: &Path) -> Result<Self> {
        let has = |name: &str| folder.join(name).is_file();
        if let Some(problem) = problem(&has) {
            return Err(Error::Format { file: folder.to_owned(), problem });
        }
        let vocabulary = VOCABULARY.map(|name| folder.join(name));
        match weights_among(&has) {
            Some((OPEN_CLIP_CONFIG, weights)) => Ok(Self::OpenClip {
                config: folder.join(OPEN_CLIP_CONFIG),
                weights: folder.join(weights),
                vocabulary: vocabulary.into(),
            }),
            _ => {
                let mut files = vec![folder.join(CONFIG)];
                files.extend(PartFiles::locate(folder, Stem::TRANSFORMER)?.files().iter().cloned());
                files.extend(vocabulary.into_iter().filter(|file| file.is_file()));
                files
                    .extend(OPTIONAL.map(|name| folder.join(name)).into_iter().filter(|file| file.is_file()));
                Ok(Self::Transformers { files })
            }
        }
    }

    /// All files, in no particular order.
    #[must_use]
    pub fn all(self) -> Vec<PathBuf> {
        match self {
            Self::Transformers { files } => files,
            Self::OpenClip { config, weights, vocabulary } => {
                [config, weights].into_iter().chain(vocabulary).collect()
            }
        }
    }

    /// The names of the files that a CLIP needs, among those of a repository. Shards are not among them: transformers' index
    /// names them.
    ///
    /// # Errors
    /// Says what is missing.
    pub fn among(names: &BTreeSet<String>) -> std::result::Result<Vec<String>, String> {
        let has = |name: &str| names.contains(name);
        if let Some(problem) = problem(&has) {
            return Err(problem);
        }
        let found = weights_among(&has).map(|(config, weights)| [config.to_owned(), weights]);
        let others = VOCABULARY.into_iter().chain(OPTIONAL).filter(|name| has(name)).map(str::to_owned);
        Ok(found.into_iter().flatten().chain(others).collect())
    }
}
