//! How weights move: gradients, optimiser, learning rate, moving average.

mod adafactor;
mod adamw;
mod average;
mod gradients;
mod optimiser;
mod rate;

pub use average::MovingAverage;
pub use gradients::Gradients;
pub use optimiser::Optimiser;
pub use rate::learning_rate;
