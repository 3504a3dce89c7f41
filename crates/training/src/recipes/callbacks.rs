//! Callbacks of a training run.

use crate::checkpoint::SavedModel;
use anyhow::Result;
use diffusion::pipeline::Settings;
use image::RgbImage;
use std::ops::ControlFlow;

/// Callbacks of a training run. An error from any of them ends the run. All except `model` and `retire` default to
/// no-ops.
pub trait Callbacks {
    /// `done` of `total` examples are encoded.
    fn encoding(&mut self, _done: usize, _total: usize) -> Result<()> {
        Ok(())
    }

    /// Whether a resumed run may have another learning rate than its saved state, as after a divergence.
    fn takes_new_learning_rate(&self) -> bool {
        false
    }

    /// The run starts at this step: 0, or the step of its saved state.
    fn begin(&mut self, _step: u32) -> Result<()> {
        Ok(())
    }

    /// A step is done. `Break` makes the run save its state and stop.
    fn step(&mut self, _step: u32, _metrics: &[(&'static str, f64)]) -> Result<ControlFlow<()>> {
        Ok(ControlFlow::Continue(()))
    }

    /// What was done after a step took this long: metrics of it that come later than the others.
    fn spent(&mut self, _step: u32, _metric: &'static str, _seconds: f64) -> Result<()> {
        Ok(())
    }

    /// Sample images of the weights after `step` steps, one per prompt of the spec.
    fn samples(&mut self, _step: u32, _settings: &Settings, _images: &[RgbImage]) -> Result<()> {
        Ok(())
    }

    /// A model is saved.
    fn model(&mut self, model: &SavedModel) -> Result<()>;

    /// Whether rotation may delete the model of `step`: `false` while anything refers to it. On `true` the
    /// implementation has removed its own references.
    fn retire(&mut self, step: u32) -> Result<bool>;
}
