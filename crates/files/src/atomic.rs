//! Files that are complete or absent, also after a crash or power loss: written under a temporary name in the same
//! folder, synced, renamed, and the folder synced.

use crate::{Error, fence};
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
        fence::check(file)?;
        fs::rename(&temporary, file).map_err(Error::at(file))?;
        Ok(sync_folder(folder)?)
    };
    stream().inspect_err(|_| {
        // The first error is the one to report; a leftover temporary file is harmless.
        drop(fs::remove_file(&temporary));
    })
}

/// Writes a folder that is complete or absent: `write` fills a hidden folder beside it, which is then renamed. Files
/// in it survive a power loss if `write` creates them by functions of this module.
///
/// # Errors
/// Fails if `write` does, or if the folder cannot be created or renamed, for example because a folder with content
/// has its name; what was written is removed.
pub fn write_folder_atomically<T, E: From<Error>>(
    folder: &Path,
    write: impl FnOnce(&Path) -> Result<T, E>,
) -> Result<T, E> {
    let mut name = std::ffi::OsString::from(".");
    name.push(folder.file_name().unwrap_or_default());
    name.push(".part");
    let temporary = folder_of(folder).join(name);
    if temporary.exists() {
        // Left by a process that was killed.
        fs::remove_dir_all(&temporary).map_err(Error::at(&temporary))?;
    }
    make_folder(&temporary)?;
    let finish = || -> Result<T, E> {
        let result = write(&temporary)?;
        fence::check(folder)?;
        fs::rename(&temporary, folder).map_err(Error::at(folder))?;
        sync_folder(folder_of(folder))?;
        Ok(result)
    };
    finish().inspect_err(|_| {
        // The first error is the one to report; the next attempt removes a leftover folder.
        drop(fs::remove_dir_all(&temporary));
    })
}

/// Copies a file atomically, and creates the folders above the copy where they are missing.
///
/// # Errors
/// Fails if the file cannot be read or the copy cannot be written.
pub fn copy_atomically(from: &Path, to: &Path) -> Result<(), Error> {
    let mut source = File::open(from).map_err(Error::at(from))?;
    write_atomically_by(to, |out| io::copy(&mut source, out).map(drop).map_err(Error::at(to)))
}

/// Copies the files of a folder and its sub-folders, each atomically. Hidden ones are left out: they are unfinished
/// writes. Symbolic links are followed. Within [`write_folder_atomically`] the whole copy is atomic.
///
/// # Errors
/// Fails if a file cannot be read or its copy cannot be written.
pub fn copy_folder(from: &Path, to: &Path) -> Result<(), Error> {
    for entry in fs::read_dir(from).map_err(Error::at(from))? {
        let entry = entry.map_err(Error::at(from))?;
        let name = entry.file_name();
        if name.to_string_lossy().starts_with('.') {
            continue;
        }
        let path = entry.path();
        if fs::metadata(&path).map_err(Error::at(&path))?.is_dir() {
            copy_folder(&path, &to.join(name))?;
        } else {
            copy_atomically(&path, &to.join(name))?;
        }
    }
    Ok(())
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
fn sync_folder(folder: &Path) -> Result<(), Error> {
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
    use super::{
        copy_atomically, copy_folder, write_atomically, write_atomically_by, write_folder_atomically,
    };
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

    #[test]
    fn a_folder_is_complete_or_absent() {
        let scratch = tempfile::tempdir().expect("a folder");
        let folder = scratch.path().join("model");
        fs::create_dir(scratch.path().join(".model.part")).expect("a leftover");
        fs::write(scratch.path().join(".model.part/old"), b"old").expect("a leftover");
        let failed = write_folder_atomically(&folder, |at| -> Result<(), Error> {
            write_atomically(&at.join("unet/config.json"), b"{}")?;
            Err(Error::at(at)(io::Error::other("no more")))
        });
        assert!(failed.is_err());
        assert_eq!(fs::read_dir(scratch.path()).expect("a folder").count(), 0);
        let source = scratch.path().join("source");
        fs::write(&source, b"copied").expect("written");
        write_folder_atomically(&folder, |at| copy_atomically(&source, &at.join("unet/config.json")))
            .expect("written");
        assert_eq!(fs::read(folder.join("unet/config.json")).expect("a file"), b"copied");
        assert_eq!(fs::read_dir(scratch.path()).expect("a folder").count(), 2);
    }

    #[test]
    fn a_folder_is_copied_without_unfinished_writes() {
        let scratch = tempfile::tempdir().expect("a folder");
        let [from, to] = ["from", "to"].map(|name| scratch.path().join(name));
        for name in ["a.txt", "sub/b.txt", ".a.txt.1-0.part", ".sub.part/c.txt"] {
            write_atomically(&from.join(name), name.as_bytes()).expect("written");
        }
        copy_folder(&from, &to).expect("copied");
        assert_eq!(fs::read(to.join("sub/b.txt")).expect("a file"), b"sub/b.txt");
        let mut names: Vec<_> =
            fs::read_dir(&to).expect("a folder").map(|entry| entry.expect("an entry").file_name()).collect();
        names.sort();
        assert_eq!(names, ["a.txt", "sub"]);
    }
}
