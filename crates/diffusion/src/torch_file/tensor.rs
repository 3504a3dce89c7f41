//! A tensor in a file: its type, its shape, and the position of each element (as in `torch.as_strided`).

use super::problem::Checked;
use super::source::{Extent, Source, reserve};
use ::safetensors::Dtype;

/// The number of bytes that are passed on at a time.
const PORTION: usize = 1 << 20;
/// A tensor that is not contiguous is read with the bytes between its elements if these span at most this many bytes, or at
/// most four times its size; otherwise element by element.
const MAX_SPAN: u64 = 64 << 20;

/// A tensor in a file.
#[derive(Clone, Debug)]
pub struct StoredTensor {
    dtype: Dtype,
    shape: Vec<usize>,
    strides: Vec<u64>,
    /// The index of the first element in the storage.
    offset: u64,
    storage: Extent,
    big_endian: bool,
}

impl StoredTensor {
    /// A view of a storage, with numbers from an untrusted file.
    pub(super) fn view(
        dtype: Dtype,
        shape: Vec<usize>,
        strides: Vec<u64>,
        offset: u64,
        storage: Extent,
        big_endian: bool,
    ) -> Checked<Self> {
        let tensor = Self { dtype, shape, strides, offset, storage, big_endian };
        let size = tensor.checked_size().ok_or("has more elements than fit into memory")?;
        if tensor.strides.len() != tensor.shape.len() {
            return Err(format!("has {} sizes but {} strides", tensor.shape.len(), tensor.strides.len()));
        }
        if size > 0 {
            let end = tensor.end().and_then(|end| end.checked_mul(tensor.width() as u64));
            if end.is_none_or(|end| end > storage.length) {
                return Err(format!(
                    "reaches beyond its storage: shape {:?}, strides {:?}, offset {offset}, and the storage has {} bytes",
                    tensor.shape, tensor.strides, storage.length
                ));
            }
        }
        Ok(tensor)
    }

    /// A contiguous tensor in row-major order.
    pub(super) fn contiguous(dtype: Dtype, shape: Vec<usize>, storage: Extent) -> Checked<Self> {
        let mut strides = vec![0; shape.len()];
        let mut stride = 1_u64;
        for (size, slot) in shape.iter().zip(&mut strides).rev() {
            *slot = stride;
            stride = stride.saturating_mul(*size as u64);
        }
        Self::view(dtype, shape, strides, 0, storage, false)
    }

    /// The type of the elements.
    #[must_use]
    pub fn dtype(&self) -> Dtype {
        self.dtype
    }

    /// The shape.
    #[must_use]
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// The number of bytes of all elements.
    #[must_use]
    pub fn size(&self) -> u64 {
        // Checked on construction.
        self.checked_size().unwrap_or(0)
    }

    /// `count` rows (of the first dimension) from row `first` on.
    #[must_use]
    pub fn rows(&self, first: usize, count: usize) -> Option<Self> {
        let mut part = self.clone();
        let rows = part.shape.first_mut()?;
        if first.checked_add(count)? > *rows {
            return None;
        }
        *rows = count;
        part.offset += part.strides.first()?.checked_mul(first as u64)?;
        Some(part)
    }

    /// The transpose of a matrix; `None` for other tensors.
    #[must_use]
    pub fn transposed(&self) -> Option<Self> {
        let mut transposed = self.clone();
        transposed.shape.reverse();
        transposed.strides.reverse();
        (transposed.shape.len() == 2).then_some(transposed)
    }

    /// The tensor without trailing dimensions of 1, of which at least `at_least` dimensions remain.
    #[must_use]
    pub fn without_trailing_ones(&self, at_least: usize) -> Self {
        let mut reduced = self.clone();
        while reduced.shape.len() > at_least && reduced.shape.last() == Some(&1) {
            reduced.shape.pop();
            reduced.strides.pop();
        }
        reduced
    }

