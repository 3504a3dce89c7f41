//! A tensor that lies in a file: its type, its shape, and where each element is (`torch.as_strided`'s rules).

use super::Checked;
use super::source::{Extent, Source, reserve};
use safetensors::Dtype;

/// Elements are handed on in portions of this many bytes.
const PORTION: usize = 1 << 20;
/// A scattered tensor is gathered from memory if what it is scattered over is no larger than this, or not much larger
/// than itself; else element by element from the file.
const SPAN: u64 = 64 << 20;

/// A tensor in a file.
#[derive(Clone, Debug)]
pub struct StoredTensor {
    dtype: Dtype,
    shape: Vec<usize>,
    strides: Vec<u64>,
    /// In elements.
    offset: u64,
    storage: Extent,
    big_endian: bool,
}

impl StoredTensor {
    /// A view of a storage, whose numbers may have come from anybody.
    pub(super) fn view(
        dtype: Dtype,
        shape: Vec<usize>,
        strides: Vec<u64>,
        offset: u64,
        storage: Extent,
        big_endian: bool,
    ) -> Checked<Self> {
        let tensor = Self { dtype, shape, strides, offset, storage, big_endian };
        let size = tensor.checked_size().ok_or("has more elements than any memory")?;
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

    /// A tensor that fills a part of the file, the last dimension running fastest.
    pub(super) fn contiguous(dtype: Dtype, shape: Vec<usize>, storage: Extent) -> Checked<Self> {
        let mut strides = vec![0; shape.len()];
        let mut stride = 1_u64;
        for (size, place) in shape.iter().zip(&mut strides).rev() {
            *place = stride;
            stride = stride.saturating_mul(*size as u64);
        }
        Self::view(dtype, shape, strides, 0, storage, false)
    }

    /// The type of its elements.
    #[must_use]
    pub fn dtype(&self) -> Dtype {
        self.dtype
    }

    /// Its shape.
    #[must_use]
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// How many bytes its elements are.
    #[must_use]
    pub fn size(&self) -> u64 {
        // Checked when it was made.
        self.checked_size().unwrap_or(0)
    }

    /// `count` rows of it from row `first` on: the elements whose first index is one of these.
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

    /// The transpose of a matrix.
    #[must_use]
    pub fn transposed(&self) -> Option<Self> {
        let mut turned = self.clone();
        turned.shape.reverse();
        turned.strides.reverse();
        (turned.shape.len() == 2).then_some(turned)
    }

    /// Without the last dimensions, as far as they are of one element; `at_least` dimensions stay.
    #[must_use]
    pub fn without_trailing_ones(&self, at_least: usize) -> Self {
        let mut less = self.clone();
        while less.shape.len() > at_least && less.shape.last() == Some(&1) {
            less.shape.pop();
            less.strides.pop();
        }
        less
    }

    fn checked_size(&self) -> Option<u64> {
        // Sizes are multiplied without the zeros, so that a shape like [2^60, 2^60, 0] is refused like safetensors does.
        let all =
            self.shape.iter().try_fold(self.width() as u64, |n, &size| n.checked_mul(size.max(1) as u64))?;
        Some(if self.shape.contains(&0) { 0 } else { all })
    }

    /// Bytes of an element.
    fn width(&self) -> usize {
        self.dtype.bitsize() / 8
    }

    /// One more than the last element's place.
    fn end(&self) -> Option<u64> {
        let mut last = self.offset;
        for (&size, &stride) in self.shape.iter().zip(&self.strides) {
            last = last.checked_add(stride.checked_mul(size as u64 - 1)?)?;
        }
        last.checked_add(1)
    }

    /// Writes the elements, the last dimension running fastest, little end first.
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
        let in_memory = span <= SPAN.max(4 * self.size());
        let mut bytes = vec![];
        if in_memory {
            bytes = reserve(span)?;
            bytes.resize(span as usize, 0);
            source.read_at(self.storage, begin, &mut bytes)?;
        }
        let mut portion = Vec::with_capacity(PORTION);
        let mut places = Odometer::new(&dimensions);
        loop {
            let place = places.place * width as u64;
            if in_memory {
                portion.extend_from_slice(&bytes[place as usize..place as usize + width]);
            } else {
                let end = portion.len();
                portion.resize(end + width, 0);
                source.read_at(self.storage, begin + place, &mut portion[end..])?;
            }
            let more = places.advance();
            if !more || portion.len() + width > PORTION {
                out(&mut portion)?;
                portion.clear();
            }
            if !more {
                return Ok(());
            }
        }
    }

    /// Sizes and strides without dimensions of one element, neighbours that run through made one.
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

/// Counts through all places of a view, the last dimension fastest.
struct Odometer<'a> {
    dimensions: &'a [(u64, u64)],
    index: Vec<u64>,
    place: u64,
}

impl<'a> Odometer<'a> {
    fn new(dimensions: &'a [(u64, u64)]) -> Self {
        Self { dimensions, index: vec![0; dimensions.len()], place: 0 }
    }

    /// To the next place, unless this was the last.
    fn advance(&mut self) -> bool {
        for (index, &(size, stride)) in self.index.iter_mut().zip(self.dimensions).rev() {
            if *index + 1 < size {
                *index += 1;
                self.place += stride;
                return true;
            }
            self.place -= *index * stride;
            *index = 0;
        }
        false
    }
}
