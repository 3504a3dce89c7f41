//! The sizes that a page header states: the parquet crate allocates them unchecked, and a header of a few bytes can
//! claim gigabytes.

use super::thrift::{FALSE, I32, MAX_DEPTH, STRUCT, TRUE, Thrift};

/// Largest accepted page in bytes, compressed or not. Pages of Pick-a-Pic contain up to about a thousand images.
pub(super) const LARGEST_PAGE: u64 = 256 << 20;

/// A page beyond [`LARGEST_PAGE`].
#[derive(Debug, thiserror::Error)]
#[error("a page of {0} bytes, and at most {LARGEST_PAGE} are accepted")]
pub(super) struct PageTooLarge(pub(super) u64);

/// The layout of a page by its header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PageLayout {
    /// Bytes of the decompressed page; the largest if the header states several sizes.
    pub(super) size: u64,
    /// Bytes at the beginning that are never compressed: the levels in pages of version 2.
    pub(super) plain: u64,
    /// Whether the other bytes are compressed, in a compressed column.
    pub(super) compressed: bool,
}

// Field numbers of `PageHeader` and `DataPageHeaderV2` in parquet.thrift.
const UNCOMPRESSED_PAGE_SIZE: i64 = 2;
const DATA_PAGE_HEADER_V2: i64 = 8;
const LEVEL_LENGTHS: [i64; 2] = [5, 6];
const IS_COMPRESSED: i64 = 7;

impl PageLayout {
    /// Parses the header at the beginning of `bytes`; returns its layout and length. `None` if the header is incomplete
    /// or invalid.
    pub(super) fn parse(bytes: &[u8]) -> Option<(Self, usize)> {
        let mut thrift = Thrift::new(bytes);
        let mut layout = Self { size: 0, plain: 0, compressed: true };
        let mut field = 0;
        loop {
            match (thrift.field(&mut field)?, field) {
                (0, _) => return Some((layout, thrift.position())),
                (I32, UNCOMPRESSED_PAGE_SIZE) => layout.size = layout.size.max(thrift.size()?),
                (STRUCT, DATA_PAGE_HEADER_V2) => layout.parse_version_2(&mut thrift)?,
                (kind, _) => thrift.skip(kind, MAX_DEPTH)?,
            }
        }
    }

    fn parse_version_2(&mut self, thrift: &mut Thrift<'_>) -> Option<()> {
        let mut field = 0;
        loop {
            match (thrift.field(&mut field)?, field) {
                (0, _) => return Some(()),
                (I32, number) if LEVEL_LENGTHS.contains(&number) => {
                    self.plain = self.plain.saturating_add(thrift.size()?);
                }
                (kind @ (TRUE | FALSE), IS_COMPRESSED) => self.compressed = kind == TRUE,
                (kind, _) => thrift.skip(kind, MAX_DEPTH)?,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::PageLayout;

    fn size(bytes: &[u8]) -> Option<u64> {
        PageLayout::parse(bytes).map(|(layout, _)| layout.size)
    }

    #[test]
    fn version_2_states_its_uncompressed_levels() {
        // Type 3, size 300, compressed size 100, then in field 8 a header with 9 values, levels of 5 and 2 bytes, not
        // compressed.
        let header = [
            0x15, 0x06, 0x15, 0xD8, 0x04, 0x15, 0xC8, 0x01, 0x5C, 0x15, 0x12, 0x45, 0x0A, 0x15, 0x04, 0x12,
            0x00, 0x00,
        ];
        let layout = PageLayout { size: 300, plain: 7, compressed: false };
        assert_eq!(PageLayout::parse(&header), Some((layout, header.len())));
    }

    #[test]
    fn the_claimed_size_is_found_in_any_order_of_fields() {
        // Type 0, size 300, compressed size 10, then a data page header with a nested struct.
        let header = [0x15, 0x00, 0x15, 0xD8, 0x04, 0x15, 0x14, 0x2C, 0x15, 0x02, 0x00, 0x00];
        assert_eq!(size(&header), Some(300));
        // The same field a second time, with an explicit field number: the larger size counts.
        let twice = [0x15, 0x00, 0x15, 0x02, 0x05, 0x04, 0xFE, 0xFF, 0xFF, 0xFF, 0x0F, 0x00];
        assert_eq!(size(&twice), Some(0x7FFF_FFFF));
        assert_eq!(size(&header[..6]), None);
        assert_eq!(size(&[0x15, 0x00, 0x19, 0xFC, 0xFF, 0xFF, 0xFF, 0xFF, 0x0F]), None);
    }
}
