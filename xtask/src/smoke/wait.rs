//! Polls the server.

use crate::steps::format_duration;
use crate::stop;
use anyhow::{Result, bail};
use std::time::{Duration, Instant};

const INTERVAL: Duration = Duration::from_millis(500);

/// Polls until `poll` returns a value. After `timeout`, fails with an error that names `event`.
pub(super) fn wait_for<T>(
    event: &str,
    timeout: Duration,
    mut poll: impl FnMut() -> Result<Option<T>>,
) -> Result<T> {
    let deadline = Instant::now() + timeout;
    loop {
        if let Some(value) = poll()? {
            return Ok(value);
        }
        if Instant::now() > deadline {
            bail!("timed out after {} waiting for {event}", format_duration(timeout));
        }
        stop::pause(INTERVAL)?;
    }
}
