//! The log of a run and what it takes of its worker, recorded while its job runs.

use super::log_layer;
use candle_core::Device;
use diffusion::device::memory_in_use;
use domain::log::LogLine;
use domain::usage::Usage;
use domain::worker::REPORT_SECONDS;
use process::ambient::now;
use process::resources::{memory, memory_available, memory_total, processor_seconds};
use std::time::{Duration, Instant};
use store::{Claim, Store, StoreError};
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;

/// Time between two writes of the log.
const INTERVAL: Duration = Duration::from_secs(1);

/// The records of a claimed job, until it ends.
pub(super) struct Record {
    store: Store,
    claim: Claim,
    task: JoinHandle<()>,
}

impl Record {
    /// Begins to record.
    pub(super) fn begin(runtime: &Runtime, store: &Store, claim: &Claim, device: &Device) -> Self {
        log_layer::begin();
        let task = runtime.spawn(record(store.clone(), claim.clone(), device.clone()));
        Self { store: store.clone(), claim: claim.clone(), task }
    }

    /// Writes the rest of the log. The job must not have ended yet.
    pub(super) fn end(self, runtime: &Runtime) {
        let Self { store, claim, task } = self;
        task.abort();
        let rest = log_layer::end();
        runtime.block_on(async {
            // A write that was under way is either done or rolled back.
            drop(task.await);
            drop(write(&store, &claim, rest).await);
        });
    }
}

/// Writes lines; returns those that were not written, because the job has no run yet or the database does not answer.
async fn write(store: &Store, claim: &Claim, lines: Vec<LogLine>) -> Vec<LogLine> {
    if lines.is_empty() {
        return lines;
    }
    match store.append_log(claim, &lines).await {
        // Another worker has the job, and writes its log.
        Ok(true) | Err(StoreError::LeaseLost) => Vec::new(),
        Ok(false) => lines,
        Err(error) => {
            tracing::debug!("the log cannot be written: {error}");
            lines
        }
    }
}

async fn record(store: Store, claim: Claim, device: Device) {
    let mut meter = Meter::new(device);
    loop {
        tokio::time::sleep(INTERVAL).await;
        let rest = write(&store, &claim, log_layer::take()).await;
        log_layer::put_back(rest);
        if meter.since.elapsed().as_secs() >= REPORT_SECONDS {
            // The next measurement makes up for one that cannot be written.
            if let Err(error) = store.append_usage(&claim, &meter.measure()).await {
                tracing::debug!("a measurement cannot be written: {error}");
            }
        }
    }
}

/// Measures what this process takes.
struct Meter {
    device: Device,
    /// When it last measured, and the processor time then.
    since: Instant,
    seconds: f64,
}

impl Meter {
    fn new(device: Device) -> Self {
        Self { device, since: Instant::now(), seconds: processor_seconds() }
    }

    fn measure(&mut self) -> Usage {
        let (passed, seconds) = (self.since.elapsed().as_secs_f64(), processor_seconds());
        let cores = (seconds - self.seconds).max(0.0) / passed.max(1e-3);
        (self.since, self.seconds) = (Instant::now(), seconds);
        let host_memory = memory_total().unwrap_or(0).saturating_sub(memory_available().unwrap_or(0));
        let (memory, device_memory) = (memory().unwrap_or(0), memory_in_use(&self.device));
        Usage { at: now(), cores, memory, host_memory, device_memory }
    }
}
