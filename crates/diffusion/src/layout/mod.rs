//! A model's folder in diffusers layout: its files, checking a part's weights, and copying parts.

mod copy;
mod files;
mod origin;
mod part;

pub use copy::{copy_part, write_fused};
pub use files::{CLIP, MODEL_INDEX, PARTS, SCHEDULE, model_index};
pub use origin::{ORIGIN, Origin};
pub use part::{PartSummary, verify_part};
