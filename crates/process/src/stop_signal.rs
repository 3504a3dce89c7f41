//! Being asked to stop: SIGINT or SIGTERM.
#![expect(unsafe_code, reason = "signal handlers are registered through the C library")]

use anyhow::{Result, bail};
use std::sync::atomic::{AtomicBool, Ordering};

static RECEIVED: AtomicBool = AtomicBool::new(false);

/// Whether somebody asked this process to stop. A second signal ends it at once.
#[derive(Clone, Copy, Debug)]
pub struct StopSignal(());

extern "C" fn note(signal: libc::c_int) {
    RECEIVED.store(true, Ordering::Relaxed);
    // SAFETY: `signal` is async-signal-safe; the default action returns for a second signal.
    unsafe { libc::signal(signal, libc::SIG_DFL) };
}

impl StopSignal {
    /// Begins to listen.
    ///
    /// # Errors
    /// The handlers cannot be set.
    pub fn listen() -> Result<Self> {
        let handler = note as extern "C" fn(libc::c_int) as libc::sighandler_t;
        for signal in [libc::SIGINT, libc::SIGTERM] {
            // SAFETY: the handler only stores to an atomic and resets itself.
            if unsafe { libc::signal(signal, handler) } == libc::SIG_ERR {
                bail!("cannot listen to signals: {}", std::io::Error::last_os_error());
            }
        }
        Ok(Self(()))
    }

    /// Whether a signal has come.
    #[must_use]
    pub fn received(self) -> bool {
        RECEIVED.load(Ordering::Relaxed)
    }
}
