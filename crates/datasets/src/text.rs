//! Text files from any system: with or without a byte order mark, in UTF-8 or UTF-16.

/// The byte order mark of UTF-8, which some editors write at the beginning of a file.
pub(crate) const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// Whether a text begins with a byte order mark of UTF-16, in which Windows calls files "Unicode".
pub(crate) fn is_utf_16(bytes: &[u8]) -> bool {
    bytes.starts_with(&[0xFF, 0xFE]) || bytes.starts_with(&[0xFE, 0xFF])
}

/// The text of a file in UTF-8, or in UTF-16 with a byte order mark; without the mark.
///
/// # Errors
/// Says that the text has another encoding.
pub fn decode_text(bytes: &[u8]) -> Result<String, String> {
    let wide = |unit: fn([u8; 2]) -> u16| {
        let (units, rest) = bytes[2..].as_chunks::<2>();
        let text = String::from_utf16(&units.iter().map(|&pair| unit(pair)).collect::<Vec<_>>());
        text.ok().filter(|_| rest.is_empty()).ok_or_else(|| "is damaged UTF-16: save it as UTF-8".to_owned())
    };
    match bytes {
        [0xFF, 0xFE, ..] => wide(u16::from_le_bytes),
        [0xFE, 0xFF, ..] => wide(u16::from_be_bytes),
        _ => {
            let text = bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bytes);
            let text = std::str::from_utf8(text).map_err(|_| "is not UTF-8: save it as UTF-8".to_owned())?;
            Ok(text.to_owned())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::decode_text;

    #[test]
    fn marks_are_removed_and_other_encodings_named() {
        let wide = |unit: fn(u16) -> [u8; 2]| {
            "\u{feff}ein Käse 🧀".encode_utf16().flat_map(unit).collect::<Vec<u8>>()
        };
        for bytes in [
            "ein Käse 🧀".into(),
            "\u{feff}ein Käse 🧀".into(),
            wide(u16::to_le_bytes),
            wide(u16::to_be_bytes),
        ] {
            assert_eq!(decode_text(&bytes).as_deref(), Ok("ein Käse 🧀"));
        }
        for bytes in [&b"K\xE4se"[..], b"\xFF\xFEa", b"\xFF\xFE\x00\xD8"] {
            assert!(decode_text(bytes).expect_err("another encoding").contains("save it as UTF-8"));
        }
    }
}
