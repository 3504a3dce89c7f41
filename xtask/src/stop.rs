//! Ctrl-C and SIGTERM set a flag that every wait checks, so that child processes are stopped before xtask exits.

use anyhow::{Context, Result, bail};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock};
use std::thread::sleep;
use std::time::{Duration, Instant};

static REQUESTED: LazyLock<Arc<AtomicBool>> = LazyLock::new(Arc::default);

/// How often a wait checks the flag.
pub(crate) const POLL: Duration = Duration::from_millis(50);

/// Makes Ctrl-C and SIGTERM set the flag instead of ending the process.
pub(crate) fn listen() -> Result<()> {
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&REQUESTED))
            .context("registering a signal handler")?;
    }
    Ok(())
}

/// Whether Ctrl-C or SIGTERM was received.
pub(crate) fn requested() -> bool {
    REQUESTED.load(Ordering::Relaxed)
}

/// Sleeps for `duration`. Fails early if a stop is requested.
pub(crate) fn pause(duration: Duration) -> Result<()> {
    let end = Instant::now() + duration;
    while Instant::now() < end {
        if requested() {
            bail!("stopped");
        }
        sleep(POLL.min(end.saturating_duration_since(Instant::now())));
    }
    Ok(())
}
