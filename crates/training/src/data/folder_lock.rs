//! A lock on the folder of an encoded set: one process encodes, the others wait and use its result.

use anyhow::{Context, Result};
use std::fs::{File, TryLockError};
use std::path::Path;
use std::time::Duration;

const LOCK_FILE: &str = "prepare.lock";
/// Time between attempts to take the lock.
const RETRY: Duration = Duration::from_millis(200);

/// Makes the content of a folder unless its file `finished` exists, which `make` writes last. Of several processes one makes
/// it; the others wait. `report` receives the progress of the work, and 0 of 1 while this process waits.
///
/// # Errors
/// Fails if the folder cannot be written, or if `report` or `make` fails.
pub(crate) fn make_once(
    folder: &Path,
    finished: &str,
    report: &mut dyn FnMut(usize, usize) -> Result<()>,
    make: impl FnOnce(&mut dyn FnMut(usize, usize) -> Result<()>) -> Result<()>,
) -> Result<()> {
    let is_made = || folder.join(finished).is_file();
    if is_made() {
        return Ok(());
    }
    let _lock = lock(folder, &mut || report(0, 1))?;
    // Another process may have made it while this one waited.
    if is_made() { Ok(()) } else { make(report) }
}

/// Waits for the lock and takes it, until the returned file is dropped. `waiting` is called after each failed attempt;
/// its error ends the wait.
///
/// # Errors
/// Fails if the folder cannot be written, or if `waiting` fails.
pub(super) fn lock(folder: &Path, waiting: &mut dyn FnMut() -> Result<()>) -> Result<File> {
    std::fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let file = folder.join(LOCK_FILE);
    let open = File::create(&file).with_context(|| format!("cannot write {}", file.display()))?;
    loop {
        match open.try_lock() {
            Ok(()) => return Ok(open),
            Err(TryLockError::WouldBlock) => {
                waiting()?;
                std::thread::sleep(RETRY);
            }
            Err(TryLockError::Error(error)) => {
                return Err(error).with_context(|| format!("cannot lock {}", file.display()));
            }
        }
    }
}
