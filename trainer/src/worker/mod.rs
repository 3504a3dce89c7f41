//! The worker: claims jobs from the queue, renews their leases while it runs them, and records the results. When it
//! is asked to stop, it returns the job to the queue.

mod evaluate;
mod lease;
mod log_layer;
mod presence;
mod record;
mod study;
mod train;

use crate::storage::StorageSettings;
use anyhow::{Context, Result};
use candle_core::Device;
use catalogue::models::Catalogue;
use clap::Args;
use diffusion::device::{DeviceName, allow_reduced_precision};
use domain::job::JobSpec;
use hub::HubSettings;
use lease::Lease;
pub(crate) use log_layer::LogLayer;
use presence::Presence;
use process::ambient::{entropy, now};
use process::stop_signal::StopSignal;
use record::Record;
use std::path::PathBuf;
use std::time::Duration;
use store::{Claim, Ending, StoreError};
use tokio::runtime::Runtime;
use tracing::field::Empty;

/// Arguments of `worker`.
#[derive(Debug, Args)]
pub(crate) struct WorkerCommand {
    #[command(flatten)]
    pub(crate) storage: StorageSettings,
    /// Folder of bundled and imported models.
    #[arg(long, env = "MODELS", default_value = "models")]
    pub(crate) models: PathBuf,
    /// Folder of encoded sets, shared between runs.
    #[arg(long, env = "CACHE", default_value = "data/cache")]
    pub(crate) cache: PathBuf,
    /// Name shown with the worker's jobs; default: host name and process id.
    #[arg(long, env = "WORKER_NAME")]
    pub(crate) name: Option<String>,
    /// Device to compute on: auto, cpu, cuda or cuda:NUMBER. Start one worker per GPU.
    #[arg(long, env = "DEVICE", default_value_t)]
    pub(crate) device: DeviceName,
    /// Allow TF32 matrix products on a GPU: faster, but less precise and not the same on every GPU model.
    #[arg(long, env = "ALLOW_TF32")]
    pub(crate) allow_tf32: bool,
    /// Seconds without a sign of life of this worker after which another one may take over its job.
    #[arg(long, env = "LEASE", default_value_t = DEFAULT_LEASE, value_parser = clap::value_parser!(u32).range(3..=86_400))]
    pub(crate) lease: u32,
    /// End when the queue is empty instead of waiting for jobs.
    #[arg(long)]
    pub(crate) until_empty: bool,
    #[command(flatten)]
    pub(crate) hub: HubSettings,
}

/// Seconds of a lease.
pub(crate) const DEFAULT_LEASE: u32 = 30;
/// Time between two attempts to claim a job from an empty queue.
const POLL_INTERVAL: Duration = Duration::from_millis(500);

/// What every job needs.
pub(crate) struct Worker {
    name: String,
    runtime: Runtime,
    catalogue: Catalogue,
    cache: PathBuf,
    hub: HubSettings,
    device: Device,
    stop: StopSignal,
    /// Time without a heartbeat after which another worker may claim the job.
    lease: Duration,
}

/// How the work on a job ended, unless it failed.
enum Outcome {
    Done,
    /// The job was cancelled.
    Cancelled,
    /// The worker was asked to stop or lost the lease, and the job goes back to the queue.
    Returned,
}

impl WorkerCommand {
    pub(crate) fn run(self) -> Result<()> {
        let until_empty = self.until_empty;
        self.open()?.work_until(&mut |_, is_empty| Ok(is_empty && until_empty))
    }

    /// A worker with these settings, which claims nothing yet.
    pub(crate) fn open(self) -> Result<Worker> {
        let stop = StopSignal::listen()?;
        allow_reduced_precision(self.allow_tf32);
        let device = self.device.open()?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .context("cannot start the async runtime")?;
        let catalogue = runtime.block_on(self.storage.catalogue(&self.models))?;
        let name = self.name.unwrap_or_else(|| {
            let host = std::fs::read_to_string("/etc/hostname").unwrap_or_default();
            format!("{}-{}", host.trim(), std::process::id())
        });
        let lease = Duration::from_secs(self.lease.into());
        Ok(Worker { name, runtime, catalogue, cache: self.cache, hub: self.hub, device, stop, lease })
    }
}

