//! A parquet file whose page sizes are checked before memory is allocated for them. It also decompresses pages of some
//! codecs itself: Snappy and gzip while reading, so that a page of images is never held twice (the parquet crate would hold
//! the compressed bytes beside the others), and gzip and LZ4 because the parquet crate would not bound what they expand to.

use super::page_codec::PageCodec;
use super::page_header::{LARGEST_PAGE, PageLayout, PageTooLarge};
use super::page_memory::PageMemory;
use bytes::Bytes;
use parquet::errors::{ParquetError, Result};
use parquet::file::reader::{ChunkReader, Length};
use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Mutex, PoisonError};

/// Longest accepted page header, with room for statistics, which may contain whole values.
const LONGEST_HEADER: usize = 1 << 20;
/// Bytes that are read first; they contain most headers.
const USUAL_HEADER: usize = 16 << 10;
/// Bytes of a compressed page read at a time.
const READ: usize = 256 << 10;

/// A file that the parquet crate reads pages from.
#[derive(Debug)]
pub(super) struct BoundedFile {
    file: Arc<File>,
    length: u64,
    memory: Arc<PageMemory>,
    /// For a file that decompresses pages: their codec, and layouts of the pages whose headers were read, by the offset of
    /// the page.
    layouts: Option<(PageCodec, Layouts)>,
}

type Layouts = Arc<Mutex<HashMap<u64, PageLayout>>>;

impl BoundedFile {
    pub(super) fn new(file: File) -> io::Result<Self> {
        let length = file.metadata()?.len();
        Ok(Self { file: Arc::new(file), length, memory: Arc::default(), layouts: None })
    }

    /// The same file for a column compressed by `codec`: returns its pages decompressed. Checksums of pages are of the
    /// compressed bytes; the parquet crate is built without the feature that verifies them.
    pub(super) fn decompressing(&self, codec: PageCodec) -> Self {
        Self {
            file: Arc::clone(&self.file),
            length: self.length,
            memory: Arc::clone(&self.memory),
            layouts: Some((codec, Layouts::default())),
        }
    }

    fn decompress(
        &self,
        start: u64,
        length: usize,
        codec: PageCodec,
        layout: PageLayout,
    ) -> io::Result<Bytes> {
        if layout.plain > length as u64 || layout.plain > layout.size || layout.size > LARGEST_PAGE {
            return Err(io::Error::other("a page header contradicts itself"));
        }
        let (plain, size) = (layout.plain as usize, layout.size as usize);
        let mut page = self.memory.take(size);
        let range = FileRange { file: &self.file, at: start, end: start + length as u64 };
        let mut compressed = BufReader::with_capacity(READ, range);
        compressed.read_exact(&mut page.bytes[..plain])?;
        // A page without values has no compressed bytes.
        if plain < size {
            codec.decompress(&mut compressed, &mut page.bytes[plain..])?;
        }
        Ok(Bytes::from_owner(page))
    }
}

impl Length for BoundedFile {
    fn len(&self) -> u64 {
        self.length
    }
}

impl ChunkReader for BoundedFile {
    type T = HeaderReader;

    /// The parquet crate calls this for page headers only.
    fn get_read(&self, start: u64) -> Result<HeaderReader> {
        let layouts = self.layouts.as_ref().map(|(_, layouts)| Arc::clone(layouts));
        let file = Arc::clone(&self.file);
        Ok(HeaderReader { file, layouts, start, bytes: None, at: 0 })
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes> {
        if length as u64 > LARGEST_PAGE {
            return Err(ParquetError::External(Box::new(PageTooLarge(length as u64))));
        }
        let layout = self.layouts.as_ref().and_then(|(codec, layouts)| {
            let layout = layouts.lock().unwrap_or_else(PoisonError::into_inner).remove(&start);
            Some((*codec, layout?))
        });
        match layout {
            Some((codec, layout)) if layout.compressed => Ok(self.decompress(start, length, codec, layout)?),
            _ => {
                let mut page = self.memory.take(length);
                self.file.read_exact_at(&mut page.bytes, start)?;
                Ok(Bytes::from_owner(page))
            }
        }
    }
}

/// A range of a file, read from its beginning.
struct FileRange<'a> {
    file: &'a File,
    at: u64,
    end: u64,
}

impl Read for FileRange<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let wanted = into.len().min(usize::try_from(self.end - self.at).unwrap_or(usize::MAX));
        let length = self.file.read_at(&mut into[..wanted], self.at)?;
        self.at += length as u64;
        Ok(length)
    }
}

/// Reads a page header, whose sizes it checks before it returns the first byte.
#[derive(Debug)]
pub(super) struct HeaderReader {
    file: Arc<File>,
    layouts: Option<Layouts>,
    start: u64,
    bytes: Option<Vec<u8>>,
    at: usize,
}

impl HeaderReader {
    fn fetch(&self) -> io::Result<Vec<u8>> {
        let mut wanted = USUAL_HEADER;
        loop {
            let bytes = self.read_up_to(wanted)?;
            match PageLayout::parse(&bytes) {
                Some((PageLayout { size, .. }, _)) if size > LARGEST_PAGE => {
                    return Err(io::Error::other(PageTooLarge(size)));
                }
                Some((layout, length)) => {
                    if let Some(layouts) = &self.layouts {
                        let page = self.start + length as u64;
                        layouts.lock().unwrap_or_else(PoisonError::into_inner).insert(page, layout);
                    }
                    return Ok(bytes);
                }
                None if bytes.len() < wanted || wanted >= LONGEST_HEADER => {
                    return Err(io::Error::other("a page header is invalid"));
                }
                None => wanted = LONGEST_HEADER,
            }
        }
    }

    /// The bytes from the header on; fewer than `wanted` at the end of the file.
    fn read_up_to(&self, wanted: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; wanted];
        let mut length = 0;
        while length < wanted {
            match self.file.read_at(&mut bytes[length..], self.start + length as u64)? {
                0 => break,
                more => length += more,
            }
        }
        bytes.truncate(length);
        Ok(bytes)
    }
}

impl Read for HeaderReader {
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
