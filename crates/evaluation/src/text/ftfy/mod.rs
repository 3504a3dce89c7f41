//! ftfy's `fix_text` with its defaults: repairs text that was decoded in the wrong encoding, and makes quotes, widths and
//! line breaks plain. OpenAI's and OpenCLIP's tokenizers begin with it.
//!
//! Written after ftfy 6.3.1, (c) Robyn Speer, Apache-2.0. The crate `plsfix` is a port too, but differed in 410 of 11,822
//! texts, among them `<tag> &amp;` and colours of a terminal (`oracles/texts.py compare`).

mod bytes;
mod tables;

use super::html;
use bytes::{decode, replace_lossy_sequences, restore_byte_a0};
use regex::Regex;
use std::borrow::Cow;
use std::sync::LazyLock;
use tables::{ENCODINGS, Encoding, TABLES};
use unicode_normalization::UnicodeNormalization;

/// Longer lines are treated in parts of so many characters.
const LONGEST: usize = 1_000_000;

/// Repairs a text line by line.
#[must_use]
pub fn fix_text(text: &str) -> String {
    let mut fixed = String::with_capacity(text.len());
    // Where a line has "<", entities are kept there and in all lines after it.
    let mut unescape = true;
    for line in text.split_inclusive('\n') {
        let mut rest = line;
        while !rest.is_empty() {
            let end = rest.char_indices().nth(LONGEST).map_or(rest.len(), |(i, _)| i);
            let (part, after) = rest.split_at(end);
            unescape &= !part.contains('<');
            fixed.push_str(&fix_part(part, unescape));
            rest = after;
        }
    }
    fixed
}

fn fix_part(text: &str, unescape: bool) -> String {
    let mut text = text.to_owned();
    loop {
        let before = text.clone();
        if unescape {
            text = unescape_html(&text);
        }
        text = fix_encoding(&text);
        text = text.chars().map(c1_to_windows).collect();
        text = text.chars().fold(String::new(), without_ligature);
        text = text.chars().fold(String::new(), in_plain_width);
        text = text.chars().map(uncurled).collect();
        text = text.replace("\r\n", "\n").replace(['\r', '\u{2028}', '\u{2029}', '\u{85}'], "\n");
        text = TERMINAL.replace_all(&text, "").into_owned();
        text.retain(|c| !is_control(c));
        text = text.nfc().collect();
        if text == before {
            return text;
        }
    }
}

static TERMINAL: LazyLock<Regex> = LazyLock::new(|| fixed("\x1b\\[((?:\\p{Nd}|;)*)([a-zA-Z])"));
static ENTITY: LazyLock<Regex> = LazyLock::new(|| fixed("&#?[0-9A-Za-z]{1,24};"));

fn fixed(pattern: &str) -> Regex {
    #[expect(clippy::expect_used, reason = "the pattern is this file's")]
    Regex::new(pattern).expect("a pattern")
}

/// Only entities that end in a semicolon, also in capitals where that is no other's name.
fn unescape_html(text: &str) -> String {
    let replaced = ENTITY.replace_all(text, |found: &regex::Captures<'_>| {
        let entity = &found[0];
        if entity.starts_with("&#") {
            let plain = html::unescape(entity);
            return if plain.contains(';') { entity.to_owned() } else { plain };
        }
        let name = &entity[1..];
        if let Some(plain) = html::entity(name) {
            return plain;
        }
        let lower = name.to_ascii_lowercase();
        if name == lower.to_ascii_uppercase()
            && html::unescape(entity) == entity
            && let Some(plain) = html::entity(&lower)
        {
            return plain.to_uppercase();
        }
        entity.to_owned()
    });
    replaced.into_owned()
}

/// Undoes wrong decodings as long as something changes.
fn fix_encoding(text: &str) -> String {
    let mut text = Cow::Borrowed(text);
    loop {
        match fix_encoding_once(&text) {
            Some(fixed) if *fixed != *text => text = Cow::Owned(fixed),
            _ => return text.into_owned(),
        }
    }
}

fn is_bad(text: &str) -> bool {
    TABLES.badness.is_match(text)
}

