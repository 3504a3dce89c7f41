//! Files for readers that open one and writers that make one.

use std::cell::RefCell;
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use tempfile::NamedTempFile;

/// A new temporary file, in memory where the system has a file system for that: a run makes thousands of writes.
pub(crate) fn temporary_file() -> NamedTempFile {
    let memory = PathBuf::from("/dev/shm");
    let folder = if memory.is_dir() { memory } else { std::env::temp_dir() };
    NamedTempFile::new_in(folder).expect("a temporary file")
}

/// Writes `bytes` to a temporary file, one per thread, and calls `read` with its path.
pub(crate) fn with_file<T>(bytes: &[u8], read: impl FnOnce(&Path) -> T) -> T {
    thread_local!(static FILE: RefCell<Option<NamedTempFile>> = const { RefCell::new(None) });
    FILE.with_borrow_mut(|file| {
        let file = file.get_or_insert_with(temporary_file);
        file.as_file().set_len(0).expect("an empty file");
        file.seek(SeekFrom::Start(0)).expect("the beginning of the file");
        file.write_all(bytes).expect("the input is written");
        read(file.path())
    })
}
