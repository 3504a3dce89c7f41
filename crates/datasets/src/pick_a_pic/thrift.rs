//! The part of Thrift's compact protocol that it takes to find a few numbers in a page header and to skip everything
//! else (<https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md>). The parquet crate's
//! reader of page headers is private.

/// The deepest nesting that [`Thrift::skip`] follows. Page headers have three levels.
pub(super) const MAX_DEPTH: u32 = 8;
/// The type of a boolean field that is true; for booleans the type is the value.
pub(super) const TRUE: u8 = 1;
/// The type of a boolean field that is false.
pub(super) const FALSE: u8 = 2;
/// The type of a 32-bit integer.
pub(super) const I32: u8 = 5;
/// The type of a struct.
pub(super) const STRUCT: u8 = 12;

/// Reads bytes from the beginning of a slice. Every method returns `None` if the bytes end too early or are invalid.
pub(super) struct Thrift<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Thrift<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// The number of bytes read so far.
    pub(super) fn position(&self) -> usize {
        self.at
    }

    /// The type of the next field of a struct, 0 at its end. Sets `field` to the number of the field.
    pub(super) fn field(&mut self, field: &mut i64) -> Option<u8> {
        let byte = self.byte()?;
        if byte & 15 != 0 {
            *field = match byte >> 4 {
                0 => self.zigzag()?,
                delta => field.saturating_add(i64::from(delta)),
            };
        }
        Some(byte & 15)
    }

    /// A size; 0 for a negative one, which the parquet crate refuses.
    pub(super) fn size(&mut self) -> Option<u64> {
        Some(u64::try_from(self.zigzag()?).unwrap_or(0))
    }

    /// Skips the value of a field of type `kind`.
    pub(super) fn skip(&mut self, kind: u8, depth: u32) -> Option<()> {
        if depth == 0 {
            return None;
        }
        match kind {
            TRUE | FALSE => Some(()),
            3 => self.advance(1),
            4..=6 => self.varint().map(drop),
            7 => self.advance(8),
            8 => {
                let length = self.varint()?;
                self.advance(length)
            }
            9 | 10 => {
                let head = self.byte()?;
                let count = if head >> 4 == 15 { self.varint()? } else { u64::from(head >> 4) };
                // In a list a boolean takes a byte.
                let kind = if matches!(head & 15, TRUE | FALSE) { 3 } else { head & 15 };
                (0..count).try_for_each(|_| self.skip(kind, depth - 1))
            }
            11 => {
                let count = self.varint()?;
                if count == 0 {
                    return Some(());
                }
                let kinds = self.byte()?;
                (0..count).try_for_each(|_| {
                    self.skip(kinds >> 4, depth - 1)?;
                    self.skip(kinds & 15, depth - 1)
                })
            }
            STRUCT => loop {
                let byte = self.byte()?;
                if byte & 15 == 0 {
                    return Some(());
                }
                if byte >> 4 == 0 {
                    self.varint()?;
                }
                self.skip(byte & 15, depth - 1)?;
            },
            _ => None,
        }
    }

    fn byte(&mut self) -> Option<u8> {
        let byte = *self.bytes.get(self.at)?;
        self.at += 1;
        Some(byte)
    }

    fn advance(&mut self, count: u64) -> Option<()> {
        self.at = self.at.checked_add(usize::try_from(count).ok()?)?;
        (self.at <= self.bytes.len()).then_some(())
    }

    fn varint(&mut self) -> Option<u64> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 127) << shift;
            if byte < 128 {
                return Some(value);
            }
        }
        None
    }

    fn zigzag(&mut self) -> Option<i64> {
        let value = self.varint()?;
        Some((value >> 1) as i64 ^ -((value & 1) as i64))
    }
}
