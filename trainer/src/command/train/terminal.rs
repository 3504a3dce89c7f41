//! Callbacks of a run in a terminal: a progress bar, and metrics and sample images in the run's folder.

use anyhow::{Context, Result, ensure};
use catalogue::images::png;
use catalogue::metrics_file::MetricsFile;
use catalogue::run_folder;
use catalogue::run_manifest::RunManifest;
use diffusion::pipeline::Settings;
use domain::run::metric;
use domain::train::TrainSpec;
use files::write_atomically;
use image::RgbImage;
use process::progress::Progress;
use process::stop_signal::StopSignal;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use training::checkpoint::SavedModel;
use training::recipes::callbacks::Callbacks;

/// Reports of a run that a terminal shows.
pub(super) struct Terminal<'a> {
    spec: &'a TrainSpec,
    progress: Progress,
    encoding: Option<Progress>,
    images_per_step: f64,
    /// `None` until the first step.
    metrics: Option<MetricsFile>,
    run: PathBuf,
    stop: StopSignal,
    new_learning_rate: bool,
}

impl<'a> Terminal<'a> {
    pub(super) fn new(spec: &'a TrainSpec, run: &Path, stop: StopSignal, new_learning_rate: bool) -> Self {
        Self {
            spec,
            progress: Progress::new(&spec.name, u64::from(spec.steps)),
            encoding: None,
            images_per_step: f64::from(spec.images_per_step()),
            metrics: None,
            run: run.to_owned(),
            stop,
            new_learning_rate,
        }
    }

    /// Ends the progress bar after a last line.
    pub(super) fn finish(&self, line: &str) {
        self.progress.note(line);
        self.progress.finish();
    }
}

impl Callbacks for Terminal<'_> {
    fn encoding(&mut self, done: usize, total: usize) -> Result<()> {
        ensure!(
            !self.stop.received(),
            "stopped while the set was being encoded; rerun the command to encode it again"
        );
        let bar = self.encoding.get_or_insert_with(|| Progress::new("encoding", total as u64));
        bar.reach(done as u64);
        if done == total {
            bar.finish();
        }
        Ok(())
    }

    fn takes_new_learning_rate(&self) -> bool {
        self.new_learning_rate
    }

    fn begin(&mut self, step: u32) -> Result<()> {
        if step > 0 {
            self.progress.note(&format!("resumes after step {step}"));
        }
        self.progress.start_at(u64::from(step));
        // Only now is it known that a saved state belongs to this spec.
        RunManifest::begin(&self.run, self.spec, step)?;
        self.metrics = Some(MetricsFile::open(&self.run, step)?);
        Ok(())
    }

    fn step(&mut self, step: u32, metrics: &[(&'static str, f64)]) -> Result<ControlFlow<()>> {
        self.metrics.as_mut().context("the run has not begun")?.append(step, metrics)?;
        let value = |name: &str| metrics.iter().find(|(n, _)| *n == name).map(|(_, v)| *v);
        let mut displayed = vec![];
        for (name, label) in [(metric::LOSS, "loss"), (metric::REWARDS_ACCURACIES, "accuracy")] {
            displayed.extend(value(name).map(|v| (label, v)));
        }
        self.progress.step(&displayed, self.images_per_step);
        Ok(if self.stop.received() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    }

    fn samples(&mut self, step: u32, _: &Settings, images: &[RgbImage]) -> Result<()> {
        for (i, image) in images.iter().enumerate() {
            write_atomically(&run_folder::sample(&self.run, i, step), &png(image)?)?;
        }
        Ok(())
    }

    fn retire(&mut self, _: u32) -> Result<bool> {
        Ok(true)
    }

    fn model(&mut self, model: &SavedModel) -> Result<()> {
        self.progress.note(&format!("model {} (sha256 {:.12})", model.folder.display(), model.sha256));
        Ok(())
    }
}

/// Callbacks of a process that trains together with others: rank 0 alone reports. Holds whether the run takes a new learning
/// rate.
pub(super) struct NoReports(pub(super) bool);

impl Callbacks for NoReports {
    fn takes_new_learning_rate(&self) -> bool {
        self.0
    }

    fn retire(&mut self, _: u32) -> Result<bool> {
        Ok(false)
    }

    fn model(&mut self, _: &SavedModel) -> Result<()> {
        Ok(())
    }
}
