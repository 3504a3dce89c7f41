//! Pipelines: from a prompt to an image, and from an image to an edited image.

mod adapters;
mod defaults;
mod denoise;
mod guidance;
mod images;
mod instruct_pix2pix;
mod prompt;
mod prompt_diffusion;
mod text_to_image;

pub use defaults::Defaults;
pub use images::to_images;
pub use instruct_pix2pix::{Edit, EditSettings, InstructPix2Pix};
pub use prompt::{Prompt, Settings};
pub use prompt_diffusion::{HintScale, PromptDiffusion, Query, QuerySettings, size_for};
pub use text_to_image::TextToImage;
