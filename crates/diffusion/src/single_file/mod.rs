//! Checkpoints in a single file, with the tensor names of the original implementations of Stable Diffusion
//! (`model.diffusion_model.`, `first_stage_model.`, `cond_stage_model.` or `conditioner.`), converted to a folder in diffusers
//! layout. No values are computed: every tensor of the folder is a tensor of the file, some of its rows, or its transpose.
//!
//! Widths and depths are read from the names and shapes of the tensors (`unet`, `vae`, `text`). What the file does not contain
//! (heads, scaling factors, noise schedule) are the constants of the published models (`published`).

mod checkpoint;
mod family;
mod part;
mod plan;
mod planner;
mod prefixed_shapes;
mod problem;
mod published;
mod statements;
mod text;
mod unet;
mod vae;

pub use checkpoint::SingleFile;
pub use family::Family;
pub use part::{Part, RenamedTensor, View};
pub use plan::{LeftOut, Options, Plan, plan};
pub use statements::Metadata;
