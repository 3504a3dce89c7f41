//! ftfy's regular expressions and encodings, from `tables.txt`, which `oracles/ftfy_tables.py` writes.

use regex::Regex;
use std::collections::HashMap;
use std::sync::LazyLock;

/// A single-byte encoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encoding {
    Latin1,
    Windows1252,
    Windows1251,
    Windows1250,
    Windows1253,
    Windows1254,
    Windows1257,
    Iso8859Part2,
    MacRoman,
    Cp437,
}

/// Every encoding, in the order in which ftfy tries them, which is also that of the table.
pub(super) const ENCODINGS: [Encoding; 10] = [
    Encoding::Latin1,
    Encoding::Windows1252,
    Encoding::Windows1251,
    Encoding::Windows1250,
    Encoding::Windows1253,
    Encoding::Windows1254,
    Encoding::Windows1257,
    Encoding::Iso8859Part2,
    Encoding::MacRoman,
    Encoding::Cp437,
];

impl Encoding {
    /// Whether bytes without a character decode as in Latin-1, and the replacement character encodes as byte 1A.
    pub(super) fn is_sloppy(self) -> bool {
        !matches!(self, Self::Latin1 | Self::Iso8859Part2 | Self::MacRoman | Self::Cp437)
    }
}

pub(super) struct Tables {
    /// Sequences that are unlikely in correctly decoded text.
    pub(super) badness: Regex,
    /// Sequences that may be UTF-8 decoded in another encoding.
    pub(super) detector: Regex,
    /// Characters that must not precede a match of `detector`.
    pub(super) strict: Regex,
    /// The byte of every character, by encoding.
    bytes: Vec<HashMap<char, u8>>,
}

pub(super) static TABLES: LazyLock<Tables> = LazyLock::new(|| {
    let mut lines =
        include_str!("tables.txt").lines().skip(1).map(|line| line.split_once(' ').unwrap_or_default());
    let mut expression = || {
        #[expect(clippy::expect_used, reason = "the table is compiled into this crate, and tests read it")]
        Regex::new(lines.next().unwrap_or_default().1).expect("a valid expression of the table")
    };
    let (badness, detector, strict) = (expression(), expression(), expression());
    let upper_halves = lines.map(|(_, codes)| {
        let codes = codes.split(' ').map(|code| u32::from_str_radix(code, 16).unwrap_or_default());
        codes.map(|code| char::from_u32(code).unwrap_or_default())
    });
    let bytes = upper_halves
        .zip(ENCODINGS)
        .map(|(half, encoding)| {
            let lower = (0..0x80).filter(|&b| b != 0x1a).map(|b| (char::from(b), b));
            let substitute = if encoding.is_sloppy() { '\u{fffd}' } else { '\u{1a}' };
            lower.chain(half.zip(0x80..=0xff)).chain([(substitute, 0x1a)]).collect()
        })
        .collect();
    Tables { badness, detector, strict, bytes }
});

impl Tables {
    /// The bytes that decode to `text`; `None` if the encoding lacks one of its characters.
    pub(super) fn encode(&self, encoding: Encoding, text: &str) -> Option<Vec<u8>> {
        let bytes = self.bytes.get(encoding as usize)?;
        text.chars().map(|c| bytes.get(&c).copied()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::{Encoding, TABLES};
    use crate::text::windows_1252;

    #[test]
    fn windows_1252_has_the_characters_of_the_table() {
        for byte in 0x80..=0x9f {
            let character = windows_1252::from_control(char::from(byte));
            let encoded = TABLES.encode(Encoding::Windows1252, &character.to_string());
            assert_eq!(encoded, Some(vec![byte]), "{character:?}");
        }
    }
}
