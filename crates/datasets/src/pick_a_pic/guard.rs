//! A parquet file whose pages are weighed before they are unpacked: the reader allocates what a page's header claims,
//! and a few hostile bytes can claim gigabytes. Pages of images that snappy has packed are unpacked here, as they are
//! read: the reader's own way holds a page twice.

use super::snappy;
use bytes::Bytes;
use parquet::errors::{ParquetError, Result};
use parquet::file::reader::{ChunkReader, Length};
use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Mutex, PoisonError};

/// Largest page, in bytes, packed or unpacked. Pages of Pick-a-Pic hold up to about a thousand images.
pub(super) const LARGEST_PAGE: usize = 256 << 20;
/// Longest header of a page: room for statistics, which may hold whole values.
const LONGEST_HEADER: usize = 1 << 20;
/// Bytes in which a header usually ends.
const USUAL_HEADER: usize = 16 << 10;
/// Bytes of a packed page read at a time.
const READ: usize = 256 << 10;
/// What the error of a page that is too large begins with.
pub(super) const TOO_LARGE: &str = "a page of";

/// It.
#[derive(Debug)]
pub(super) struct Guarded {
    file: Arc<File>,
    length: u64,
    pages: Arc<Pages>,
    /// Where pages are unpacked here: those whose headers were read, by where they begin.
    unpacks: Option<Layouts>,
}

type Layouts = Arc<Mutex<HashMap<u64, Layout>>>;

impl Guarded {
    pub(super) fn new(file: File) -> io::Result<Self> {
        let length = file.metadata()?.len();
        Ok(Self { file: Arc::new(file), length, pages: Arc::default(), unpacks: None })
    }

    /// The same file, for a column that snappy has packed: pages come unpacked, as if the column were not packed.
    /// (A page's checksum is of its packed bytes: the parquet crate is built without looking at it.)
    pub(super) fn unpacking(&self) -> Self {
        Self {
            file: Arc::clone(&self.file),
            length: self.length,
            pages: Arc::clone(&self.pages),
            unpacks: Some(Layouts::default()),
        }
    }

    fn unpacked(&self, start: u64, length: usize, layout: Layout) -> io::Result<Bytes> {
        let (plain, unpacked) = (layout.plain as usize, layout.unpacked as usize);
        if plain > length || plain > unpacked || unpacked > LARGEST_PAGE {
            return Err(io::Error::other("a page's header makes no sense"));
        }
        let mut bytes = self.pages.take(unpacked);
        let mut packed =
            BufReader::with_capacity(READ, Span { file: &self.file, at: start, end: start + length as u64 });
        packed.read_exact(&mut bytes.bytes[..plain])?;
        // Of a page without values there is nothing to unpack.
        if plain < unpacked {
            snappy::unpack(&mut packed, &mut bytes.bytes[plain..])?;
        }
        Ok(Bytes::from_owner(bytes))
    }
}

/// Memory of pages that were read, for those to come: a system takes its time to hand out hundreds of megabytes.
#[derive(Debug, Default)]
struct Pages(Mutex<Vec<Vec<u8>>>);

/// Pages kept: one of each column of images.
const KEPT: usize = 2;
/// Those that are worth it.
const LARGE: usize = 1 << 20;

impl Pages {
    /// Memory for a page, with whatever it held before.
    fn take(self: &Arc<Self>, length: usize) -> Page {
        let kept = (length >= LARGE).then(|| self.0.lock().unwrap_or_else(PoisonError::into_inner).pop());
        let mut bytes = kept.flatten().unwrap_or_default();
        if bytes.capacity() < length {
            // Given back first, or both would be held.
            drop(bytes);
            bytes = vec![0; length];
        }
        bytes.resize(length, 0);
        Page { bytes, pages: Arc::clone(self) }
    }
}

/// A page, whose memory goes back where it came from.
struct Page {
    bytes: Vec<u8>,
    pages: Arc<Pages>,
}

impl AsRef<[u8]> for Page {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        if self.bytes.capacity() < LARGE {
            return;
        }
        let mut kept = self.pages.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.push(std::mem::take(&mut self.bytes));
        // The largest last, to be taken first.
        kept.sort_unstable_by_key(Vec::capacity);
        if kept.len() > KEPT {
            drop(kept.remove(0));
        }
    }
}

/// A part of a file, from its beginning on.
struct Span<'a> {
    file: &'a File,
    at: u64,
    end: u64,
}

impl Read for Span<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let wanted = into.len().min(usize::try_from(self.end - self.at).unwrap_or(usize::MAX));
        let length = self.file.read_at(&mut into[..wanted], self.at)?;
        self.at += length as u64;
        Ok(length)
    }
}

impl Length for Guarded {
    fn len(&self) -> u64 {
        self.length
    }
}

