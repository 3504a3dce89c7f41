//! The weights of a part as they lie in its files: read tensor by tensor, so that never more than one of them is in
//! memory beside the network that is being built.

use super::files::PartFiles;
use crate::torch_file::{Dtype, StoredTensor, WeightsFile};
use crate::{Error, Result};
use candle_core::{DType, Device, Tensor};
use half::{bf16, f16};
use std::collections::BTreeMap;

/// How many problems an error names.
const SHOWN: usize = 8;
/// The place in a pickle where frameworks keep the weights among other things.
const USUAL_ROOT: &str = "state_dict";

/// A part's tensors, each in its file.
#[derive(Debug)]
pub struct StoredWeights {
    origin: String,
    files: Vec<WeightsFile>,
    tensors: BTreeMap<String, (usize, StoredTensor)>,
    /// Tensors that are there and cannot be read, with the reason.
    unreadable: BTreeMap<String, String>,
}

impl StoredWeights {
    /// Reads everything but the tensors' elements.
    ///
    /// # Errors
    /// A file that is damaged, a shard that lacks what the index says it has, or two shards with the same tensor.
    pub fn open(part: &PartFiles) -> Result<Self> {
        let origin = part.origin().display().to_string();
        let mut stored =
            Self { origin, files: vec![], tensors: BTreeMap::new(), unreadable: BTreeMap::new() };
        for (i, path) in part.files().iter().enumerate() {
            let file = WeightsFile::open(path)?;
            let root = (file.roots() == [USUAL_ROOT]).then_some(USUAL_ROOT);
            let listing = file.list(root)?;
            stored.unreadable.extend(listing.unreadable);
            for (name, tensor) in listing.tensors {
                if let Some((before, _)) = stored.tensors.insert(name.clone(), (i, tensor)) {
                    let problem = if before == i {
                        "is there twice".to_owned()
                    } else {
                        format!("is in {} too", part.files()[before].display())
                    };
                    return Err(Error::tensor(path.display().to_string(), name, problem));
                }
            }
            stored.files.push(file);
        }
        let mut problems = vec![];
        for (name, &place) in part.places.iter().flatten() {
            if stored.tensors.get(name).is_none_or(|(file, _)| *file != place) {
                let shard = part.files()[place].file_name().unwrap_or_default().to_string_lossy();
                problems.push((name.clone(), format!("should be in {shard} and is not")));
            }
        }
        stored.complain(problems)?;
        Ok(stored)
    }

    /// Gives tensors other names or shapes (of the same elements).
    ///
    /// # Errors
    /// Two get the same name.
    pub fn adapt(mut self, adapt: impl Fn(String, StoredTensor) -> (String, StoredTensor)) -> Result<Self> {
        for (name, (file, tensor)) in std::mem::take(&mut self.tensors) {
            let (new, tensor) = adapt(name.clone(), tensor);
            if self.tensors.insert(new.clone(), (file, tensor)).is_some() {
                return Err(Error::tensor(
                    self.origin,
                    new,
                    format!("is there under its name and as {name:?}"),
                ));
            }
        }
        Ok(self)
    }

    /// The file, or the index of the shards, for messages.
    #[must_use]
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// Names and shapes of all tensors.
    pub fn shapes(&self) -> impl Iterator<Item = (&str, &[usize])> {
        self.tensors.iter().map(|(name, (_, tensor))| (name.as_str(), tensor.shape()))
    }

