//! Holding a job: a task beside the work renews the lease every third of its time, tells how far the work is, and
//! hears whether it should stop.

use process::ambient::now;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;
use store::{Claim, Store, StoreError};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

/// A held lease.
pub(super) struct Lease {
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

#[derive(Default)]
struct Shared {
    progress: AtomicI64,
    total: AtomicI64,
    cancel: AtomicBool,
    lost: AtomicBool,
}

/// Time between heartbeats: short, so that a cancelled job stops soon; far below a third of the lease.
const BEAT: Duration = Duration::from_secs(1);

impl Lease {
    /// Begins to renew.
    pub(super) fn hold(runtime: &Handle, store: Store, claim: Claim, lease: Duration) -> Self {
        let shared = Arc::new(Shared::default());
        let task = runtime.spawn(renew(store, claim, lease, shared.clone()));
        Self { shared, task }
    }

    /// How far the work is.
    pub(super) fn progress(&self, done: i64, total: i64) {
        self.shared.progress.store(done, Ordering::Relaxed);
        self.shared.total.store(total, Ordering::Relaxed);
    }

    /// Whether somebody asked the job to stop.
    pub(super) fn cancel_requested(&self) -> bool {
        self.shared.cancel.load(Ordering::Relaxed)
    }

    /// Whether another worker has taken over.
    pub(super) fn lost(&self) -> bool {
        self.shared.lost.load(Ordering::Relaxed)
    }

    /// Stops renewing; returns how far the work is, and of what.
    pub(super) fn release(self) -> (i64, i64) {
        self.task.abort();
        (self.shared.progress.load(Ordering::Relaxed), self.shared.total.load(Ordering::Relaxed))
    }
}

async fn renew(store: Store, claim: Claim, lease: Duration, shared: Arc<Shared>) {
    loop {
        let (progress, total) =
            (shared.progress.load(Ordering::Relaxed), shared.total.load(Ordering::Relaxed));
        match store.heartbeat(&claim, now(), lease, progress, total).await {
            Ok(heartbeat) => {
                if heartbeat.cancel_requested {
                    shared.cancel.store(true, Ordering::Relaxed);
                }
            }
            Err(StoreError::LeaseLost) => {
                shared.lost.store(true, Ordering::Relaxed);
                return;
            }
            // The database may come back before the lease runs out.
            Err(error) => tracing::warn!(job = %claim.job.id, %error, "cannot renew the lease"),
        }
        tokio::time::sleep(BEAT).await;
    }
}
