//! SIGINT and SIGTERM as a flag, so that a run saves its state before the process exits.

use anyhow::{Context, Result};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock};

static RECEIVED: LazyLock<Arc<AtomicBool>> = LazyLock::new(Arc::default);

/// Whether this process has received SIGINT or SIGTERM. A second signal ends the process at once.
#[derive(Clone, Copy, Debug)]
pub struct StopSignal(());

impl StopSignal {
    /// Registers the signal handlers of the process.
    ///
    /// # Errors
    /// Fails if the system refuses a handler.
    pub fn listen() -> Result<Self> {
        for signal in [SIGINT, SIGTERM] {
            // Actions run in the order of registration: the first signal finds the flag unset and sets it, the second
            // one finds it set and ends the process.
            flag::register_conditional_default(signal, Arc::clone(&RECEIVED))
                .and_then(|_| flag::register(signal, Arc::clone(&RECEIVED)))
                .context("registering a signal handler")?;
        }
        Ok(Self(()))
    }

    /// Whether a signal has been received.
    #[must_use]
    pub fn received(self) -> bool {
        RECEIVED.load(Ordering::Relaxed)
    }
}
