//! The members of a zip archive, read with the `zip` crate: their names, and where their bytes are in the file.
//!
//! Torch stores members uncompressed, so a tensor can be read from its position in the file. Deflated members, which other
//! tools write, are supported too.

use super::problem::Checked;
use super::source::{Extent, Source, Window};
use std::cell::Cell;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use zip::read::{ArchiveOffset, Config};
use zip::{CompressionMethod, ZipArchive};

/// The largest number of bytes that are read to open an archive. The directory is one of them, and its entries in memory are
/// a few times as large. A checkpoint has some thousand members of about 100 bytes in the directory.
const MAX_DIRECTORY: u64 = 64 << 20;

/// A file in the archive.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) name: String,
    /// Where its bytes are, or why they cannot be read.
    pub(super) extent: Checked<Extent>,
}

/// All members of an archive.
pub(super) fn members(source: &Source) -> Checked<Vec<Member>> {
    members_within(source, MAX_DIRECTORY)
}

/// All members of an archive, if at most `budget` bytes are needed to open it.
fn members_within(source: &Source, budget: u64) -> Checked<Vec<Member>> {
    let budget = Cell::new(budget);
    let reader = BufReader::new(BoundedReader { window: source.window(), budget: &budget });
    let config = Config { archive_offset: ArchiveOffset::Known(0) };
    let mut archive = ZipArchive::with_config(config, reader).map_err(|error| {
        format!("is a zip archive with a damaged directory ({error}): copy or download it again")
    })?;
    if archive.has_duplicate_names() {
        return Err("is a zip archive with two members of one name: save the model again".to_owned());
    }
    budget.set(u64::MAX);
    let names: Vec<String> =
        archive.file_names_raw().map(|name| String::from_utf8_lossy(name).into_owned()).collect();
    let members = names.into_iter().enumerate().map(|(i, name)| {
        let extent = extent(&mut archive, i, source)
            .map_err(|problem| format!("has a zip member {name:?} that {problem}"));
        Member { name, extent }
    });
    Ok(members.collect())
}

/// Where the bytes of a member are, or what is wrong, as the rest of a sentence that begins with the member.
fn extent<R: Read + Seek>(archive: &mut ZipArchive<R>, index: usize, source: &Source) -> Checked<Extent> {
    let misplaced = || "does not begin where the directory says: copy or download the file again".to_owned();
    let file = archive.by_index_raw(index).map_err(|_| misplaced())?;
    if file.encrypted() {
        return Err("is encrypted: unpack the archive with its password and save the model again".to_owned());
    }
    let start = file.data_start().ok_or_else(misplaced)?;
    let (compressed, length) = (file.compressed_size(), file.size());
    if start.checked_add(compressed).is_none_or(|end| end > source.length()) {
        return Err("reaches beyond the end of the file: copy or download it again".to_owned());
    }
    match file.compression() {
        CompressionMethod::STORE if compressed == length => Ok(Extent::stored(start, length)),
        CompressionMethod::STORE => Err("has two different lengths but is not compressed".to_owned()),
        CompressionMethod::DEFLATE => Ok(Extent::deflated(start, compressed, length)),
        other => Err(format!("is compressed with {other}; only stored and deflated members are supported")),
    }
}

/// A reader that fails after a number of bytes, so that a hostile directory cannot exhaust memory.
struct BoundedReader<'a> {
    window: Window<'a>,
    /// The bytes that may still be read.
    budget: &'a Cell<u64>,
}

impl Read for BoundedReader<'_> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let count = self.window.read(bytes)?;
        let left = self.budget.get().checked_sub(count as u64);
        let left = left.ok_or_else(|| io::Error::other("it is too long for a checkpoint"))?;
        self.budget.set(left);
        Ok(count)
    }
}

impl Seek for BoundedReader<'_> {
    fn seek(&mut self, position: SeekFrom) -> io::Result<u64> {
        self.window.seek(position)
    }
}

#[cfg(test)]
mod tests {
    use super::members_within;
    use crate::torch_file::source::Source;
    use std::fs::File;
    use std::path::Path;

    #[test]
    fn a_directory_beyond_the_budget_is_refused() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/torch_files");
        let source =
            Source::open(File::open(folder.join("types_zip.pt")).expect("a fixture")).expect("a file");
        assert!(members_within(&source, 1 << 20).expect("members").len() > 2);
        let problem = members_within(&source, 1000).expect_err("too small a budget");
        assert!(problem.contains("too long for a checkpoint"), "{problem}");
    }
}
