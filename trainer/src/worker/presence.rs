//! A worker's row in the list of workers, renewed while the process lives.

use anyhow::Result;
use candle_core::Device;
use diffusion::device::{gpus, peak_memory as device_peak_memory};
use domain::worker::{REPORT_SECONDS, WorkerInfo};
use process::ambient::now;
use process::resources::{memory_total, peak_memory};
use std::time::Duration;
use store::Store;
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;

/// The reports of a worker, until it is dropped.
pub(super) struct Presence<'a> {
    runtime: &'a Runtime,
    store: Store,
    name: String,
    device: Device,
    reports: JoinHandle<()>,
}

impl<'a> Presence<'a> {
    /// Inserts the worker's row, and reports every [`REPORT_SECONDS`].
    pub(super) fn announce(runtime: &'a Runtime, store: &Store, name: &str, device: &Device) -> Result<Self> {
        runtime.block_on(store.put_worker(&info(name, device)))?;
        let reports = runtime.spawn(report(store.clone(), name.to_owned(), device.clone()));
        Ok(Self { runtime, store: store.clone(), name: name.to_owned(), device: device.clone(), reports })
    }
}

impl Drop for Presence<'_> {
    fn drop(&mut self) {
        self.reports.abort();
        let last = self.store.see_worker(&self.name, now(), used(&self.device), true);
        if let Err(error) = self.runtime.block_on(last) {
            tracing::warn!("the worker's end could not be recorded: {error}");
        }
    }
}

async fn report(store: Store, name: String, device: Device) {
    loop {
        tokio::time::sleep(Duration::from_secs(REPORT_SECONDS)).await;
        // The list is for people to look at: a report that fails is made up for by the next.
        if let Err(error) = store.see_worker(&name, now(), used(&device), false).await {
            tracing::debug!("a report failed: {error}");
        }
    }
}

/// The largest memory used on the device so far, in bytes.
fn used(device: &Device) -> u64 {
    device_peak_memory(device).ok().flatten().unwrap_or_else(peak_memory)
}

fn info(name: &str, device: &Device) -> WorkerInfo {
    let number = match device.location() {
        candle_core::DeviceLocation::Cuda { gpu_id } => Some(gpu_id),
        _ => None,
    };
    let gpu = number.and_then(|number| gpus().into_iter().nth(number));
    let (device, memory) = match gpu {
        Some(gpu) => (gpu.name, gpu.memory as u64),
        None => ("CPU".to_owned(), memory_total().unwrap_or(0)),
    };
    WorkerInfo {
        name: name.to_owned(),
        device,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        threads: u32::try_from(rayon::current_num_threads()).unwrap_or(u32::MAX),
        memory,
        started_at: now(),
    }
}
