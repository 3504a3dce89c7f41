//! How weights move: gradients, optimiser, learning rate, moving average.

mod adafactor;
mod adamw;
mod average;
mod gradients;
mod loss_scale;
mod moments;
mod optimiser;
mod rate;

pub use average::MovingAverage;
pub use gradients::Gradients;
pub use loss_scale::LossScale;
pub use optimiser::Optimiser;
pub use rate::learning_rate;
