//! Time and memory of a training step, measured by computing two of them on a few examples of the set.

use anyhow::{Context, Result, bail};
use candle_core::Device;
use diffusion::part_folders::PartFolders;
use domain::data::DataSpec;
use domain::train::TrainSpec;
use process::resources::peak_memory;
use std::ops::ControlFlow;
use std::time::{Duration, Instant};
use training::checkpoint::SavedModel;
use training::recipes::callbacks::Callbacks;
use training::recipes::run_paths::RunPaths;
use training::recipes::train::train;

/// What a step takes.
#[derive(Clone, Copy, Debug)]
pub(super) struct MeasuredStep {
    /// Seconds of the second step; the first one also warms up.
    pub(super) seconds: f64,
    /// Peak memory of the process in bytes, the loading of the networks included.
    pub(super) peak_bytes: u64,
}

/// Computes two steps of a run in a scratch folder, and saves nothing.
///
/// # Errors
/// Fails if the run does, for example for lack of examples.
pub(super) fn measure_step(
    spec: &TrainSpec,
    data: &DataSpec,
    start: PartFolders,
    reference: Option<PartFolders>,
    device: &Device,
) -> Result<MeasuredStep> {
    let spec = TrainSpec {
        data: shortened(data, spec.batch_size),
        steps: spec.steps.max(3),
        sample_every: 0,
        checkpoint_every: 0,
        validation_examples: 0,
        keep_best: false,
        ..spec.clone()
    };
    let scratch = tempfile::tempdir().context("cannot create a scratch folder")?;
    let [run, cache] = ["run", "cache"].map(|name| scratch.path().join(name));
    std::fs::create_dir_all(&run)?;
    let mut timer = Timer::default();
    let outcome = train(&spec, &RunPaths { start, reference, run, cache }, device, &mut timer);
    match (timer.second_step, outcome) {
        (Some(time), _) => Ok(MeasuredStep { seconds: time.as_secs_f64(), peak_bytes: peak_memory() }),
        (None, Err(error)) => Err(error.context("--measure")),
        (None, Ok(_)) => bail!("--measure: the run ended before its second step"),
    }
}

/// As many examples as a micro-batch needs. Some may be dropped.
fn shortened(data: &DataSpec, batch_size: u32) -> DataSpec {
    let enough = 2 * batch_size;
    let fewer = |most: &mut Option<u32>| *most = Some(most.map_or(enough, |most| most.min(enough)));
    let mut data = data.clone();
    match &mut data {
        DataSpec::Shapes { count, .. } => *count = (*count).min(enough),
        DataSpec::PickAPic(spec) => fewer(&mut spec.max_pairs),
        DataSpec::Folder(spec) | DataSpec::Likes(spec) | DataSpec::WebDataset(spec) => {
            fewer(&mut spec.max_pairs);
        }
        DataSpec::Images(spec) => fewer(&mut spec.max_images),
        DataSpec::Votes(_) | DataSpec::Drawn(_) | DataSpec::Prepared(_) => {}
    }
    data
}

/// Ends a run after its second step.
#[derive(Debug, Default)]
struct Timer {
    first_step: Option<Instant>,
    second_step: Option<Duration>,
}

impl Callbacks for Timer {
    fn step(&mut self, _: u32, _: &[(&'static str, f64)]) -> Result<ControlFlow<()>> {
        match self.first_step {
            None => {
                self.first_step = Some(Instant::now());
                Ok(ControlFlow::Continue(()))
            }
            Some(first) => {
                self.second_step = Some(first.elapsed());
                bail!("measured")
            }
        }
    }

    fn model(&mut self, _: &SavedModel) -> Result<()> {
        bail!("a measured run saves no model")
    }

    fn retire(&mut self, _: u32) -> Result<bool> {
        Ok(false)
    }
}