impl ChunkReader for Guarded {
    type T = Header;

    /// The page reader reads headers from here, and nothing else.
    fn get_read(&self, start: u64) -> Result<Header> {
        Ok(Header { file: Arc::clone(&self.file), unpacks: self.unpacks.clone(), start, bytes: None, at: 0 })
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes> {
        if length > LARGEST_PAGE {
            return Err(ParquetError::General(too_large(length as u64)));
        }
        let known = self
            .unpacks
            .as_ref()
            .and_then(|pages| pages.lock().unwrap_or_else(PoisonError::into_inner).remove(&start));
        match known {
            Some(layout) if layout.packed => Ok(self.unpacked(start, length, layout)?),
            _ => {
                let mut page = self.pages.take(length);
                self.file.read_exact_at(&mut page.bytes, start)?;
                Ok(Bytes::from_owner(page))
            }
        }
    }
}

fn too_large(bytes: u64) -> String {
    format!("{TOO_LARGE} {bytes} bytes, and {LARGEST_PAGE} is the most")
}

/// A page's header, weighed when its first byte is read.
#[derive(Debug)]
pub(super) struct Header {
    file: Arc<File>,
    unpacks: Option<Layouts>,
    start: u64,
    bytes: Option<Vec<u8>>,
    at: usize,
}

impl Header {
    fn fetch(&self) -> io::Result<Vec<u8>> {
        let mut wanted = USUAL_HEADER;
        loop {
            let mut bytes = vec![0; wanted];
            let mut length = 0;
            while length < wanted {
                match self.file.read_at(&mut bytes[length..], self.start + length as u64)? {
                    0 => break,
                    more => length += more,
                }
            }
            bytes.truncate(length);
            let mut thrift = Thrift { bytes: &bytes, at: 0 };
            match thrift.layout() {
                Some(Layout { unpacked, .. }) if unpacked > LARGEST_PAGE as u64 => {
                    return Err(io::Error::other(too_large(unpacked)));
                }
                Some(layout) => {
                    if let Some(pages) = &self.unpacks {
                        let start = self.start + thrift.at as u64;
                        pages.lock().unwrap_or_else(PoisonError::into_inner).insert(start, layout);
                    }
                    return Ok(bytes);
                }
                None if length < wanted || wanted >= LONGEST_HEADER => {
                    return Err(io::Error::other("a page's header makes no sense"));
                }
                None => wanted = LONGEST_HEADER,
            }
        }
    }
}

impl Read for Header {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.bytes.is_none() {
            self.bytes = Some(self.fetch()?);
        }
        let rest = self.bytes.as_deref().and_then(|bytes| bytes.get(self.at..)).unwrap_or_default();
        let length = rest.len().min(into.len());
        into[..length].copy_from_slice(&rest[..length]);
        self.at += length;
        Ok(length)
    }
}

/// How a page lies in the file, as its header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Layout {
    /// Bytes of it unpacked: the largest of the header's claims.
    unpacked: u64,
    /// Bytes before the packed ones that are as they are: the levels in pages of the second version.
    plain: u64,
    /// Whether the others are packed, if the column is.
    packed: bool,
}

/// As much of thrift's compact protocol as it takes to find a few numbers and to pass over all else.
/// <https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md>
struct Thrift<'a> {
    bytes: &'a [u8],
    at: usize,
}

/// Deepest nesting: headers have three levels.
const DEEPEST: u32 = 8;
/// Fields of `PageHeader`: `uncompressed_page_size`, `data_page_header_v2`.
const UNPACKED_SIZE: i64 = 2;
const SECOND_VERSION: i64 = 8;
/// Fields of `DataPageHeaderV2`: the lengths of both kinds of levels, `is_compressed`.
const LEVELS: [i64; 2] = [5, 6];
const IS_PACKED: i64 = 7;
/// Types of fields: true, false, a number, a struct.
const TRUE: u8 = 1;
const FALSE: u8 = 2;
const NUMBER: u8 = 5;
const STRUCT: u8 = 12;

