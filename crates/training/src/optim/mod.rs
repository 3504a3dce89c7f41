//! Updating the weights: gradients, optimisers, learning rate, loss scale, moving average.

mod adafactor;
mod adamw;
mod average;
mod code_table;
mod gradients;
mod loss_scale;
mod moments;
mod optimiser;
mod rate;

pub(crate) use average::MovingAverage;
pub use gradients::Gradients;
pub(crate) use loss_scale::LossScale;
pub use optimiser::Optimiser;
pub(crate) use rate::learning_rate;