    /// The number of bytes of all elements, unless it overflows.
    fn checked_size(&self) -> Option<u64> {
        // Zeros are left out of the product, so that a shape like [2^60, 2^60, 0] is refused as in safetensors.
        let all =
            self.shape.iter().try_fold(self.width() as u64, |n, &size| n.checked_mul(size.max(1) as u64))?;
        Some(if self.shape.contains(&0) { 0 } else { all })
    }

    /// The number of bytes of an element.
    fn width(&self) -> usize {
        self.dtype.bitsize() / 8
    }

    /// The index after that of the last element in the storage.
    fn end(&self) -> Option<u64> {
        let mut last = self.offset;
        for (&size, &stride) in self.shape.iter().zip(&self.strides) {
            last = last.checked_add(stride.checked_mul(size as u64 - 1)?)?;
        }
        last.checked_add(1)
    }

    /// Passes the elements to `out`, in row-major order and little-endian.
    pub(super) fn write(&self, source: &Source, out: &mut dyn FnMut(&[u8]) -> Checked<()>) -> Checked<()> {
        if self.size() == 0 {
            return Ok(());
        }
        let width = self.width();
        let mut out = |bytes: &mut [u8]| {
            if self.big_endian {
                let part = if self.dtype == Dtype::C64 { width / 2 } else { width };
                bytes.chunks_exact_mut(part).for_each(<[u8]>::reverse);
            }
            out(bytes)
        };
        let dimensions = self.merged();
        let begin = self.offset * width as u64;
        if let [] | [(_, 1)] = dimensions[..] {
            let mut portion = vec![0; self.size().min(PORTION as u64) as usize];
            let mut done = 0;
            while done < self.size() {
                let count = (self.size() - done).min(PORTION as u64) as usize;
                source.read_at(self.storage, begin + done, &mut portion[..count])?;
                out(&mut portion[..count])?;
                done += count as u64;
            }
            return Ok(());
        }
        let span = self.end().unwrap_or(0) * width as u64 - begin;
        let in_memory = span <= MAX_SPAN.max(4 * self.size());
        let mut bytes = vec![];
        if in_memory {
            bytes = reserve(span)?;
            bytes.resize(span as usize, 0);
            source.read_at(self.storage, begin, &mut bytes)?;
        }
        let mut portion = Vec::with_capacity(PORTION);
        let mut index = StridedIndex::new(&dimensions);
        loop {
            let position = index.position * width as u64;
            if in_memory {
                portion.extend_from_slice(&bytes[position as usize..position as usize + width]);
            } else {
                let end = portion.len();
                portion.resize(end + width, 0);
                source.read_at(self.storage, begin + position, &mut portion[end..])?;
            }
            let more = index.advance();
            if !more || portion.len() + width > PORTION {
                out(&mut portion)?;
                portion.clear();
            }
            if !more {
                return Ok(());
            }
        }
    }

    /// Sizes and strides without dimensions of 1, with contiguous neighbours merged.
    fn merged(&self) -> Vec<(u64, u64)> {
        let mut merged: Vec<(u64, u64)> = vec![];
        for (&size, &stride) in self.shape.iter().zip(&self.strides) {
            let size = size as u64;
            match merged.last_mut() {
                _ if size == 1 => {}
                Some((outer, outer_stride)) if stride.checked_mul(size) == Some(*outer_stride) => {
                    (*outer, *outer_stride) = (*outer * size, stride);
                }
                _ => merged.push((size, stride)),
            }
        }
        merged
    }
}

/// Iterates over the positions of a strided view in row-major order.
struct StridedIndex<'a> {
    dimensions: &'a [(u64, u64)],
    index: Vec<u64>,
    position: u64,
}

impl<'a> StridedIndex<'a> {
    fn new(dimensions: &'a [(u64, u64)]) -> Self {
        Self { dimensions, index: vec![0; dimensions.len()], position: 0 }
    }

    /// Moves to the next position; returns false after the last.
    fn advance(&mut self) -> bool {
        for (index, &(size, stride)) in self.index.iter_mut().zip(self.dimensions).rev() {
            if *index + 1 < size {
                *index += 1;
                self.position += stride;
                return true;
            }
            self.position -= *index * stride;
            *index = 0;
        }
        false
    }
}