impl Thrift<'_> {
    /// What a header says of its page; none if the header does not end.
    fn layout(&mut self) -> Option<Layout> {
        let mut layout = Layout { unpacked: 0, plain: 0, packed: true };
        let mut field = 0;
        loop {
            match (self.field(&mut field)?, field) {
                (0, _) => return Some(layout),
                (NUMBER, UNPACKED_SIZE) => layout.unpacked = layout.unpacked.max(self.size()?),
                (STRUCT, SECOND_VERSION) => self.second_version(&mut layout)?,
                (kind, _) => self.skip(kind, DEEPEST)?,
            }
        }
    }

    fn second_version(&mut self, layout: &mut Layout) -> Option<()> {
        let mut field = 0;
        loop {
            match (self.field(&mut field)?, field) {
                (0, _) => return Some(()),
                (NUMBER, number) if LEVELS.contains(&number) => {
                    layout.plain = layout.plain.saturating_add(self.size()?);
                }
                (kind @ (TRUE | FALSE), IS_PACKED) => layout.packed = kind == TRUE,
                (kind, _) => self.skip(kind, DEEPEST)?,
            }
        }
    }

    /// The type of a struct's next field, 0 at its end; `field` becomes its number.
    fn field(&mut self, field: &mut i64) -> Option<u8> {
        let byte = self.byte()?;
        if byte & 15 != 0 {
            *field = match byte >> 4 {
                0 => self.zigzag()?,
                delta => field.saturating_add(i64::from(delta)),
            };
        }
        Some(byte & 15)
    }

    /// A size; a negative one, which the reader itself refuses, is 0.
    fn size(&mut self) -> Option<u64> {
        Some(u64::try_from(self.zigzag()?).unwrap_or(0))
    }

    fn byte(&mut self) -> Option<u8> {
        let byte = *self.bytes.get(self.at)?;
        self.at += 1;
        Some(byte)
    }

    fn advance(&mut self, count: u64) -> Option<()> {
        self.at = self.at.checked_add(usize::try_from(count).ok()?)?;
        (self.at <= self.bytes.len()).then_some(())
    }

    fn number(&mut self) -> Option<u64> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 127) << shift;
            if byte < 128 {
                return Some(value);
            }
        }
        None
    }

    fn zigzag(&mut self) -> Option<i64> {
        let value = self.number()?;
        Some((value >> 1) as i64 ^ -((value & 1) as i64))
    }

    fn skip(&mut self, kind: u8, depth: u32) -> Option<()> {
        if depth == 0 {
            return None;
        }
        match kind {
            // A boolean field's value is its type.
            1 | 2 => Some(()),
            3 => self.advance(1),
            4..=6 => self.number().map(drop),
            7 => self.advance(8),
            8 => {
                let length = self.number()?;
                self.advance(length)
            }
            9 | 10 => {
                let head = self.byte()?;
                let count = if head >> 4 == 15 { self.number()? } else { u64::from(head >> 4) };
                // Inside a list a boolean takes a byte.
                let kind = if matches!(head & 15, 1 | 2) { 3 } else { head & 15 };
                (0..count).try_for_each(|_| self.skip(kind, depth - 1))
            }
            11 => {
                let count = self.number()?;
                if count == 0 {
                    return Some(());
                }
                let kinds = self.byte()?;
                (0..count).try_for_each(|_| {
                    self.skip(kinds >> 4, depth - 1)?;
                    self.skip(kinds & 15, depth - 1)
                })
            }
            12 => loop {
                let byte = self.byte()?;
                if byte & 15 == 0 {
                    return Some(());
                }
                if byte >> 4 == 0 {
                    self.number()?;
                }
                self.skip(byte & 15, depth - 1)?;
            },
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Layout, Thrift};

    fn size(bytes: &[u8]) -> Option<u64> {
        Thrift { bytes, at: 0 }.layout().map(|layout| layout.unpacked)
    }

    #[test]
    fn levels_of_the_second_version_are_told_from_what_is_packed() {
        // Type 3, unpacked 300, packed 100, then at field 8 a header with 9 values, levels of 5 and 2 bytes, not packed.
        let header = [
            0x15, 0x06, 0x15, 0xD8, 0x04, 0x15, 0xC8, 0x01, 0x5C, 0x15, 0x12, 0x45, 0x0A, 0x15, 0x04, 0x12,
            0x00, 0x00,
        ];
        let layout = Thrift { bytes: &header, at: 0 }.layout();
        assert_eq!(layout, Some(Layout { unpacked: 300, plain: 7, packed: false }));
    }

    #[test]
    fn the_claimed_size_is_found_wherever_it_stands() {
        // type 0, unpacked 300, packed 10, then a data page header with a nested struct, end.
        let header = [0x15, 0x00, 0x15, 0xD8, 0x04, 0x15, 0x14, 0x2C, 0x15, 0x02, 0x00, 0x00];
        assert_eq!(size(&header), Some(300));
        // The same field a second time, by its number: the larger counts.
        let twice = [0x15, 0x00, 0x15, 0x02, 0x05, 0x04, 0xFE, 0xFF, 0xFF, 0xFF, 0x0F, 0x00];
        assert_eq!(size(&twice), Some(0x7FFF_FFFF));
        assert_eq!(size(&header[..6]), None);
        assert_eq!(size(&[0x15, 0x00, 0x19, 0xFC, 0xFF, 0xFF, 0xFF, 0xFF, 0x0F]), None);
    }
}
