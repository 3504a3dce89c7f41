//! Snappy's raw format, unpacked while it is read: the packed bytes of a page are never held beside the unpacked ones.
//! <https://github.com/google/snappy/blob/main/format_description.txt>

use std::io::{Error, ErrorKind, Read, Result};

/// Fills `into` with what `packed` unpacks to.
///
/// # Errors
/// It unpacks to another length, or makes no sense.
pub fn unpack(packed: &mut impl Read, into: &mut [u8]) -> Result<()> {
    if length(packed)? != into.len() as u64 {
        return Err(nonsense());
    }
    let mut at = 0;
    while at < into.len() {
        let [tag] = bytes(packed)?;
        let short = usize::from(tag >> 2);
        let (count, back) = match tag & 3 {
            0 => {
                let count = if short < 60 { short } else { little_endian(packed, short - 59)? } + 1;
                packed.read_exact(room(into, at, count)?)?;
                at += count;
                continue;
            }
            1 => (4 + (short & 7), usize::from(tag >> 5) << 8 | little_endian(packed, 1)?),
            2 => (1 + short, little_endian(packed, 2)?),
            _ => (1 + short, little_endian(packed, 4)?),
        };
        room(into, at, count)?;
        let from = at.checked_sub(back).filter(|_| back > 0).ok_or_else(nonsense)?;
        // What is copied may reach into the copy: then it repeats.
        let mut done = 0;
        while done < count {
            let piece = (back + done).min(count - done);
            into.copy_within(from..from + piece, at + done);
            done += piece;
        }
        at += count;
    }
    match packed.read(&mut [0])? {
        0 => Ok(()),
        _ => Err(nonsense()),
    }
}

fn nonsense() -> Error {
    Error::new(ErrorKind::InvalidData, "a page's packed bytes make no sense")
}

/// The next `count` bytes to be filled.
fn room(into: &mut [u8], at: usize, count: usize) -> Result<&mut [u8]> {
    into.get_mut(at..at.saturating_add(count)).ok_or_else(nonsense)
}

fn bytes<const N: usize>(packed: &mut impl Read) -> Result<[u8; N]> {
    let mut bytes = [0; N];
    packed.read_exact(&mut bytes)?;
    Ok(bytes)
}

/// A number of 1 to 4 bytes.
fn little_endian(packed: &mut impl Read, count: usize) -> Result<usize> {
    let mut number = [0; 4];
    packed.read_exact(&mut number[..count])?;
    Ok(u32::from_le_bytes(number) as usize)
}

/// The unpacked length, which comes first: 7 bits a byte, the lowest first.
fn length(packed: &mut impl Read) -> Result<u64> {
    let mut length = 0;
    for shift in (0..35).step_by(7) {
        let [byte] = bytes(packed)?;
        length |= u64::from(byte & 127) << shift;
        if byte < 128 {
            return Ok(length);
        }
    }
    Err(nonsense())
}

#[cfg(test)]
mod tests {
    use super::unpack;

    fn unpacked(packed: &[u8], length: usize) -> Result<Vec<u8>, String> {
        let mut into = vec![0; length];
        unpack(&mut &*packed, &mut into).map(|()| into).map_err(|error| error.to_string())
    }

    #[test]
    fn every_kind_of_element_is_unpacked() {
        // A literal of 4; then 7 from 4 back, which repeats itself; then 2 by two bytes of distance, and 3 by four.
        let packed =
            [16, 3 << 2, b'a', b'b', b'c', b'd', 1 | 3 << 2, 4, 2 | 1 << 2, 11, 0, 3 | 2 << 2, 1, 0, 0, 0];
        assert_eq!(unpacked(&packed, 16).expect("sound"), b"abcdabcdabcabbbb");
        // A literal whose length takes a byte of its own, and one whose length takes two.
        for (count, head) in [(100usize, vec![60 << 2, 99]), (300, vec![61 << 2, 43, 1])] {
            let content: Vec<u8> = (0..count).map(|i| i as u8).collect();
            let length = if count < 128 {
                vec![count as u8]
            } else {
                vec![count as u8 & 127 | 128, (count >> 7) as u8]
            };
            assert_eq!(unpacked(&[length, head, content.clone()].concat(), count).expect("sound"), content);
        }
        assert_eq!(unpacked(&[0], 0).expect("nothing"), b"");
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for (packed, length) in [
            // Another length, too little, too much.
            (&[3, 2 << 2, 1, 2, 3][..], 4),
            (&[4, 2 << 2, 1, 2, 3], 4),
            (&[3, 2 << 2, 1, 2, 3, 0], 3),
            // A copy from before the beginning, from nowhere, and beyond the end.
            (&[5, 0, 7, 1, 2], 5),
            (&[5, 0, 7, 1, 0], 5),
            (&[3, 0, 7, 1, 1], 3),
            // A literal of 4 GB, and a length without end.
            (&[9, 63 << 2, 255, 255, 255, 255, 1], 9),
            (&[255, 255, 255, 255, 255, 255], 9),
            (&[], 1),
        ] {
            assert!(unpacked(packed, length).is_err(), "{packed:?}");
        }
    }
}
