//! Input for readers that open a file.

use std::cell::RefCell;
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;
use tempfile::NamedTempFile;

/// Writes `bytes` to a temporary file, one per thread, and calls `read` with its path.
pub(crate) fn with_file<T>(bytes: &[u8], read: impl FnOnce(&Path) -> T) -> T {
    thread_local!(static FILE: RefCell<Option<NamedTempFile>> = const { RefCell::new(None) });
    FILE.with_borrow_mut(|file| {
        let file = file.get_or_insert_with(|| NamedTempFile::new().expect("a temporary file"));
        file.as_file().set_len(0).expect("an empty file");
        file.seek(SeekFrom::Start(0)).expect("the beginning of the file");
        file.write_all(bytes).expect("the input is written");
        read(file.path())
    })
}
