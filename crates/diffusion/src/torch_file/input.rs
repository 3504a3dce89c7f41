//! The bytes of a pickle, read in order.

use super::problem::Checked;
use std::io::{BufRead, Read};

/// Longer strings are skipped: they are not names of tensors but, for example, the bytes of arrays.
const MAX_TEXT: u64 = 1 << 16;

/// A reader that counts its bytes.
#[derive(Debug)]
pub(super) struct Input<R> {
    reader: R,
    position: u64,
}

impl<R: BufRead> Input<R> {
    pub(super) fn new(reader: R) -> Self {
        Self { reader, position: 0 }
    }

    /// The number of bytes read so far.
    pub(super) fn position(&self) -> u64 {
        self.position
    }

    pub(super) fn array<const N: usize>(&mut self) -> Checked<[u8; N]> {
        let mut bytes = [0; N];
        self.reader.read_exact(&mut bytes).map_err(|e| self.error(&e))?;
        self.position += N as u64;
        Ok(bytes)
    }

    pub(super) fn byte(&mut self) -> Checked<u8> {
        Ok(self.array::<1>()?[0])
    }

    /// Reads the next `count` bytes; skips them and returns `None` if they are too long for a name.
    pub(super) fn take(&mut self, count: u64) -> Checked<Option<Vec<u8>>> {
        let mut part = self.reader.by_ref().take(count);
        let mut kept = None;
        let taken = if count > MAX_TEXT {
            std::io::copy(&mut part, &mut std::io::sink())
        } else {
            part.read_to_end(kept.insert(Vec::new())).map(|n| n as u64)
        };
        let taken = taken.map_err(|e| self.error(&e))?;
        if taken < count {
            return Err(self.error(&std::io::ErrorKind::UnexpectedEof.into()));
        }
        self.position += count;
        Ok(kept)
    }

    /// Reads a line and returns it without its end; `None` if it is too long for a name.
    pub(super) fn line(&mut self) -> Checked<Option<Vec<u8>>> {
        let mut line = Vec::new();
        let mut long = false;
        loop {
            let part = self
                .reader
                .by_ref()
                .take(MAX_TEXT)
                .read_until(b'\n', &mut line)
                .map_err(|e| self.error(&e))?;
            self.position += part as u64;
            if part == 0 {
                return Err(self.error(&std::io::ErrorKind::UnexpectedEof.into()));
            }
            if line.pop_if(|last| *last == b'\n').is_some() {
                return Ok((!long).then_some(line));
            }
            long = true;
            line.clear();
        }
    }

    fn error(&self, error: &std::io::Error) -> String {
        if error.kind() == std::io::ErrorKind::UnexpectedEof {
            format!("ends within a pickle, after {} bytes of it: copy or download it again", self.position)
        } else {
            format!("cannot be read after {} bytes of a pickle: {error}", self.position)
        }
    }
}
