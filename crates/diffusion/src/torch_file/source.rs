//! Random access to the file. It is read, not memory-mapped, so that a file that shrinks meanwhile is an error and not a crash.

use super::problem::Checked;
use std::fs::File;
use std::io::{BufRead, BufReader, ErrorKind, Read, Seek, SeekFrom};
use std::sync::{Arc, Mutex, PoisonError};

/// The largest compressed extent, which is unpacked in memory. Published tensors are smaller.
const MAX_UNPACKED: u64 = 2 << 30;
/// The largest ratio that deflate can reach.
const MAX_RATIO: u64 = 1032;

/// An open file.
#[derive(Debug)]
pub(super) struct Source {
    file: Mutex<File>,
    length: u64,
    /// The compressed extent that was used last, unpacked.
    unpacked: Mutex<Option<(Extent, Arc<Vec<u8>>)>>,
}

/// A range of bytes of the file, perhaps compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Extent {
    start: u64,
    /// The number of bytes in the file, if they are compressed.
    compressed: Option<u64>,
    /// The number of uncompressed bytes.
    pub(super) length: u64,
}

impl Extent {
    pub(super) fn stored(start: u64, length: u64) -> Self {
        Self { start, compressed: None, length }
    }

    pub(super) fn deflated(start: u64, compressed: u64, length: u64) -> Self {
        Self { start, compressed: Some(compressed), length }
    }

    /// A part of this extent; `None` if it reaches beyond the end or starts within a compressed extent.
    pub(super) fn part(self, begin: u64, length: u64) -> Option<Self> {
        begin.checked_add(length).filter(|end| *end <= self.length)?;
        match self.compressed {
            None => Some(Self::stored(self.start + begin, length)),
            Some(_) => (begin == 0).then_some(self),
        }
    }
}

impl Source {
    pub(super) fn open(file: File) -> std::io::Result<Self> {
        let length = file.metadata()?.len();
        Ok(Self { file: Mutex::new(file), length, unpacked: Mutex::default() })
    }

    pub(super) fn length(&self) -> u64 {
        self.length
    }

    /// Reads a range of bytes.
    pub(super) fn read(&self, start: u64, length: u64) -> Checked<Vec<u8>> {
        if start.checked_add(length).is_none_or(|end| end > self.length) {
            return Err("ends too early: copy or download it again".to_owned());
        }
        let mut bytes = reserve(length)?;
        bytes.resize(length as usize, 0);
        self.fill(start, &mut bytes)?;
        Ok(bytes)
    }

    /// Fills `bytes` from an extent, starting at `offset` in its uncompressed bytes.
    pub(super) fn read_at(&self, extent: Extent, offset: u64, bytes: &mut [u8]) -> Checked<()> {
        let end = offset.checked_add(bytes.len() as u64).filter(|end| *end <= extent.length);
        let Some(end) = end else { return Err("is read beyond the end of a storage".to_owned()) };
        if extent.compressed.is_none() {
            return self.fill(extent.start + offset, bytes);
        }
        bytes.copy_from_slice(&self.unpack(extent)?[offset as usize..end as usize]);
        Ok(())
    }

    /// A reader for the whole file.
    pub(super) fn window(&self) -> Window<'_> {
        Window::new(self, 0, self.length)
    }

    /// A reader for an extent.
    pub(super) fn reader(&self, extent: Extent) -> Box<dyn BufRead + '_> {
        match extent.compressed {
            None => {
                Box::new(BufReader::with_capacity(1 << 16, Window::new(self, extent.start, extent.length)))
            }
            Some(compressed) => {
                let window = BufReader::new(Window::new(self, extent.start, compressed));
                Box::new(BufReader::new(flate2::bufread::DeflateDecoder::new(window).take(extent.length)))
            }
        }
    }

    fn fill(&self, start: u64, bytes: &mut [u8]) -> Checked<()> {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        file.seek(SeekFrom::Start(start))
            .and_then(|_| file.read_exact(bytes))
            .map_err(|e| format!("cannot be read at byte {start}: {e}"))
    }

    fn unpack(&self, extent: Extent) -> Checked<Arc<Vec<u8>>> {
        let mut unpacked = self.unpacked.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((known, bytes)) = &*unpacked
            && *known == extent
        {
            return Ok(Arc::clone(bytes));
        }
        // Freed before the next one is unpacked, so that only one is in memory.
        *unpacked = None;
        let compressed = extent.compressed.unwrap_or(extent.length);
        if extent.length > MAX_UNPACKED || extent.length / MAX_RATIO > compressed {
            return Err(format!(
                "has {compressed} compressed bytes that claim to be {}, but only up to {MAX_UNPACKED} are unpacked: \
                 unpack the archive and pack it again without compression",
                extent.length
            ));
        }
        let window = BufReader::new(Window::new(self, extent.start, compressed));
        let mut bytes = vec![];
        // Reads one byte more than expected, to detect a longer extent.
        flate2::bufread::DeflateDecoder::new(window)
            .take(extent.length + 1)
            .read_to_end(&mut bytes)
            .map_err(|e| format!("has a damaged compressed member ({e}): copy or download it again"))?;
        if bytes.len() as u64 != extent.length {
            return Err("has a compressed member of another length than the directory says".to_owned());
        }
        let bytes = Arc::new(bytes);
        *unpacked = Some((extent, Arc::clone(&bytes)));
        Ok(bytes)
    }
}

/// Reserves memory for `length` bytes.
pub(super) fn reserve(length: u64) -> Checked<Vec<u8>> {
    let mut bytes = vec![];
    usize::try_from(length)
        .ok()
        .and_then(|length| bytes.try_reserve_exact(length).ok())
        .ok_or_else(|| format!("needs {length} bytes of memory at once, which are not available"))?;
    Ok(bytes)
}

/// A reader for a range of the file.
pub(super) struct Window<'a> {
    source: &'a Source,
    start: u64,
    end: u64,
    /// The position of the next byte in the file.
    position: u64,
}

impl<'a> Window<'a> {
    fn new(source: &'a Source, start: u64, length: u64) -> Self {
        Self { source, start, end: start.saturating_add(length).min(source.length), position: start }
    }
}

impl Read for Window<'_> {
    fn read(&mut self, bytes: &mut [u8]) -> std::io::Result<usize> {
        let count = (self.end.saturating_sub(self.position)).min(bytes.len() as u64) as usize;
        let mut file = self.source.file.lock().unwrap_or_else(PoisonError::into_inner);
        file.seek(SeekFrom::Start(self.position))?;
        let count = file.read(&mut bytes[..count])?;
        self.position += count as u64;
        Ok(count)
    }
}

impl Seek for Window<'_> {
    fn seek(&mut self, position: SeekFrom) -> std::io::Result<u64> {
        let target = match position {
            SeekFrom::Start(offset) => self.start.checked_add(offset),
            SeekFrom::End(offset) => self.end.checked_add_signed(offset),
            SeekFrom::Current(offset) => self.position.checked_add_signed(offset),
        };
        self.position = target.filter(|&target| target >= self.start).ok_or(ErrorKind::InvalidInput)?;
        Ok(self.position - self.start)
    }
}
