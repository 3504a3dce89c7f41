//! ftfy's `fix_text` with its defaults: repairs text that was decoded in the wrong encoding, and normalises quotes,
//! character widths and line breaks. It is the first step of OpenAI's and OpenCLIP's tokenizers.
//!
//! A port of ftfy 6.3.1, (c) Robyn Speer, Apache-2.0. The `plsfix` crate is a port as well, but its result differed for
//! 410 of 11,822 texts, for example `<tag> &amp;` and texts with terminal escapes, and such differences change token
//! ids and scores (`oracles/texts.py compare` makes the comparison).

mod bytes;
mod tables;

use super::{html, windows_1252};
use bytes::{decode, replace_lossy_sequences, restore_byte_a0};
use regex::Regex;
use std::borrow::Cow;
use std::sync::LazyLock;
use tables::{ENCODINGS, Encoding, TABLES};
use unicode_normalization::UnicodeNormalization;

/// Longer lines are repaired in parts of this many characters.
const LONGEST: usize = 1_000_000;

/// Repairs a text line by line.
pub(super) fn fix_text(text: &str) -> String {
    let mut fixed = String::with_capacity(text.len());
    // From the first line that contains "<" on, entities are kept.
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
        text = text.chars().map(windows_1252::from_control).collect();
        text = text.chars().fold(String::new(), push_without_ligature);
        text = text.chars().fold(String::new(), push_in_normal_width);
        text = text.chars().map(straight_quote).collect();
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
    #[expect(clippy::expect_used, reason = "the patterns are constants of this file")]
    Regex::new(pattern).expect("a valid pattern")
}

/// Replaces entities that end in a semicolon, also in capitals unless that is the name of another entity.
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

/// Undoes wrong decodings until nothing changes.
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
        // In Mac Roman these bytes are an en dash before a space.
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
        let fixed: Option<String> = text.chars().map(latin_1_as_windows_1252).collect();
        if let Some(fixed) = fixed.filter(|fixed| fixed != text) {
            return Some(fixed);
        }
    }
    Some(text.chars().map(windows_1252::from_control).collect())
}

/// Repairs the parts of a text that look like UTF-8 decoded in another encoding.
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

/// The character of Windows-1252 for a character of Latin-1; `None` for the five bytes that Windows-1252 does not use.
fn latin_1_as_windows_1252(c: char) -> Option<char> {
    match c {
        '\u{81}' | '\u{8d}' | '\u{8f}' | '\u{90}' | '\u{9d}' => None,
        c => Some(windows_1252::from_control(c)),
    }
}

fn push_without_ligature(mut text: String, c: char) -> String {
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

/// Replaces halfwidth and fullwidth forms by the normal characters.
fn push_in_normal_width(mut text: String, c: char) -> String {
    match c {
        '\u{3000}' => text.push(' '),
        '\u{ff01}'..='\u{ffef}' => text.extend(std::iter::once(c).nfkc()),
        c => text.push(c),
    }
    text
}

fn straight_quote(c: char) -> char {
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
