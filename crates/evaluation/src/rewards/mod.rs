//! Published reward models. Each is read from the file that its authors published, and has its own preparation of
//! images, cleaning of prompts and scale; [`RewardKind::statement`] says what each score is.

mod aesthetic;
mod backbone;
mod clip;
mod distinct;
mod image_reward;
mod kind;
mod reward;
#[cfg(test)]
mod tests;

pub use kind::RewardKind;
pub use reward::{Reward, RewardFiles};