fn fix_encoding_once(text: &str) -> Option<String> {
    if text.is_ascii() || !is_bad(text) {
        return None;
    }
    let mut is_latin_1 = false;
    for encoding in ENCODINGS {
        let Some(mut bytes) = TABLES.encode(encoding, text) else { continue };
        is_latin_1 |= encoding == Encoding::Latin1;
        // In Mac Roman it would be an en dash before a space.
        if encoding != Encoding::MacRoman {
            bytes = restore_byte_a0(bytes);
        }
        if encoding.is_sloppy() {
            bytes = replace_lossy_sequences(&bytes);
        }
        if let Some(fixed) = decode(&bytes) {
            return Some(fixed);
        }
    }
    let fixed = fix_embedded(text);
    if fixed != text {
        return Some(fixed);
    }
    if is_latin_1 {
        let fixed: Option<String> = text.chars().map(windows_1252).collect();
        if let Some(fixed) = fixed.filter(|fixed| fixed != text) {
            return Some(fixed);
        }
    }
    Some(text.chars().map(c1_to_windows).collect())
}

/// Parts that look like UTF-8 in another encoding are undone by themselves.
fn fix_embedded(text: &str) -> String {
    let mut fixed = String::new();
    let (mut done, mut from) = (0, 0);
    while let Some(found) = TABLES.detector.find_at(text, from) {
        let before = text[..found.start()].chars().next_back();
        if before.is_some_and(|c| TABLES.strict.is_match(c.encode_utf8(&mut [0; 4]))) {
            from = found.start() + text[found.start()..].chars().next().map_or(1, char::len_utf8);
            continue;
        }
        let part = found.as_str();
        fixed.push_str(&text[done..found.start()]);
        if part.len() < text.len() && is_bad(part) {
            fixed.push_str(&fix_encoding(part));
        } else {
            fixed.push_str(part);
        }
        done = found.end();
        from = done;
    }
    fixed.push_str(&text[done..]);
    fixed
}

/// A character of Latin-1 read as Windows-1252; none where that has none.
fn windows_1252(c: char) -> Option<char> {
    match c {
        '\u{81}' | '\u{8d}' | '\u{8f}' | '\u{90}' | '\u{9d}' => None,
        c => Some(c1_to_windows(c)),
    }
}

/// What browsers take the numbers 80 to 9F for.
pub(super) fn windows_1252_or_control(byte: u8) -> char {
    c1_to_windows(char::from(byte))
}

/// Control characters of Latin-1 are what Windows-1252 has there, as in browsers.
fn c1_to_windows(c: char) -> char {
    match c {
        '\u{80}'..='\u{9f}' => TABLES.decode(Encoding::Windows1252, c as usize - 0x80),
        c => c,
    }
}

fn without_ligature(mut text: String, c: char) -> String {
    text.push_str(match c {
        'Ĳ' => "IJ",
        'ĳ' => "ij",
        'ŉ' => "ʼn",
        'Ǳ' => "DZ",
        'ǲ' => "Dz",
        'ǳ' => "dz",
        'Ǆ' => "DŽ",
        'ǅ' => "Dž",
        'ǆ' => "dž",
        'Ǉ' => "LJ",
        'ǈ' => "Lj",
        'ǉ' => "lj",
        'Ǌ' => "NJ",
        'ǋ' => "Nj",
        'ǌ' => "nj",
        'ﬀ' => "ff",
        'ﬁ' => "fi",
        'ﬂ' => "fl",
        'ﬃ' => "ffi",
        'ﬄ' => "ffl",
        'ﬅ' => "ſt",
        'ﬆ' => "st",
        c => {
            text.push(c);
            return text;
        }
    });
    text
}

/// Half and full width forms become the usual ones.
fn in_plain_width(mut text: String, c: char) -> String {
    match c {
        '\u{3000}' => text.push(' '),
        '\u{ff01}'..='\u{ffef}' => text.extend(std::iter::once(c).nfkc()),
        c => text.push(c),
    }
    text
}

fn uncurled(c: char) -> char {
    match c {
        '\u{2bc}' | '\u{2018}'..='\u{201b}' => '\'',
        '\u{201c}'..='\u{201f}' => '"',
        c => c,
    }
}

fn is_control(c: char) -> bool {
    matches!(c,
        '\0'..='\u{8}' | '\u{b}' | '\u{e}'..='\u{1f}' | '\u{7f}' | '\u{206a}'..='\u{206f}' | '\u{feff}'
        | '\u{fff9}'..='\u{fffc}')
}
