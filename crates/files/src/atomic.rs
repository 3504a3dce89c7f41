//! Files that are complete or absent, also after a crash or power loss: written under a temporary name in the same
//! folder, synced, renamed, and the folder synced.

use crate::Error;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU64, Ordering};

/// Writes a file atomically, and the folders above it where they are missing.
///
/// # Errors
/// Fails if a folder or the file cannot be written; an existing file then keeps its content.
pub fn write_atomically(file: &Path, bytes: &[u8]) -> Result<(), Error> {
    write_atomically_by(file, |out| out.write_all(bytes).map_err(Error::at(file)))
}

/// As [`write_atomically`], for content that does not fit in memory: `write` streams it into the file.
///
/// # Errors
/// Fails if `write` does, or if a folder or the file cannot be written; an existing file then keeps its content.
pub fn write_atomically_by<E: From<Error>>(
    file: &Path,
    write: impl FnOnce(&mut BufWriter<File>) -> Result<(), E>,
) -> Result<(), E> {
    let folder = folder_of(file);
    make_folder(folder)?;
    let temporary = temporary_name(file);
    let stream = || -> Result<(), E> {
        let mut out = BufWriter::new(File::create(&temporary).map_err(Error::at(file))?);
        write(&mut out)?;
        let out = out.into_inner().map_err(|error| Error::at(file)(error.into_error()))?;
        out.sync_all().map_err(Error::at(file))?;
        fs::rename(&temporary, file).map_err(Error::at(file))?;
        Ok(sync_folder(folder)?)
    };
    stream().inspect_err(|_| {
        // The first error is the one to report; a leftover temporary file is harmless.
        drop(fs::remove_file(&temporary));
    })
}

/// Creates a folder and those above it, each synced into its parent.
///
/// # Errors
/// Fails if one cannot be created.
pub fn make_folder(folder: &Path) -> Result<(), Error> {
    if folder.is_dir() {
        return Ok(());
    }
    let parent = folder_of(folder);
    if parent != folder {
        make_folder(parent)?;
    }
    match fs::create_dir(folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(Error::at(folder)(error)),
        _ => sync_folder(parent),
    }
}

/// Syncs a folder, so that the names in it survive a power loss.
///
/// # Errors
/// Fails if the folder cannot be opened or synced.
pub fn sync_folder(folder: &Path) -> Result<(), Error> {
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(Error::at(folder))
}

/// The folder that holds a path; `.` for a bare name.
fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// A hidden name that no other write uses: neither of this process nor of another.
fn temporary_name(file: &Path) -> PathBuf {
    static WRITES: AtomicU64 = AtomicU64::new(0);
    let mut name = std::ffi::OsString::from(".");
    name.push(file.file_name().unwrap_or_default());
    name.push(format!(".{}-{}.part", process::id(), WRITES.fetch_add(1, Ordering::Relaxed)));
    folder_of(file).join(name)
}

#[cfg(test)]
mod tests {
    use super::{write_atomically, write_atomically_by};
    use crate::Error;
    use std::fs;
    use std::io::{self, Write};

    #[test]
    fn folders_are_created_and_content_is_replaced() {
        let scratch = tempfile::tempdir().expect("a folder");
        let file = scratch.path().join("a/b/c.txt");
        write_atomically(&file, b"one").expect("written");
        write_atomically(&file, b"two").expect("replaced");
        assert_eq!(fs::read(&file).expect("a file"), b"two");
    }

    #[test]
    fn a_failed_write_keeps_the_old_file_and_leaves_nothing_behind() {
        let scratch = tempfile::tempdir().expect("a folder");
        let file = scratch.path().join("c.txt");
        write_atomically(&file, b"old").expect("written");
        let failed = write_atomically_by(&file, |out| {
            out.write_all(b"half").map_err(Error::at(&file))?;
            Err(Error::at(&file)(io::Error::other("no more")))
        });
        assert!(failed.expect_err("fails").to_string().ends_with("c.txt: no more"));
        assert_eq!(fs::read(&file).expect("a file"), b"old");
        assert_eq!(fs::read_dir(scratch.path()).expect("a folder").count(), 1);
    }
}
