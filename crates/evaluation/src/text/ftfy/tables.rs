//! ftfy's expressions and encodings (`tables.txt`, made by `oracles/ftfy_tables.py`).

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

/// In the order in which they are tried, and in the table's.
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
    /// Bytes without a character are those of Latin-1, and the replacement character is byte 1A.
    pub(super) fn is_sloppy(self) -> bool {
        !matches!(self, Self::Latin1 | Self::Iso8859Part2 | Self::MacRoman | Self::Cp437)
    }
}

pub(super) struct Tables {
    /// Sequences that hardly anybody means.
    pub(super) badness: Regex,
    /// Characters that may be UTF-8 in another encoding.
    pub(super) detector: Regex,
    /// What must not stand before these.
    pub(super) strict: Regex,
    upper_halves: Vec<Vec<char>>,
    bytes: Vec<HashMap<char, u8>>,
}

pub(super) static TABLES: LazyLock<Tables> = LazyLock::new(|| {
    let mut lines =
        include_str!("tables.txt").lines().skip(1).map(|line| line.split_once(' ').unwrap_or_default());
    let mut expression = || {
        #[expect(clippy::expect_used, reason = "the table is a part of this crate, and a test reads it")]
        Regex::new(lines.next().unwrap_or_default().1).expect("an expression of the table")
    };
    let (badness, detector, strict) = (expression(), expression(), expression());
    let upper_halves: Vec<Vec<char>> = lines
        .map(|(_, codes)| {
            let codes = codes.split(' ').map(|code| u32::from_str_radix(code, 16).unwrap_or_default());
            codes.map(|code| char::from_u32(code).unwrap_or_default()).collect()
        })
        .collect();
    let bytes = upper_halves
        .iter()
        .zip(ENCODINGS)
        .map(|(half, encoding)| {
            let lower = (0..0x80).filter(|&b| b != 0x1a).map(|b| (char::from(b), b));
            let substitute = if encoding.is_sloppy() { '\u{fffd}' } else { '\u{1a}' };
            lower.chain(half.iter().copied().zip(0x80..=0xff)).chain([(substitute, 0x1a)]).collect()
        })
        .collect();
    Tables { badness, detector, strict, upper_halves, bytes }
});

impl Tables {
    /// The bytes that decode to `text`, if there are such.
    pub(super) fn encode(&self, encoding: Encoding, text: &str) -> Option<Vec<u8>> {
        let bytes = self.bytes.get(encoding as usize)?;
        text.chars().map(|c| bytes.get(&c).copied()).collect()
    }

    /// The character of byte 0x80 + `i`.
    pub(super) fn decode(&self, encoding: Encoding, i: usize) -> char {
        self.upper_halves[encoding as usize][i]
    }
}
