//! A lock on the folder of an encoded set: one process encodes, the others wait and use its result.

use anyhow::{Context, Result};
use std::fs::{File, TryLockError};
use std::path::Path;
use std::time::Duration;

const LOCK_FILE: &str = "prepare.lock";
/// Time between attempts to take the lock.
const RETRY: Duration = Duration::from_millis(200);

/// Waits for the lock and takes it, until the returned file is dropped. `waiting` is called after each failed attempt;
/// its error ends the wait.
///
/// # Errors
/// Fails if the folder cannot be written, or if `waiting` fails.
pub(crate) fn lock(folder: &Path, waiting: &mut dyn FnMut() -> Result<()>) -> Result<File> {
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
