//! How weights move: gradients, optimiser, learning rate, moving average.

mod adamw;
mod average;
mod gradients;
mod rate;

pub use adamw::AdamW;
pub use average::MovingAverage;
pub use gradients::Gradients;
pub use rate::learning_rate;
