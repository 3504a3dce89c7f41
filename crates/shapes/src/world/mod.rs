//! Scenes: their content, their image and their caption, and prompts for combinations held out of training.

mod caption;
mod name;
mod outline;
mod paint;
mod prompt;
mod scene;
mod split;
mod statement;

pub use name::{Background, Colour, Relation, Shape, Size};
pub(crate) use outline::{coverage, extent};
pub use prompt::{
    EVALUATION_SEED, HeldOutPrompt, PairPrompt, held_out_prompts, pair_prompts, training_prompts,
};
pub(crate) use scene::Content;
pub use scene::{Kind, Object, Scene, scene};
pub use split::{Split, allowed, held_out};
pub use statement::Statement;
