//! SHA-256 in lower-case hexadecimal, as file names, columns and headers hold it.

use crate::Error;
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::fs::{File, Metadata};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

/// Bytes in hexadecimal.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// SHA-256 of bytes.
#[must_use]
pub fn of_bytes(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// SHA-256 of parts, as if they were one; nothing separates them.
#[must_use]
pub fn of_parts<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> String {
    hex(&parts.into_iter().fold(Sha256::new(), |hash, part| hash.chain_update(part)).finalize())
}

/// SHA-256 of a file, read in portions.
///
/// # Errors
/// Fails if the file cannot be read.
pub fn of_file(file: &Path) -> Result<String, Error> {
    of_files([file])
}

/// Files below this size are always read: hashing them takes less than a millisecond.
const SMALLEST_REMEMBERED: u64 = 256 << 10;

/// As [`of_file`], but a large file is read once in the life of the process, and again only after its size, its times or
/// its inode have changed.
///
/// # Errors
/// Fails if the file cannot be read.
pub fn of_unchanged_file(file: &Path) -> Result<String, Error> {
    static KNOWN: Mutex<Option<HashMap<PathBuf, (Stamp, String)>>> = Mutex::new(None);
    let stamp = || std::fs::metadata(file).map(|metadata| Stamp::of(&metadata)).map_err(Error::at(file));
    let before = stamp()?;
    if before.length < SMALLEST_REMEMBERED {
        return of_file(file);
    }
    let known = || KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((stamp, hash)) = known().as_ref().and_then(|known| known.get(file))
        && *stamp == before
    {
        return Ok(hash.clone());
    }
    let hash = of_file(file)?;
    // A file that is being written is not remembered.
    if stamp()? == before {
        known().get_or_insert_default().insert(file.to_owned(), (before, hash.clone()));
    }
    Ok(hash)
}

/// What changes when a file is written or replaced.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Stamp {
    length: u64,
    modified: Option<SystemTime>,
    /// Device, inode, and the time of the last change of content or metadata, which no program can set back.
    unix: [i64; 4],
}

impl Stamp {
    fn of(metadata: &Metadata) -> Self {
        #[cfg(unix)]
        let unix = {
            use std::os::unix::fs::MetadataExt;
            [
                metadata.dev().cast_signed(),
                metadata.ino().cast_signed(),
                metadata.ctime(),
                metadata.ctime_nsec(),
            ]
        };
        #[cfg(not(unix))]
        let unix = [0; 4];
        Self { length: metadata.len(), modified: metadata.modified().ok(), unix }
    }
}

/// SHA-256 of several files, as if they were one: the shards of a weights file.
///
/// # Errors
/// Fails if a file cannot be read.
pub fn of_files<'a>(files: impl IntoIterator<Item = &'a Path>) -> Result<String, Error> {
    let mut hash = Sha256::new();
    for file in files {
        let mut open = File::open(file).map_err(Error::at(file))?;
        io::copy(&mut open, &mut hash).map_err(Error::at(file))?;
    }
    Ok(hex(&hash.finalize()))
}

#[cfg(test)]
mod tests {
    use super::{SMALLEST_REMEMBERED, of_bytes, of_file, of_parts, of_unchanged_file};
    use std::fs;

    #[test]
    fn parts_and_files_have_the_digest_of_their_bytes() {
        // FIPS 180-2, appendix B.1.
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(of_bytes(b"abc"), abc);
        assert_eq!(of_parts([&b"a"[..], b"bc"]), abc);
        let scratch = tempfile::tempdir().expect("a folder");
        let file = scratch.path().join("abc");
        std::fs::write(&file, b"abc").expect("written");
        assert_eq!(of_file(&file).expect("read"), abc);
    }

    #[test]
    fn a_remembered_hash_is_that_of_the_present_content() {
        let scratch = tempfile::tempdir().expect("a folder");
        let [file, other] = ["file", "other"].map(|name| scratch.path().join(name));
        let content = |byte: u8| vec![byte; usize::try_from(SMALLEST_REMEMBERED).expect("fits")];
        fs::write(&file, content(1)).expect("written");
        assert_eq!(of_unchanged_file(&file).expect("read"), of_bytes(&content(1)));
        assert_eq!(of_unchanged_file(&file).expect("remembered"), of_bytes(&content(1)));
        // Replaced by a file of the same size and time.
        fs::write(&other, content(2)).expect("written");
        let time = fs::metadata(&file).expect("a file").modified().expect("a time");
        fs::File::open(&other).and_then(|file| file.set_modified(time)).expect("set");
        fs::rename(&other, &file).expect("renamed");
        assert_eq!(of_unchanged_file(&file).expect("read again"), of_bytes(&content(2)));
        fs::remove_file(&file).expect("removed");
        of_unchanged_file(&file).expect_err("a file that is gone has no hash");
    }
}
