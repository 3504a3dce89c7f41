//! SHA-256 in lower-case hexadecimal, as file names, columns and headers hold it.

use crate::Error;
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io;
use std::path::Path;

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
    use super::{of_bytes, of_file, of_parts};

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
}
