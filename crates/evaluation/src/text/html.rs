//! Python's `html.unescape`: HTML 5's rules, except that some numbers stand for nothing.

/// Replaces entities and numbers, also without their semicolon where HTML allows it.
#[must_use]
pub fn unescape(text: &str) -> String {
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

/// The characters of the entity of just this name, such as `amp;`.
pub(super) fn entity(name: &str) -> Option<String> {
    let entity = format!("&{name}");
    let plain = htmlize::unescape(entity.as_str());
    // A shorter name without semicolon may have been what was replaced; then the rest is still there.
    let is_whole = plain != entity && (!plain.ends_with(';') || name == "semi;");
    is_whole.then(|| plain.into_owned())
}

/// Where the reference that begins `text` ends: at most 32 characters and a semicolon.
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

/// What a number stands for: possibly nothing. `None` if it is no number.
fn number(piece: &str) -> Option<Option<char>> {
    let digits = piece.strip_prefix("&#")?.trim_end_matches(';');
    let code = match digits.strip_prefix(['x', 'X']) {
        Some("") => return None,
        Some(digits) => u32::from_str_radix(digits, 16),
        None if digits.is_empty() => return None,
        None => digits.parse(),
    };
    // More than 32 bits are too many as well.
    let code = code.unwrap_or(u32::MAX);
    Some(match code {
        0 => Some('\u{fffd}'),
        0x0d => Some('\r'),
        0x80..=0x9f => Some(super::ftfy::windows_1252_or_control(code as u8)),
        0x01..=0x08 | 0x0b | 0x0e..=0x1f | 0x7f | 0xfdd0..=0xfdef => None,
        code if code & 0xfffe == 0xfffe && code <= 0x10_ffff => None,
        code => Some(char::from_u32(code).unwrap_or('\u{fffd}')),
    })
}