    /// The tensor of a name, as it lies in its file.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<(&WeightsFile, &StoredTensor)> {
        self.tensors.get(name).map(|(file, tensor)| (&self.files[*file], tensor))
    }

    /// Holds the tensors to those that a network asks for.
    ///
    /// # Errors
    /// Tensors that are missing, misshapen or of no use, several at once.
    pub fn check(&self, wanted: &BTreeMap<String, Vec<usize>>) -> Result<()> {
        let mut problems = vec![];
        for (name, shape) in wanted {
            if let Some((_, tensor)) = self.tensors.get(name) {
                if tensor.shape() != shape {
                    problems.push((name.clone(), misshapen(tensor.shape(), shape)));
                }
            } else {
                let reason = self.unreadable.get(name).map_or("is missing", String::as_str);
                problems.push((name.clone(), reason.to_owned()));
            }
        }
        for name in self.tensors.keys().filter(|name| !wanted.contains_key(*name) && !is_idle(name)) {
            problems.push((name.clone(), EXTRA.to_owned()));
        }
        self.complain(problems)
    }

    fn complain(&self, mut problems: Vec<(String, String)>) -> Result<()> {
        let more = problems.len().saturating_sub(SHOWN);
        problems.truncate(SHOWN);
        match problems.is_empty() {
            true => Ok(()),
            false => Err(Error::Tensors { origin: self.origin.clone(), problems, more }),
        }
    }

    /// Reads a tensor, of any floating type, as `dtype`, on the CPU.
    ///
    /// # Errors
    /// It is missing, is not of `shape`, holds whole numbers, or its file cannot be read.
    pub fn read(&self, name: &str, shape: &[usize], dtype: DType) -> Result<Tensor> {
        let bad = |problem: String| Error::tensor(self.origin.clone(), name.to_owned(), problem);
        let (file, tensor) = self
            .get(name)
            .ok_or_else(|| bad(self.unreadable.get(name).map_or("is missing", String::as_str).to_owned()))?;
        if tensor.shape() != shape {
            return Err(bad(misshapen(tensor.shape(), shape)));
        }
        let widen = widen(tensor.dtype()).ok_or_else(|| {
            bad(format!("has elements of type {}: only F64, F32, F16 and BF16 are weights", tensor.dtype()))
        })?;
        if (tensor.dtype(), dtype) == (Dtype::F64, DType::F64) {
            let mut values: Vec<f64> = Vec::with_capacity(shape.iter().product());
            file.read(tensor, &mut |bytes| {
                values.extend(bytes.as_chunks().0.iter().map(|&element| f64::from_le_bytes(element)));
                Ok(())
            })?;
            return Ok(Tensor::from_vec(values, shape, &Device::Cpu)?);
        }
        let mut values: Vec<f32> = Vec::with_capacity(shape.iter().product());
        file.read(tensor, &mut |bytes| {
            widen(bytes, &mut values);
            Ok(())
        })?;
        Ok(Tensor::from_vec(values, shape, &Device::Cpu)?.to_dtype(dtype)?)
    }
}

/// What is said of a tensor that no layer asks for.
pub(super) const EXTRA: &str = "is in the file but not in the network that the config describes";

/// What is said of a tensor of another shape.
pub(super) fn misshapen(has: &[usize], wanted: &[usize]) -> String {
    format!("has shape {has:?} where the config asks for {wanted:?}")
}

/// Old files carry this constant index; it is no parameter.
pub(super) fn is_idle(name: &str) -> bool {
    name.ends_with("position_ids")
}

/// Appends elements as f32.
type Widen = fn(&[u8], &mut Vec<f32>);

/// How elements become f32. All fit into it, but for the last bits of f64.
fn widen(dtype: Dtype) -> Option<Widen> {
    Some(match dtype {
        Dtype::F32 => |bytes, values| extend(bytes, values, f32::from_le_bytes),
        Dtype::F64 => |bytes, values| extend(bytes, values, |b| f64::from_le_bytes(b) as f32),
        Dtype::F16 => |bytes, values| extend(bytes, values, |b| f16::from_le_bytes(b).to_f32()),
        Dtype::BF16 => |bytes, values| extend(bytes, values, |b| bf16::from_le_bytes(b).to_f32()),
        _ => return None,
    })
}

fn extend<const N: usize>(bytes: &[u8], values: &mut Vec<f32>, value: impl Fn([u8; N]) -> f32) {
    values.extend(bytes.as_chunks::<N>().0.iter().map(|&element| value(element)));
}
