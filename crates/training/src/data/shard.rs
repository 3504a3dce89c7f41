//! A shard: a safetensors file with the tensors of some consecutive examples of an encoded set. Written atomically, and
//! read through a memory map.

use super::tensor_name::TensorName;
use anyhow::{Context, Result, anyhow, ensure};
use candle_core::{Device, Tensor};
use domain::dataset::Dropped;
use files::write_atomically;
use memmap2::Mmap;
use safetensors::{Dtype, SafeTensors};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::ops::Range;
use std::path::Path;

/// The tensors of one part of a shard.
pub(super) type Tensors = BTreeMap<TensorName, Tensor>;

/// The origin of a shard's content, stored in the file. A shard is up to date if its key is the current one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Label {
    /// Of everything that decides the content (`key`).
    pub(super) key: String,
    /// Rows of the set that the shard covers, dropped ones included.
    pub(super) taken: usize,
    pub(super) examples: u32,
    /// Rows whose images cannot be used.
    pub(super) dropped: Vec<Dropped>,
}

/// The metadata entry of the label. It is the only entry: the order of several would differ from run to run.
const LABEL: &str = "shard";
/// The longest header that is read, in bytes.
const MAX_HEADER: u64 = 100 << 20;

/// Writes a shard.
///
/// # Errors
/// Fails if the file cannot be written.
pub(super) fn write(file: &Path, label: &Label, tensors: &Tensors) -> Result<()> {
    let metadata = HashMap::from([(LABEL.to_owned(), serde_json::to_string(label)?)]);
    let tensors = tensors.iter().map(|(name, t)| (name.as_str(), t.clone())).collect::<Vec<_>>();
    let bytes = safetensors::serialize(tensors, Some(metadata))?;
    Ok(write_atomically(file, &bytes)?)
}

/// The label of a shard; `None` if there is no file, or if it is not a complete shard.
///
/// # Errors
/// Fails if the file exists and cannot be read.
pub(super) fn label(file: &Path) -> Result<Option<Label>> {
    let mut open = match File::open(file) {
        Ok(open) => open,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", file.display())),
    };
    let length = open.metadata()?.len();
    let mut size = [0; 8];
    if open.read_exact(&mut size).is_err() {
        return Ok(None);
    }
    let header_length = u64::from_le_bytes(size);
    if header_length > MAX_HEADER || header_length + 8 > length {
        return Ok(None);
    }
    let mut header = Vec::new();
    open.take(header_length).read_to_end(&mut header)?;
    Ok(label_in(&header, length - 8 - header_length))
}

/// The label in a header, if the header's tensors end exactly `data` bytes behind it. (The parser of the safetensors
/// crate needs these bytes in memory.)
fn label_in(header: &[u8], data: u64) -> Option<Label> {
    let tensors: serde_json::Map<String, Value> = serde_json::from_slice(header).ok()?;
    let ends = tensors.values().filter_map(|tensor| tensor["data_offsets"][1].as_u64());
    if ends.max()? != data {
        return None;
    }
    serde_json::from_str(tensors.get("__metadata__")?[LABEL].as_str()?).ok()
}

/// An open shard file.
#[derive(Debug)]
pub(super) struct Shard {
    bytes: Mmap,
    tensors: HashMap<String, StoredTensor>,
}

/// The type, shape and byte range of a tensor in the file.
#[derive(Clone, Debug)]
struct StoredTensor {
    dtype: Dtype,
    shape: Vec<usize>,
    bytes: Range<usize>,
}

impl Shard {
    /// Opens a file.
    ///
    /// # Errors
    /// Fails if the file cannot be read or is not a complete shard.
    pub(super) fn open(path: &Path) -> Result<Self> {
        let file = File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
        #[expect(
            unsafe_code,
            reason = "shards are written under a temporary name and renamed, never changed in place"
        )]
        let bytes = unsafe { Mmap::map(&file) }.with_context(|| format!("cannot map {}", path.display()))?;
        let parsed = SafeTensors::deserialize(&bytes)
            .with_context(|| format!("{} is not a complete shard: run prepare again", path.display()))?;
        let start = bytes.as_ptr() as usize;
        let tensors = parsed
            .iter()
            .map(|(name, view)| {
                let first = view.data().as_ptr() as usize - start;
                let stored = StoredTensor {
                    dtype: view.dtype(),
                    shape: view.shape().to_vec(),
                    bytes: first..first + view.data().len(),
                };
                (name.to_owned(), stored)
            })
            .collect();
        Ok(Self { bytes, tensors })
    }

    /// Whether the file holds this tensor.
    pub(super) fn has(&self, name: TensorName) -> bool {
        self.tensors.contains_key(name.as_str())
    }

    /// The bytes of a tensor.
    pub(super) fn bytes(&self, name: TensorName) -> Result<&[u8]> {
        Ok(&self.bytes[self.stored(name)?.bytes.clone()])
    }

    /// Number of rows of a tensor; 0 if the file does not hold it.
    pub(super) fn rows_of(&self, name: TensorName) -> usize {
        self.tensors.get(name.as_str()).and_then(|stored| stored.shape.first().copied()).unwrap_or(0)
    }

    /// Shape of one row of a tensor.
    pub(super) fn row_shape(&self, name: TensorName) -> Result<&[usize]> {
        self.stored(name)?.shape.get(1..).with_context(|| format!("tensor {name} is a scalar, without rows"))
    }

    /// Appends the values of a row to `values`.
    pub(super) fn append_row(&self, name: TensorName, row: usize, values: &mut Vec<f32>) -> Result<()> {
        let bytes = self.row_bytes(name, row, Dtype::F32)?;
        values.extend(bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])));
        Ok(())
    }

    /// The N integers of a row.
    pub(super) fn integers<const N: usize>(&self, name: TensorName, row: usize) -> Result<[u32; N]> {
        let bytes = self.row_bytes(name, row, Dtype::U32)?.chunks_exact(4);
        let integers: Vec<u32> = bytes.map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
        let count = integers.len();
        integers.try_into().map_err(|_| anyhow!("tensor {name} has {count} integers per row instead of {N}"))
    }

    fn stored(&self, name: TensorName) -> Result<&StoredTensor> {
        self.tensors.get(name.as_str()).with_context(|| format!("the encoded set has no tensor {name}"))
    }

    fn row_bytes(&self, name: TensorName, row: usize, dtype: Dtype) -> Result<&[u8]> {
        let stored = self.stored(name)?;
        ensure!(stored.dtype == dtype, "tensor {name} has type {:?} instead of {dtype:?}", stored.dtype);
        let rows = stored.shape.first().copied().unwrap_or(0);
        ensure!(row < rows, "tensor {name} has {rows} rows, so there is no row {row}");
        let length = stored.bytes.len() / rows;
        let first = stored.bytes.start + row * length;
        Ok(&self.bytes[first..first + length])
    }
}

/// A tensor of `count` rows, each of shape `row`, on the CPU.
pub(super) fn stack(values: Vec<f32>, count: usize, row: &[usize]) -> Result<Tensor> {
    let shape: Vec<usize> = std::iter::once(count).chain(row.iter().copied()).collect();
    Ok(Tensor::from_vec(values, shape, &Device::Cpu)?)
}
