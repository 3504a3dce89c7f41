//! One file of encoded examples: written whole or not at all, read where it lies.

use anyhow::{Context, Result, ensure};
use candle_core::{Device, Tensor};
use domain::dataset::Dropped;
use files::write_atomically;
use memmap2::Mmap;
use safetensors::{Dtype, SafeTensors};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::Read;
use std::ops::Range;
use std::path::Path;

/// What a shard says of itself. A file is current if its key is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Label {
    /// Of everything that decides the content.
    pub key: String,
    /// Rows of the set that it stands for.
    pub taken: usize,
    /// Examples.
    pub examples: u32,
    /// The rows whose images cannot be used.
    pub dropped: Vec<Dropped>,
}

/// Its place in the file's metadata. One entry alone: the order of several would differ from run to run.
const LABEL: &str = "shard";
/// Longest header of a safetensors file.
const LONGEST_HEADER: u64 = 100 << 20;

/// Writes a shard.
///
/// # Errors
/// It cannot be written.
pub fn write(file: &Path, label: &Label, tensors: &BTreeMap<String, Tensor>) -> Result<()> {
    let metadata = HashMap::from([(LABEL.to_owned(), serde_json::to_string(label)?)]);
    let tensors = tensors.iter().map(|(name, t)| (name.as_str(), t.clone())).collect::<Vec<_>>();
    let bytes = safetensors::serialize(tensors, Some(metadata))?;
    Ok(write_atomically(file, &bytes)?)
}

/// The label of a shard; none if there is no such file or it is no whole shard.
///
/// # Errors
/// The system does not give the file.
pub fn label(file: &Path) -> Result<Option<Label>> {
    let mut open = match File::open(file) {
        Ok(open) => open,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", file.display())),
    };
    let length = open.metadata()?.len();
    let mut size = [0; 8];
    if open.read_exact(&mut size).is_err() {
        return Ok(None);
    }
    let header_length = u64::from_le_bytes(size);
    if header_length > LONGEST_HEADER || header_length + 8 > length {
        return Ok(None);
    }
    let mut header = Vec::new();
    open.take(header_length).read_to_end(&mut header)?;
    Ok(label_in(&header, length - 8 - header_length))
}

/// The label in a header, if the header speaks of exactly `data` bytes behind it. (The library's own reader wants those
/// bytes too.)
fn label_in(header: &[u8], data: u64) -> Option<Label> {
    let tensors: serde_json::Map<String, Value> = serde_json::from_slice(header).ok()?;
    let ends = tensors.values().filter_map(|tensor| tensor["data_offsets"][1].as_u64());
    if ends.max()? != data {
        return None;
    }
    serde_json::from_str(tensors.get("__metadata__")?[LABEL].as_str()?).ok()
}

/// An open shard.
#[derive(Debug)]
pub struct Shard {
    bytes: Mmap,
    tensors: HashMap<String, Place>,
}

/// Where a tensor lies.
#[derive(Clone, Debug)]
struct Place {
    dtype: Dtype,
    shape: Vec<usize>,
    bytes: Range<usize>,
}

impl Shard {
    /// Opens a file.
    ///
    /// # Errors
    /// It is missing or no whole shard.
    pub fn open(path: &Path) -> Result<Self> {
        let file = File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
        #[expect(
            unsafe_code,
            reason = "shards are written under another name and renamed, never changed in place"
        )]
        let bytes = unsafe { Mmap::map(&file) }.with_context(|| format!("cannot map {}", path.display()))?;
        let whole = SafeTensors::deserialize(&bytes)
            .with_context(|| format!("{} is no whole shard: run prepare again", path.display()))?;
        let start = bytes.as_ptr() as usize;
        let tensors = whole
            .iter()
            .map(|(name, view)| {
                let first = view.data().as_ptr() as usize - start;
                let place = Place {
                    dtype: view.dtype(),
                    shape: view.shape().to_vec(),
                    bytes: first..first + view.data().len(),
                };
                (name.to_owned(), place)
            })
            .collect();
        Ok(Self { bytes, tensors })
    }

    /// Whether it holds such a tensor.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    /// The bytes of a tensor.
    ///
    /// # Errors
    /// There is none of this name.
    pub fn bytes(&self, name: &str) -> Result<&[u8]> {
        let place = self.tensors.get(name).with_context(|| format!("the encoded set has no {name}"))?;
        Ok(&self.bytes[place.bytes.clone()])
    }

    /// Rows of a tensor.
    #[must_use]
    pub fn rows_of(&self, name: &str) -> usize {
        self.tensors.get(name).and_then(|place| place.shape.first().copied()).unwrap_or(0)
    }

    /// Shape of a row.
    ///
    /// # Errors
    /// There is no such tensor.
    pub fn row_shape(&self, name: &str) -> Result<&[usize]> {
        let place = self.tensors.get(name).with_context(|| format!("the encoded set has no {name}"))?;
        place.shape.get(1..).with_context(|| format!("{name} has no rows"))
    }

    fn row_bytes(&self, name: &str, row: usize, dtype: Dtype) -> Result<&[u8]> {
        let place = self.tensors.get(name).with_context(|| format!("the encoded set has no {name}"))?;
        ensure!(place.dtype == dtype, "{name} holds {:?} where {dtype:?} is needed", place.dtype);
        let rows = place.shape.first().copied().unwrap_or(0);
        ensure!(row < rows, "{name} has {rows} rows, and row {row} is asked for");
        let length = place.bytes.len() / rows;
        let first = place.bytes.start + row * length;
        Ok(&self.bytes[first..first + length])
    }

    /// Adds a row's values to others.
    ///
    /// # Errors
    /// There is no such row.
    pub fn add_row(&self, name: &str, row: usize, values: &mut Vec<f32>) -> Result<()> {
        let bytes = self.row_bytes(name, row, Dtype::F32)?;
        values.extend(bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])));
        Ok(())
    }

    /// The whole numbers of a row.
    ///
    /// # Errors
    /// There is no such row, or not so many numbers in it.
    pub fn numbers<const N: usize>(&self, name: &str, row: usize) -> Result<[u32; N]> {
        let bytes = self.row_bytes(name, row, Dtype::U32)?.chunks_exact(4);
        let numbers: Vec<u32> = bytes.map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
        let count = numbers.len();
        numbers.try_into().map_err(|_| anyhow::anyhow!("{name} has {count} numbers in a row instead of {N}"))
    }
}

/// Rows of several shards as one tensor.
///
/// # Errors
/// candle's.
pub fn stack(values: Vec<f32>, count: usize, row: &[usize]) -> Result<Tensor> {
    let shape: Vec<usize> = std::iter::once(count).chain(row.iter().copied()).collect();
    Ok(Tensor::from_vec(values, shape, &Device::Cpu)?)
}
