//! The tensors of a published weights file in f32: a torch pickle of either format, or safetensors.

use candle_core::{DType, Tensor};
use diffusion::weights::{PartFiles, Stem, StoredWeights, refuse_not_finite};
use diffusion::{Error, Result};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// A file and its tensors by name.
pub(crate) struct Weights {
    pub(crate) file: PathBuf,
    pub(crate) tensors: BTreeMap<String, Tensor>,
}

impl Weights {
    /// Reads a file, or the weights of a folder.
    ///
    /// # Errors
    /// Fails if a file is missing or damaged, or has a tensor that is not of floating point or not finite.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let files = files_of(path)?;
        let stored = StoredWeights::open(&files)?;
        stored.refuse_unreadable()?;
        let mut tensors = BTreeMap::new();
        for (name, shape) in stored.shapes() {
            // A constant index in old files, not a parameter.
            if name.ends_with("position_ids") {
                continue;
            }
            let tensor = stored.read(name, shape, DType::F32)?;
            refuse_not_finite(stored.origin(), name, &tensor)?;
            tensors.insert(name.to_owned(), tensor);
        }
        Ok(Self { file: files.origin().to_owned(), tensors })
    }

    /// An error about a tensor of this file.
    pub(crate) fn error(&self, tensor: &str, problem: impl Into<String>) -> Error {
        Error::Tensor {
            origin: self.file.display().to_string(),
            tensor: tensor.to_owned(),
            problem: problem.into(),
        }
    }

    /// The shape of a tensor with `N` dimensions.
    ///
    /// # Errors
    /// Fails if the tensor is missing or has another number of dimensions.
    pub(crate) fn shape<const N: usize>(&self, name: &str) -> Result<[usize; N]> {
        let tensor = self.tensors.get(name).ok_or_else(|| self.error(name, "is missing"))?;
        let dims = tensor.dims();
        dims.try_into()
            .map_err(|_| self.error(name, format!("has shape {dims:?}, but {N} dimensions are expected")))
    }

    /// The number of consecutive tensors `before0after`, `before1after`, and so on.
    pub(crate) fn count(&self, before: &str, after: &str) -> usize {
        (0..).take_while(|i| self.tensors.contains_key(&format!("{before}{i}{after}"))).count()
    }
}

/// The file itself, or the weights of a folder.
fn files_of(path: &Path) -> Result<PartFiles> {
    if !path.is_dir() {
        return PartFiles::at(path);
    }
    // Beside OpenCLIP's weights, transformers' safetensors are the same model, and its pickle may be.
    let (safetensors, pickles): (Vec<String>, Vec<String>) =
        Stem::TRANSFORMER.names().into_iter().partition(|name| name.contains(".safetensors"));
    PartFiles::first_of(path, &[safetensors, Stem::OPEN_CLIP.names(), pickles].concat())
}

/// SHA-256 of the weights at a path, in hexadecimal.
pub(crate) fn sha256(path: &Path) -> Result<String> {
    let files = files_of(path)?;
    let hash = files::sha256::of_files(files.files().iter().map(PathBuf::as_path));
    hash.map_err(|e| Error::File { file: e.path, source: e.source })
}
