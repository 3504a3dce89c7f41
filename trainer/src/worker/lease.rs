//! The lease of a claimed job. While the job runs, a task renews the lease, reports progress, and reads whether the
//! job was cancelled.

use process::ambient::now;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use store::{Claim, Store, StoreError};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tracing::Instrument;

/// The lease of a claimed job, renewed until it is released or lost.
pub(super) struct Lease {
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

struct Shared {
    progress: AtomicI64,
    total: AtomicI64,
    cancel: AtomicBool,
    lost: AtomicBool,
    /// When the last renewal that succeeded was begun.
    renewed: Mutex<Instant>,
    length: Duration,
}

impl Shared {
    /// Whether no other worker can have the job yet. Once the lease has run out it counts as lost, also if nobody has
    /// noticed: this process may have been suspended, or the database away.
    fn holds(&self) -> bool {
        let renewed = *self.renewed.lock().unwrap_or_else(PoisonError::into_inner);
        if renewed.elapsed() >= self.length {
            self.lost.store(true, Ordering::Relaxed);
        }
        !self.lost.load(Ordering::Relaxed)
    }
}

/// Time between heartbeats. Far shorter than the lease, so that a cancelled job stops soon.
const HEARTBEAT: Duration = Duration::from_secs(1);

impl Lease {
    /// Starts to renew the lease. The task logs within the current span.
    pub(super) fn hold(runtime: &Handle, store: Store, claim: Claim, lease: Duration) -> Self {
        let shared = Arc::new(Shared {
            progress: AtomicI64::default(),
            total: AtomicI64::default(),
            cancel: AtomicBool::default(),
            lost: AtomicBool::default(),
            renewed: Instant::now().into(),
            length: lease,
        });
        let task = runtime.spawn(renew(store, claim, shared.clone()).in_current_span());
        Self { shared, task }
    }

    /// Sets the progress that the next heartbeat reports.
    pub(super) fn progress(&self, done: i64, total: i64) {
        self.shared.progress.store(done, Ordering::Relaxed);
        self.shared.total.store(total, Ordering::Relaxed);
    }

    /// Tells whether the job is still this worker's, for the fence around the files that it writes.
    pub(super) fn fence(&self) -> impl Fn() -> bool + 'static {
        let shared = Arc::clone(&self.shared);
        move || shared.holds()
    }

    /// Whether the job was cancelled.
    pub(super) fn cancel_requested(&self) -> bool {
        self.shared.cancel.load(Ordering::Relaxed)
    }

    /// Whether the lease ran out and another worker may have the job.
    pub(super) fn lost(&self) -> bool {
        self.shared.lost.load(Ordering::Relaxed)
    }

    /// Stops renewing; returns progress and total.
    pub(super) fn release(self) -> (i64, i64) {
        self.task.abort();
        (self.shared.progress.load(Ordering::Relaxed), self.shared.total.load(Ordering::Relaxed))
    }
}

async fn renew(store: Store, claim: Claim, shared: Arc<Shared>) {
    loop {
        let (progress, total) =
            (shared.progress.load(Ordering::Relaxed), shared.total.load(Ordering::Relaxed));
        let begun = Instant::now();
        match store.heartbeat(&claim, now(), shared.length, progress, total).await {
            Ok(heartbeat) => {
                *shared.renewed.lock().unwrap_or_else(PoisonError::into_inner) = begun;
                if heartbeat.cancel_requested {
                    shared.cancel.store(true, Ordering::Relaxed);
                }
            }
            Err(StoreError::LeaseLost) => {
                shared.lost.store(true, Ordering::Relaxed);
                return;
            }
            // The database may recover before the lease runs out.
            Err(error) => tracing::warn!(%error, "cannot renew the lease"),
        }
        tokio::time::sleep(HEARTBEAT).await;
    }
}