impl Worker {
    /// Runs jobs until the process is asked to stop or `ended` returns true. It is asked after each job, and with true when
    /// nothing is to be claimed.
    pub(crate) fn work_until(&self, ended: &mut dyn FnMut(&Self, bool) -> Result<bool>) -> Result<()> {
        let presence = Presence::announce(&self.runtime, &self.catalogue.store, &self.name, &self.device)?;
        tracing::info!(name = self.name, device = ?self.device, "waiting for jobs");
        while !self.stop.received() {
            let token = uuid::Uuid::from_bytes(entropy());
            let store = &self.catalogue.store;
            let claimed = self.runtime.block_on(store.claim_job(&self.name, token, now(), self.lease))?;
            match claimed {
                Some(claim) => {
                    self.work(claim)?;
                    if ended(self, false)? {
                        break;
                    }
                }
                // A study whose last worker stopped before it submitted what was due.
                None if self.advance_idle_studies()? => {}
                None if ended(self, true)? => break,
                None => std::thread::sleep(POLL_INTERVAL),
            }
        }
        drop(presence);
        self.runtime.block_on(self.catalogue.store.close());
        Ok(())
    }

    /// Runs one job and records how it ended. Every log line in between carries job, attempt and run. Fails only if
    /// the database does not answer.
    fn work(&self, claim: Claim) -> Result<()> {
        // `train` records the run's id once the run has a row.
        let span =
            tracing::info_span!("job", job_id = %claim.job.id, attempt = claim.attempt, run_id = Empty);
        let _entered = span.enter();
        let store = &self.catalogue.store;
        let record = Record::begin(&self.runtime, store, &claim, &self.device);
        tracing::info!(kind = claim.job.spec.kind(), name = claim.job.spec.name(), "claimed");
        let lease = Lease::hold(self.runtime.handle(), store.clone(), claim.clone(), self.lease);
        let outcome = match &claim.job.spec {
            JobSpec::Train(spec) => self.train(&claim, spec, &lease),
            JobSpec::Evaluate(spec) => self.evaluate(&claim, spec, &lease),
        };
        record.end(&self.runtime);
        let (progress, total) = lease.release();
        let recorded = self.runtime.block_on(async {
            // The final progress, so that a finished job is shown as complete.
            store.heartbeat(&claim, now(), self.lease, progress, total).await?;
            match &outcome {
                Ok(Outcome::Done) => store.finish_job(&claim, now(), &Ending::Succeeded).await,
                Ok(Outcome::Cancelled) => store.finish_job(&claim, now(), &Ending::Cancelled).await,
                Ok(Outcome::Returned) => store.release_job(&claim, now()).await,
                Err(error) => store.finish_job(&claim, now(), &Ending::Failed(format!("{error:#}"))).await,
            }
        });
        match (&outcome, recorded) {
            // Another worker has the job; the database rejects what this one writes for it.
            (_, Err(StoreError::LeaseLost)) => tracing::warn!("lost the lease"),
            (_, Err(error)) => return Err(error.into()),
            (Err(error), Ok(())) => tracing::error!("failed: {error:#}"),
            (Ok(Outcome::Done), Ok(())) => tracing::info!("done"),
            (Ok(Outcome::Cancelled), Ok(())) => tracing::info!("cancelled"),
            (Ok(Outcome::Returned), Ok(())) => tracing::info!("returned to the queue"),
        }
        self.advance_study_of(claim.job.id);
        Ok(())
    }

    /// The outcome of a job that was interrupted.
    fn interrupted(&self, lease: &Lease) -> Outcome {
        if lease.cancel_requested() { Outcome::Cancelled } else { Outcome::Returned }
    }

    /// Whether the job must stop now.
    fn must_stop(&self, lease: &Lease) -> bool {
        self.stop.received() || lease.cancel_requested() || lease.lost()
    }
}
