//! Repairs of damaged UTF-8 bytes (ftfy's `fixes.py` and `utf8_variants.py`).

use regex::bytes::Regex;
use std::sync::LazyLock;

/// UTF-8 sequences in which the byte A0 was replaced by a space.
static ALTERED: LazyLock<Regex> = LazyLock::new(|| {
    fixed(concat!(
        r"(?-u)[\xc2\xc3\xc5\xce\xd0\xd9] ",
        r"|[\xe2\xe3] [\x80-\x84\x86-\x9f\xa1-\xbf]",
        r"|[\xe0-\xe3][\x80-\x84\x86-\x9f\xa1-\xbf] ",
        r"|\xf0 [\x80-\xbf][\x80-\xbf]",
        r"|\xf0[\x80-\xbf] [\x80-\xbf]",
        r"|\xf0[\x80-\xbf][\x80-\xbf] ",
    ))
});

/// UTF-8 sequences that lost continuation bytes. 1A stands for the replacement character.
static LOSSY: LazyLock<Regex> = LazyLock::new(|| {
    fixed(concat!(
        r"(?-u)[\xc2-\xdf]\x1a",
        r"|[\xc2-\xc3]\?",
        r"|\xed[\xa0-\xaf][\x1a?]\xed[\xb0-\xbf][\x1a?\x80-\xbf]",
        r"|\xed[\xa0-\xaf][\x1a?\x80-\xbf]\xed[\xb0-\xbf][\x1a?]",
        r"|[\xe0-\xef][\x1a?][\x1a\x80-\xbf]",
        r"|[\xe0-\xef][\x1a\x80-\xbf][\x1a?]",
        r"|[\xf0-\xf4][\x1a?][\x1a\x80-\xbf][\x1a\x80-\xbf]",
        r"|[\xf0-\xf4][\x1a\x80-\xbf][\x1a?][\x1a\x80-\xbf]",
        r"|[\xf0-\xf4][\x1a\x80-\xbf][\x1a\x80-\xbf][\x1a?]",
        r"|\x1a",
    ))
});

fn fixed(pattern: &str) -> Regex {
    #[expect(clippy::expect_used, reason = "the patterns are constants of this file")]
    Regex::new(pattern).expect("a valid pattern")
}

/// Replaces spaces by A0 where that makes UTF-8.
pub(super) fn restore_byte_a0(bytes: Vec<u8>) -> Vec<u8> {
    if !ALTERED.is_match(&bytes) {
        return bytes;
    }
    // "à" as a word of its own before another word: A0 is inserted, and the space stays.
    let mut with_words = Vec::with_capacity(bytes.len() + 8);
    let mut rest = &bytes[..];
    while let Some((&first, after)) = rest.split_first() {
        with_words.push(first);
        rest = after;
        if first == 0xc3
            && let Some(word) = rest.strip_prefix(b" ")
            && ![&b" "[..], b"quele", b"quela", b"quilo", b"s "].iter().any(|start| word.starts_with(start))
        {
            with_words.extend(b"\xa0 ");
            rest = word;
        }
    }
    let space_to_a0 = |found: &regex::bytes::Captures<'_>| -> Vec<u8> {
        found[0].iter().map(|&b| if b == b' ' { 0xa0 } else { b }).collect()
    };
    ALTERED.replace_all(&with_words, space_to_a0).into_owned()
}

/// Replaces sequences with lost bytes by the replacement character.
pub(super) fn replace_lossy_sequences(bytes: &[u8]) -> Vec<u8> {
    LOSSY.replace_all(bytes, "\u{fffd}".as_bytes()).into_owned()
}

/// Decodes UTF-8, also with surrogates encoded one by one (CESU-8) and with Java's two-byte encoding of NUL.
pub(super) fn decode(bytes: &[u8]) -> Option<String> {
    let mut text = String::with_capacity(bytes.len());
    let mut rest = bytes;
    let mut plain = 0;
    while plain < rest.len() {
        let special = match rest[plain..] {
            [0xc0, 0x80, ..] => Some(('\0', 2)),
            [0xed, a @ 0xa0..=0xaf, b @ 0x80..=0xbf, 0xed, c @ 0xb0..=0xbf, d @ 0x80..=0xbf, ..] => {
                let bits = |byte: u8, mask: u8| u32::from(byte & mask);
                let code =
                    (bits(a, 0x0f) << 16) + (bits(b, 0x3f) << 10) + (bits(c, 0x0f) << 6) + bits(d, 0x3f);
                char::from_u32(code + 0x1_0000).map(|c| (c, 6))
            }
            _ => None,
        };
        match special {
            None => plain += 1,
            Some((c, length)) => {
                text.push_str(std::str::from_utf8(&rest[..plain]).ok()?);
                text.push(c);
                rest = &rest[plain + length..];
                plain = 0;
            }
        }
    }
    text.push_str(std::str::from_utf8(rest).ok()?);
    Some(text)
}
