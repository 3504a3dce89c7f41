//! Works off the queue: claims a job, renews its lease while it runs, records what it makes, and hands it back
//! whole when asked to stop.

mod evaluate;
mod lease;
mod train;

use anyhow::{Context, Result};
use candle_core::Device;
use catalogue::models::Catalogue;
use catalogue::models_folder::ModelsFolder;
use clap::Args;
use diffusion::device::{DeviceName, allow_reduced_precision};
use domain::job::JobSpec;
use hub::HubSettings;
use lease::Lease;
use process::ambient::{entropy, now};
use process::stop_signal::StopSignal;
use std::path::PathBuf;
use std::time::Duration;
use store::{Artifacts, Claim, Ending, Store, StoreError};
use tokio::runtime::Runtime;

/// How to work.
#[derive(Debug, Args)]
pub(crate) struct WorkerCommand {
    /// The database that server and workers share.
    #[arg(long, env = "DATABASE_URL", default_value = "sqlite://data/diff-contrast.db")]
    database_url: String,
    /// Folder of images and checkpoints, shared with the server.
    #[arg(long, env = "ARTIFACTS", default_value = "data/artifacts")]
    artifacts: PathBuf,
    /// Folder of bundled models.
    #[arg(long, env = "MODELS", default_value = "models")]
    models: PathBuf,
    /// Folder of encoded sets.
    #[arg(long, env = "CACHE", default_value = "data/cache")]
    cache: PathBuf,
    /// Name shown with the jobs it takes; host and process by default.
    #[arg(long, env = "WORKER_NAME")]
    name: Option<String>,
    /// The device that computes: auto, cpu, cuda or cuda:NUMBER. One worker uses one; start one for each GPU.
    #[arg(long, env = "DEVICE", default_value_t)]
    device: DeviceName,
    /// Lets a GPU multiply matrices with fewer bits (TF32): faster, and other results on other cards.
    #[arg(long, env = "ALLOW_TF32")]
    allow_tf32: bool,
    /// Ends when the queue is empty instead of waiting.
    #[arg(long)]
    until_empty: bool,
    #[command(flatten)]
    hub: HubSettings,
}

/// Time for which a claim holds without a heartbeat.
const LEASE: Duration = Duration::from_secs(30);
/// Time between looks at an empty queue.
const PAUSE: Duration = Duration::from_millis(500);

/// What all jobs need.
struct Worker {
    runtime: Runtime,
    catalogue: Catalogue,
    cache: PathBuf,
    hub: HubSettings,
    device: Device,
    stop: StopSignal,
}

/// How a job left the worker.
enum Outcome {
    /// It is done.
    Done,
    /// Somebody asked the job to stop.
    Cancelled,
    /// Somebody asked the worker to stop: the job goes back to the queue.
    Returned,
}

impl WorkerCommand {
    /// # Errors
    /// The database cannot be reached.
    pub(crate) fn run(self) -> Result<()> {
        let stop = StopSignal::listen()?;
        allow_reduced_precision(self.allow_tf32);
        let device = self.device.open()?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .context("cannot start the runtime")?;
        let store = runtime.block_on(Store::connect(&self.database_url))?;
        let catalogue = Catalogue {
            store,
            artifacts: Artifacts::open(&self.artifacts)?,
            models: ModelsFolder::new(&self.models),
        };
        let name = self.name.clone().unwrap_or_else(|| {
            let host = std::fs::read_to_string("/etc/hostname").unwrap_or_default();
            format!("{}-{}", host.trim(), std::process::id())
        });
        let worker =
            Worker { runtime, catalogue, cache: self.cache.clone(), hub: self.hub.clone(), device, stop };
        tracing::info!(name, device = ?worker.device, "waiting for jobs");
        while !stop.received() {
            let token = uuid::Uuid::from_bytes(entropy());
            let claimed =
                worker.runtime.block_on(worker.catalogue.store.claim_job(&name, token, now(), LEASE))?;
            match claimed {
                Some(claim) => worker.work(claim)?,
                None if self.until_empty => break,
                None => std::thread::sleep(PAUSE),
            }
        }
        worker.runtime.block_on(worker.catalogue.store.close());
        Ok(())
    }
}

impl Worker {
    /// One job, from claim to end. Only a database that does not answer ends the worker.
    fn work(&self, claim: Claim) -> Result<()> {
        let job = claim.job.id;
        tracing::info!(%job, kind = claim.job.spec.kind(), name = claim.job.spec.name(), attempt = claim.attempt, "claimed");
        let store = &self.catalogue.store;
        let lease = Lease::hold(self.runtime.handle(), store.clone(), claim.clone(), LEASE);
        let outcome = match &claim.job.spec {
            JobSpec::Train(spec) => self.train(&claim, spec, &lease),
            JobSpec::Evaluate(spec) => self.evaluate(&claim, spec, &lease),
        };
        let progress = lease.release();
        let ended = self.runtime.block_on(async {
            // The last progress, so that a finished job reads as finished.
            store.heartbeat(&claim, now(), LEASE, progress.0, progress.1).await?;
            match &outcome {
                Ok(Outcome::Done) => store.finish_job(&claim, now(), &Ending::Succeeded).await,
                Ok(Outcome::Cancelled) => store.finish_job(&claim, now(), &Ending::Cancelled).await,
                Ok(Outcome::Returned) => store.release_job(&claim, now()).await,
                Err(error) => store.finish_job(&claim, now(), &Ending::Failed(format!("{error:#}"))).await,
            }
        });
        match (&outcome, ended) {
            // Somebody else has the job: what this worker did for it no longer counts.
            (_, Err(StoreError::LeaseLost)) => tracing::warn!(%job, "lost the lease"),
            (_, Err(error)) => return Err(error.into()),
            (Err(error), Ok(())) => tracing::error!(%job, "failed: {error:#}"),
            (Ok(Outcome::Done), Ok(())) => tracing::info!(%job, "done"),
            (Ok(Outcome::Cancelled), Ok(())) => tracing::info!(%job, "cancelled"),
            (Ok(Outcome::Returned), Ok(())) => tracing::info!(%job, "returned to the queue"),
        }
        Ok(())
    }

    /// How a job that was interrupted ends.
    fn interrupted(&self, lease: &Lease) -> Outcome {
        if lease.cancel_requested() { Outcome::Cancelled } else { Outcome::Returned }
    }

    /// Whether the job must stop now.
    fn must_stop(&self, lease: &Lease) -> bool {
        self.stop.received() || lease.cancel_requested() || lease.lost()
    }
}
