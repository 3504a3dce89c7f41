//! The file, read where asked. Reading instead of mapping: a file that shrinks meanwhile is an error, not a crash.

use super::Checked;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};
use std::sync::{Arc, Mutex, PoisonError};

/// A compressed part is unpacked in memory; no tensor that was ever published is so large.
const LARGEST_UNPACKED: u64 = 2 << 30;
/// Deflate cannot do better than 1032 to 1.
const BEST_RATIO: u64 = 1032;

/// An open file.
#[derive(Debug)]
pub(super) struct Source {
    file: Mutex<File>,
    length: u64,
    /// The compressed part that was used last.
    unpacked: Mutex<Option<(Extent, Arc<Vec<u8>>)>>,
}

/// A part of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Extent {
    start: u64,
    /// How many bytes it has in the file, if they are compressed.
    compressed: Option<u64>,
    pub(super) length: u64,
}

impl Extent {
    pub(super) fn stored(start: u64, length: u64) -> Self {
        Self { start, compressed: None, length }
    }

    pub(super) fn deflated(start: u64, compressed: u64, length: u64) -> Self {
        Self { start, compressed: Some(compressed), length }
    }

    /// A part of this part; none where it reaches beyond, or begins within what is compressed.
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

    /// A small part, as bytes.
    pub(super) fn read(&self, start: u64, length: u64) -> Checked<Vec<u8>> {
        if start.checked_add(length).is_none_or(|end| end > self.length) {
            return Err("ends too early: copy or download it again".to_owned());
        }
        let mut bytes = reserve(length)?;
        bytes.resize(length as usize, 0);
        self.fill(start, &mut bytes)?;
        Ok(bytes)
    }

    /// Fills `bytes` from a part, beginning at `offset` in it.
    pub(super) fn read_at(&self, extent: Extent, offset: u64, bytes: &mut [u8]) -> Checked<()> {
        let end = offset.checked_add(bytes.len() as u64).filter(|end| *end <= extent.length);
        let Some(end) = end else { return Err("is read beyond a storage's end".to_owned()) };
        if extent.compressed.is_none() {
            return self.fill(extent.start + offset, bytes);
        }
        bytes.copy_from_slice(&self.unpack(extent)?[offset as usize..end as usize]);
        Ok(())
    }

    /// Reads a part from its beginning.
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
        // First the old one goes: two at once are one too many.
        *unpacked = None;
        let compressed = extent.compressed.unwrap_or(extent.length);
        if extent.length > LARGEST_UNPACKED || extent.length / BEST_RATIO > compressed {
            return Err(format!(
                "has {compressed} compressed bytes that claim to be {}; up to {LARGEST_UNPACKED} are unpacked: \
                 unpack the archive and pack it again without compression",
                extent.length
            ));
        }
        let window = BufReader::new(Window::new(self, extent.start, compressed));
        let mut bytes = vec![];
        // One more than there should be, so that too many are seen.
        flate2::bufread::DeflateDecoder::new(window)
            .take(extent.length + 1)
            .read_to_end(&mut bytes)
            .map_err(|e| format!("has a compressed part that is broken ({e}): copy or download it again"))?;
        if bytes.len() as u64 != extent.length {
            return Err("has a compressed part of another length than it says".to_owned());
        }
        let bytes = Arc::new(bytes);
        *unpacked = Some((extent, Arc::clone(&bytes)));
        Ok(bytes)
    }
}

/// Room for so many bytes, or an error where there is none.
pub(super) fn reserve(length: u64) -> Checked<Vec<u8>> {
    let mut bytes = vec![];
    usize::try_from(length)
        .ok()
        .and_then(|length| bytes.try_reserve_exact(length).ok())
        .ok_or_else(|| format!("needs {length} bytes of memory at once, which there are not"))?;
    Ok(bytes)
}

/// A stretch of the file as a reader.
struct Window<'a> {
    source: &'a Source,
    start: u64,
    end: u64,
}

impl<'a> Window<'a> {
    fn new(source: &'a Source, start: u64, length: u64) -> Self {
        Self { source, start, end: (start + length).min(source.length) }
    }
}

impl Read for Window<'_> {
    fn read(&mut self, bytes: &mut [u8]) -> std::io::Result<usize> {
        let count = (self.end.saturating_sub(self.start)).min(bytes.len() as u64) as usize;
        let mut file = self.source.file.lock().unwrap_or_else(PoisonError::into_inner);
        file.seek(SeekFrom::Start(self.start))?;
        let count = file.read(&mut bytes[..count])?;
        self.start += count as u64;
        Ok(count)
    }
}
