//! A parquet file whose pages are weighed before they are unpacked: the reader allocates what a page's header claims,
//! and a few hostile bytes can claim gigabytes.

use bytes::Bytes;
use parquet::errors::{ParquetError, Result};
use parquet::file::reader::{ChunkReader, Length};
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

/// Largest page, in bytes, packed or unpacked. Pages of Pick-a-Pic hold up to about a thousand pictures.
pub(super) const LARGEST_PAGE: usize = 256 << 20;
/// Longest header of a page: room for statistics, which may hold whole values.
const LONGEST_HEADER: usize = 1 << 20;
/// Bytes in which a header usually ends.
const USUAL_HEADER: usize = 16 << 10;
/// What the error of a page that is too large begins with.
pub(super) const TOO_LARGE: &str = "a page of";

/// It.
#[derive(Debug)]
pub(super) struct Guarded {
    file: Arc<File>,
    length: u64,
}

impl Guarded {
    pub(super) fn new(file: File) -> io::Result<Self> {
        let length = file.metadata()?.len();
        Ok(Self { file: Arc::new(file), length })
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
        Ok(Header { file: Arc::clone(&self.file), start, bytes: None, at: 0 })
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes> {
        if length > LARGEST_PAGE {
            return Err(ParquetError::General(too_large(length as u64)));
        }
        let mut bytes = vec![0; length];
        self.file.read_exact_at(&mut bytes, start)?;
        Ok(bytes.into())
    }
}

fn too_large(bytes: u64) -> String {
    format!("{TOO_LARGE} {bytes} bytes, and {LARGEST_PAGE} is the most")
}

/// A page's header, weighed when its first byte is read.
#[derive(Debug)]
pub(super) struct Header {
    file: Arc<File>,
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
            let size = Thrift { bytes: &bytes, at: 0 }.unpacked_size();
            match size {
                Some(size) if size > LARGEST_PAGE as u64 => return Err(io::Error::other(too_large(size))),
                Some(_) => return Ok(bytes),
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

/// As much of thrift's compact protocol as it takes to find one number and to pass over all else.
/// <https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md>
struct Thrift<'a> {
    bytes: &'a [u8],
    at: usize,
}

/// Deepest nesting: headers have three levels.
const DEEPEST: u32 = 8;
/// `PageHeader.uncompressed_page_size`.
const UNPACKED_SIZE: i64 = 2;

impl Thrift<'_> {
    /// The largest of a header's claims on the unpacked size; none if the header does not end.
    fn unpacked_size(&mut self) -> Option<u64> {
        let mut largest = 0;
        let mut field = 0;
        loop {
            let byte = self.byte()?;
            let kind = byte & 15;
            if kind == 0 {
                return Some(largest);
            }
            field = match byte >> 4 {
                0 => self.zigzag()?,
                delta => field + i64::from(delta),
            };
            if field == UNPACKED_SIZE && kind == 5 {
                // A negative size is refused by the reader itself.
                largest = largest.max(u64::try_from(self.zigzag()?).unwrap_or(0));
            } else {
                self.skip(kind, DEEPEST)?;
            }
        }
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
    use super::Thrift;

    fn size(bytes: &[u8]) -> Option<u64> {
        Thrift { bytes, at: 0 }.unpacked_size()
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
