//! Python's `html.unescape`: the rules of HTML 5, except that some numeric references become nothing. The `htmlize`
//! crate replaces the named references; numeric ones are replaced here, because `htmlize` keeps those that Python
//! drops.

use super::windows_1252;

/// Replaces named and numeric character references, also those without a semicolon where HTML allows it.
pub(super) fn unescape(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find('&') {
        plain.push_str(&rest[..start]);
        rest = &rest[start..];
        let (piece, after) = rest.split_at(end(rest));
        match number(piece) {
            Some(c) => plain.extend(c),
            None => plain.push_str(&htmlize::unescape(piece)),
        }
        rest = after;
    }
    plain.push_str(rest);
    plain
}

/// The characters of the named reference with exactly this name, such as `amp;`.
pub(super) fn entity(name: &str) -> Option<String> {
    let entity = format!("&{name}");
    let plain = htmlize::unescape(entity.as_str());
    // If only a shorter name without semicolon was replaced, the rest of the name is still there.
    let is_whole = plain != entity && (!plain.ends_with(';') || name == "semi;");
    is_whole.then(|| plain.into_owned())
}

/// The length of the reference at the beginning of `text`: at most 32 characters and a semicolon.
fn end(text: &str) -> usize {
    let after = &text[1..];
    let word = match after.strip_prefix('#') {
        Some(digits) => {
            let hexadecimal = digits.strip_prefix(['x', 'X']);
            let is_digit =
                |c: char| if hexadecimal.is_some() { c.is_ascii_hexdigit() } else { c.is_ascii_digit() };
            let digits = hexadecimal.unwrap_or(digits);
            text.len() - digits.trim_start_matches(is_digit).len()
        }
        None => {
            let stop = |c: char| matches!(c, '\t' | '\n' | '\x0c' | ' ' | '<' | '&' | '#' | ';');
            let found = after.char_indices().enumerate().find(|&(n, (_, c))| n == 32 || stop(c));
            1 + found.map_or(after.len(), |(_, (i, _))| i)
        }
    };
    if text[word..].starts_with(';') { word + 1 } else { word }
}

/// The character of a numeric reference, which may be none (`Some(None)`); `None` if the reference is not numeric.
fn number(piece: &str) -> Option<Option<char>> {
    let digits = piece.strip_prefix("&#")?.trim_end_matches(';');
    let code = match digits.strip_prefix(['x', 'X']) {
        Some("") => return None,
        Some(digits) => u32::from_str_radix(digits, 16),
        None if digits.is_empty() => return None,
        None => digits.parse(),
    };
    // Numbers beyond 32 bits are invalid like any number beyond Unicode.
    let code = code.unwrap_or(u32::MAX);
    Some(match code {
        0 => Some('\u{fffd}'),
        0x0d => Some('\r'),
        0x80..=0x9f => Some(windows_1252::from_control(char::from(code as u8))),
        0x01..=0x08 | 0x0b | 0x0e..=0x1f | 0x7f | 0xfdd0..=0xfdef => None,
        code if code & 0xfffe == 0xfffe && code <= 0x10_ffff => None,
        code => Some(char::from_u32(code).unwrap_or('\u{fffd}')),
    })
}
