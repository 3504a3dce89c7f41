//! Bytes in order, counted, with an end that is an error instead of a surprise.

use super::Checked;
use std::io::{BufRead, Read};

/// Longer strings are passed over: no name of a tensor is so long, and arrays that lie in a pickle are of no use here.
pub(super) const LONGEST_TEXT: u64 = 1 << 16;

/// A reader that knows its place.
#[derive(Debug)]
pub(super) struct Input<R> {
    reader: R,
    position: u64,
}

impl<R: BufRead> Input<R> {
    pub(super) fn new(reader: R) -> Self {
        Self { reader, position: 0 }
    }

    /// How many bytes were taken.
    pub(super) fn position(&self) -> u64 {
        self.position
    }

    pub(super) fn array<const N: usize>(&mut self) -> Checked<[u8; N]> {
        let mut bytes = [0; N];
        self.reader.read_exact(&mut bytes).map_err(|e| self.broken(&e))?;
        self.position += N as u64;
        Ok(bytes)
    }

    pub(super) fn byte(&mut self) -> Checked<u8> {
        Ok(self.array::<1>()?[0])
    }

    /// The next bytes; none, though taken, where they are too many to be a text.
    pub(super) fn take(&mut self, count: u64) -> Checked<Option<Vec<u8>>> {
        let mut part = self.reader.by_ref().take(count);
        let mut kept = None;
        let taken = if count > LONGEST_TEXT {
            std::io::copy(&mut part, &mut std::io::sink())
        } else {
            part.read_to_end(kept.insert(Vec::new())).map(|n| n as u64)
        };
        let taken = taken.map_err(|e| self.broken(&e))?;
        if taken < count {
            return Err(self.broken(&std::io::ErrorKind::UnexpectedEof.into()));
        }
        self.position += count;
        Ok(kept)
    }

    /// The bytes up to a line's end, which is taken too; none where they are too many to be a text.
    pub(super) fn line(&mut self) -> Checked<Option<Vec<u8>>> {
        let mut line = Vec::new();
        let mut long = false;
        loop {
            let part = self
                .reader
                .by_ref()
                .take(LONGEST_TEXT)
                .read_until(b'\n', &mut line)
                .map_err(|e| self.broken(&e))?;
            self.position += part as u64;
            if part == 0 {
                return Err(self.broken(&std::io::ErrorKind::UnexpectedEof.into()));
            }
            if line.pop_if(|last| *last == b'\n').is_some() {
                return Ok((!long).then_some(line));
            }
            long = true;
            line.clear();
        }
    }

    fn broken(&self, error: &std::io::Error) -> String {
        if error.kind() == std::io::ErrorKind::UnexpectedEof {
            format!(
                "ends in the middle of a pickle, after {} bytes of it: copy or download it again",
                self.position
            )
        } else {
            format!("cannot be read after {} bytes of a pickle: {error}", self.position)
        }
    }
}
