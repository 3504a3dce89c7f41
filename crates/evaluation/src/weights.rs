//! The tensors of a published weights file in f32: a torch pickle of either format, or safetensors.

use candle_core::{DType, Device, Tensor};
use diffusion::torch_file::{Dtype, StoredTensor, WeightsFile};
use diffusion::{Error, Result};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The key under which training scripts store a model in their checkpoint.
const USUAL_ROOT: &str = "state_dict";
/// Names of weights files in a folder, in order of preference.
const USUAL_NAMES: [&str; 4] =
    ["model.safetensors", "open_clip_model.safetensors", "open_clip_pytorch_model.bin", "pytorch_model.bin"];

/// A file and its tensors by name.
pub(crate) struct Weights {
    pub(crate) file: PathBuf,
    pub(crate) tensors: BTreeMap<String, Tensor>,
}

impl Weights {
    /// Reads a file, or the weights file of a folder.
    ///
    /// # Errors
    /// Fails if the file is missing or damaged, or has a tensor that is not of floating point.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let path = file_of(path)?;
        let file = WeightsFile::open(&path)?;
        let root = file.roots().into_iter().find(|root| root == USUAL_ROOT);
        let listing = file.list(root.as_deref())?;
        let bad = |tensor: &str, problem: String| Error::Tensor {
            origin: path.display().to_string(),
            tensor: tensor.to_owned(),
            problem,
        };
        if let Some((name, problem)) = listing.unreadable.into_iter().next() {
            return Err(bad(&name, problem));
        }
        let mut tensors = BTreeMap::new();
        for (name, stored) in listing.tensors {
            // A constant index in old files, not a parameter.
            if name.ends_with("position_ids") {
                continue;
            }
            let dtype = float(stored.dtype()).ok_or_else(|| {
                bad(&name, format!("has type {:?}, but weights are floats", stored.dtype()))
            })?;
            tensors.insert(name, tensor(&file, &stored, dtype)?);
        }
        Ok(Self { file: path, tensors })
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

/// The path itself, or the weights file of a folder.
fn file_of(path: &Path) -> Result<PathBuf> {
    if !path.is_dir() {
        return Ok(path.to_owned());
    }
    USUAL_NAMES.iter().map(|name| path.join(name)).find(|file| file.is_file()).ok_or_else(|| Error::Format {
        file: path.to_owned(),
        problem: format!("has none of {}: give the path of the weights file", USUAL_NAMES.join(", ")),
    })
}

/// SHA-256 of the weights at a path, in hexadecimal.
pub(crate) fn sha256(path: &Path) -> Result<String> {
    files::sha256::of_file(&file_of(path)?).map_err(|e| Error::File { file: e.path, source: e.source })
}

fn float(dtype: Dtype) -> Option<DType> {
    match dtype {
        Dtype::F16 => Some(DType::F16),
        Dtype::BF16 => Some(DType::BF16),
        Dtype::F32 => Some(DType::F32),
        Dtype::F64 => Some(DType::F64),
        _ => None,
    }
}

fn tensor(file: &WeightsFile, stored: &StoredTensor, dtype: DType) -> Result<Tensor> {
    let mut bytes = Vec::new();
    file.read(stored, &mut |portion| {
        bytes.extend_from_slice(portion);
        Ok(())
    })?;
    Ok(Tensor::from_raw_buffer(&bytes, dtype, stored.shape(), &Device::Cpu)?.to_dtype(DType::F32)?)
}
