//! Lists with one JSON object per line, read line by line within bounds.

use crate::error::ReadError;
use crate::text::{BYTE_ORDER_MARK, is_utf_16};
use domain::dataset::Source;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

/// Longest accepted line, in bytes.
const LONGEST_LINE: u64 = 1 << 20;

/// The lines of a list with their positions. Empty lines are counted and left out.
#[derive(Debug)]
pub(crate) struct Lines {
    path: PathBuf,
    reader: BufReader<File>,
    next: u64,
}

impl Lines {
    /// # Errors
    /// Fails if the file cannot be opened.
    pub(crate) fn open(list: &Path) -> Result<Self, ReadError> {
        let reader = BufReader::new(File::open(list).map_err(|e| ReadError::file(list, e))?);
        Ok(Self { path: list.to_owned(), reader, next: 0 })
    }
}

impl Iterator for Lines {
    type Item = Result<(Vec<u8>, Source), ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let mut line = Vec::new();
            match self.reader.by_ref().take(LONGEST_LINE).read_until(b'\n', &mut line) {
                Ok(0) => return None,
                Ok(_) => {}
                Err(error) => return Some(Err(ReadError::file(&self.path, error))),
            }
            let row = self.next;
            if line.len() as u64 == LONGEST_LINE && line.last() != Some(&b'\n') {
                let problem =
                    format!("row {} exceeds {LONGEST_LINE} bytes: write one JSON object per line", row + 1);
                return Some(Err(ReadError::format(&self.path, problem)));
            }
            self.next += 1;
            if row == 0 && line.starts_with(BYTE_ORDER_MARK) {
                line.drain(..BYTE_ORDER_MARK.len());
            }
            if row == 0 && is_utf_16(&line) {
                return Some(Err(ReadError::format(&self.path, "is UTF-16: save it as UTF-8")));
            }
            if !line.trim_ascii().is_empty() {
                let file = self.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
                return Some(Ok((line, Source { file, row })));
            }
        }
    }
}

/// The number of lines that are not empty.
///
/// # Errors
/// Fails if the file cannot be opened.
pub(crate) fn count_lines(list: &Path) -> Result<u64, ReadError> {
    let lines = BufReader::new(File::open(list).map_err(|e| ReadError::file(list, e))?).split(b'\n');
    Ok(lines.map_while(Result::ok).filter(|line| !line.trim_ascii().is_empty()).count() as u64)
}
