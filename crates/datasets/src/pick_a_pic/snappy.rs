//! Streaming decompression of Snappy's raw format, as parquet's pages have it
//! (<https://github.com/google/snappy/blob/main/format_description.txt>). The `snap` crate decompresses this format
//! only from memory to memory; a page of images can have 256 MB, and this module never holds its compressed bytes
//! beside the decompressed ones.

use std::io::{Error, ErrorKind, Read, Result};

/// Decompresses all of `compressed` into `into`, which it has to fill exactly.
pub fn decompress(compressed: &mut impl Read, into: &mut [u8]) -> Result<()> {
    if decompressed_length(compressed)? != into.len() as u64 {
        return Err(invalid());
    }
    let mut at = 0;
    while at < into.len() {
        let [tag] = bytes(compressed)?;
        let short = usize::from(tag >> 2);
        let (count, back) = match tag & 3 {
            0 => {
                let count = if short < 60 { short } else { little_endian(compressed, short - 59)? } + 1;
                compressed.read_exact(next_bytes(into, at, count)?)?;
                at += count;
                continue;
            }
            1 => (4 + (short & 7), usize::from(tag >> 5) << 8 | little_endian(compressed, 1)?),
            2 => (1 + short, little_endian(compressed, 2)?),
            _ => (1 + short, little_endian(compressed, 4)?),
        };
        next_bytes(into, at, count)?;
        let from = at.checked_sub(back).filter(|_| back > 0).ok_or_else(invalid)?;
        // A copy that overlaps its own output repeats.
        let mut done = 0;
        while done < count {
            let piece = (back + done).min(count - done);
            into.copy_within(from..from + piece, at + done);
            done += piece;
        }
        at += count;
    }
    match compressed.read(&mut [0])? {
        0 => Ok(()),
        _ => Err(invalid()),
    }
}

fn invalid() -> Error {
    Error::new(ErrorKind::InvalidData, "a page is not valid Snappy data")
}

/// The next `count` bytes of the output.
fn next_bytes(into: &mut [u8], at: usize, count: usize) -> Result<&mut [u8]> {
    into.get_mut(at..at.saturating_add(count)).ok_or_else(invalid)
}

fn bytes<const N: usize>(compressed: &mut impl Read) -> Result<[u8; N]> {
    let mut bytes = [0; N];
    compressed.read_exact(&mut bytes)?;
    Ok(bytes)
}

/// A little-endian number of 1 to 4 bytes.
fn little_endian(compressed: &mut impl Read, count: usize) -> Result<usize> {
    let mut number = [0; 4];
    compressed.read_exact(&mut number[..count])?;
    Ok(u32::from_le_bytes(number) as usize)
}

/// The decompressed length at the beginning: 7 bits per byte, the lowest first.
fn decompressed_length(compressed: &mut impl Read) -> Result<u64> {
    let mut length = 0;
    for shift in (0..35).step_by(7) {
        let [byte] = bytes(compressed)?;
        length |= u64::from(byte & 127) << shift;
        if byte < 128 {
            return Ok(length);
        }
    }
    Err(invalid())
}

#[cfg(test)]
mod tests {
    use super::decompress;

    fn decompressed(compressed: &[u8], length: usize) -> Result<Vec<u8>, String> {
        let mut into = vec![0; length];
        decompress(&mut &*compressed, &mut into).map(|()| into).map_err(|error| error.to_string())
    }

    #[test]
    fn every_kind_of_element_is_decompressed() {
        // A literal of 4 bytes; a copy of 7 from offset 4, which overlaps; copies with offsets of two and of four
        // bytes.
        let compressed =
            [16, 3 << 2, b'a', b'b', b'c', b'd', 1 | 3 << 2, 4, 2 | 1 << 2, 11, 0, 3 | 2 << 2, 1, 0, 0, 0];
        assert_eq!(decompressed(&compressed, 16).expect("valid"), b"abcdabcdabcabbbb");
        // Literals whose length takes one and two bytes of its own.
        for (count, head) in [(100usize, vec![60 << 2, 99]), (300, vec![61 << 2, 43, 1])] {
            let content: Vec<u8> = (0..count).map(|i| i as u8).collect();
            let length = if count < 128 {
                vec![count as u8]
            } else {
                vec![count as u8 & 127 | 128, (count >> 7) as u8]
            };
            assert_eq!(
                decompressed(&[length, head, content.clone()].concat(), count).expect("valid"),
                content
            );
        }
        assert_eq!(decompressed(&[0], 0).expect("valid"), b"");
    }

    #[test]
    fn invalid_data_is_refused() {
        for (compressed, length) in [
            // Another length, too few bytes, too many.
            (&[3, 2 << 2, 1, 2, 3][..], 4),
            (&[4, 2 << 2, 1, 2, 3], 4),
            (&[3, 2 << 2, 1, 2, 3, 0], 3),
            // A copy from before the beginning, with offset 0, and beyond the end.
            (&[5, 0, 7, 1, 2], 5),
            (&[5, 0, 7, 1, 0], 5),
            (&[3, 0, 7, 1, 1], 3),
            // A literal of 4 GB, and an endless length.
            (&[9, 63 << 2, 255, 255, 255, 255, 1], 9),
            (&[255, 255, 255, 255, 255, 255], 9),
            (&[], 1),
        ] {
            assert!(decompressed(compressed, length).is_err(), "{compressed:?}");
        }
    }
}
