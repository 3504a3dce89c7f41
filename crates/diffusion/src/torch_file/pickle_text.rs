//! Decoding the text of pickle opcodes.

/// The line as UTF-8.
pub(super) fn line_text(line: Option<Vec<u8>>) -> Option<String> {
    String::from_utf8(line?).ok()
}

/// A number written in a line.
pub(super) fn line_number<T: std::str::FromStr>(line: Option<Vec<u8>>) -> Option<T> {
    line_text(line)?.trim().parse().ok()
}

/// A string of Python 2, whose bytes may have any encoding: UTF-8 if possible, otherwise Latin-1.
pub(super) fn python2_text(bytes: Vec<u8>) -> String {
    let latin1 = |bytes: Vec<u8>| bytes.into_iter().map(char::from).collect();
    String::from_utf8(bytes).unwrap_or_else(|e| latin1(e.into_bytes()))
}

/// The string of `STRING`, a quoted literal of Python 2.
pub(super) fn unquote(line: &[u8]) -> Option<String> {
    let line: String = line.iter().copied().map(char::from).collect();
    let line = line.trim_end();
    let quote = line.chars().next().filter(|c| matches!(c, '\'' | '"'))?;
    unescape(line.strip_prefix(quote)?.strip_suffix(quote)?)
}

/// Replaces backslash escapes; `None` if one is malformed.
pub(super) fn unescape(text: &str) -> Option<String> {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        if c != '\\' {
            plain.push(c);
            continue;
        }
        let escape = rest.next()?;
        let digits = match escape {
            'n' | 't' | 'r' | '\\' | '\'' | '"' => {
                plain.push(match escape {
                    'n' => '\n',
                    't' => '\t',
                    'r' => '\r',
                    other => other,
                });
                continue;
            }
            'x' => 2,
            'u' => 4,
            'U' => 8,
            _ => return None,
        };
        let code: String = rest.by_ref().take(digits).collect();
        plain.push(char::from_u32(u32::from_str_radix(&code, 16).ok()?)?);
    }
    Some(plain)
}
