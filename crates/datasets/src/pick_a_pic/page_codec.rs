//! Decompression of pages into memory of the size that their headers state.

use super::snappy;
use flate2::read::MultiGzDecoder;
use parquet::basic::Compression;
use std::io::{BufRead, Error, ErrorKind, Read, Result};

/// A codec whose pages this crate decompresses itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PageCodec {
    Snappy,
    Gzip,
    /// Blocks without a frame. Parquet's older LZ4, with the frame of Hadoop, is not read.
    Lz4,
}

impl PageCodec {
    /// The codec of a column; `None` if this crate does not decompress it.
    pub(super) fn of(compression: Compression) -> Option<Self> {
        match compression {
            Compression::SNAPPY => Some(Self::Snappy),
            Compression::GZIP(_) => Some(Self::Gzip),
            Compression::LZ4_RAW => Some(Self::Lz4),
            _ => None,
        }
    }

    /// Whether the compressed bytes are never held beside the decompressed ones.
    pub(super) fn is_streamed(self) -> bool {
        self != Self::Lz4
    }

    /// Decompresses all of `compressed` into `into`, which it has to fill exactly.
    pub(super) fn decompress(self, compressed: &mut impl BufRead, into: &mut [u8]) -> Result<()> {
        let invalid =
            |name: &str| Error::new(ErrorKind::InvalidData, format!("a page is not valid {name} data"));
        match self {
            Self::Snappy => snappy::decompress(compressed, into),
            Self::Gzip => {
                let mut plain = MultiGzDecoder::new(compressed);
                plain.read_exact(into).map_err(|_| invalid("gzip"))?;
                match plain.read(&mut [0]) {
                    Ok(0) => Ok(()),
                    _ => Err(invalid("gzip")),
                }
            }
            Self::Lz4 => {
                let mut block = Vec::new();
                compressed.read_to_end(&mut block)?;
                match lz4_flex::block::decompress_into(&block, into) {
                    Ok(length) if length == into.len() => Ok(()),
                    _ => Err(invalid("LZ4")),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::PageCodec;
    use flate2::Compression;
    use flate2::write::GzEncoder;
    use std::io::Write;

    #[test]
    fn only_pages_of_the_stated_size_are_accepted() {
        let page: Vec<u8> = (0..100_000u32).flat_map(|i| (i / 7).to_le_bytes()).collect();
        let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
        gzip.write_all(&page).expect("compressed");
        let packed = [
            (PageCodec::Gzip, gzip.finish().expect("compressed")),
            (PageCodec::Lz4, lz4_flex::block::compress(&page)),
        ];
        for (codec, packed) in packed {
            assert!(packed.len() < page.len() / 2);
            let mut into = vec![0; page.len()];
            codec.decompress(&mut &packed[..], &mut into).expect("whole");
            assert!(into == page);
            for wrong in [page.len() - 1, page.len() + 1] {
                assert!(codec.decompress(&mut &packed[..], &mut vec![0; wrong]).is_err(), "{codec:?}");
            }
            for cut in [0, 1, packed.len() / 2, packed.len() - 1] {
                assert!(codec.decompress(&mut &packed[..cut], &mut into).is_err(), "{codec:?} {cut}");
            }
        }
    }
}
