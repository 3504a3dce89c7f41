//! The bytes 0x80 to 0x9F in Windows-1252. Browsers, Python's `html.unescape` and ftfy read Latin-1's control
//! characters of these codes as the characters of Windows-1252.

/// The characters of the bytes 0x80 to 0x9F (<https://encoding.spec.whatwg.org/index-windows-1252.txt>). Five bytes
/// have none and stay control characters.
const CHARACTERS: [char; 32] = [
    '€', '\u{81}', '‚', 'ƒ', '„', '…', '†', '‡', 'ˆ', '‰', 'Š', '‹', 'Œ', '\u{8d}', 'Ž', '\u{8f}', '\u{90}',
    '‘', '’', '“', '”', '•', '–', '—', '˜', '™', 'š', '›', 'œ', '\u{9d}', 'ž', 'Ÿ',
];

/// Replaces a control character from U+0080 to U+009F by the character of Windows-1252; returns other characters
/// unchanged.
pub(super) fn from_control(c: char) -> char {
    match c {
        '\u{80}'..='\u{9f}' => CHARACTERS[c as usize - 0x80],
        c => c,
    }
}
