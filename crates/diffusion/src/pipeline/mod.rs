//! From a prompt to an image, and from an image to its edited version.

mod adapted;
mod denoise;
mod guidance;
mod images;
mod instruct_pix2pix;
mod prompt_diffusion;
mod text_to_image;

pub use instruct_pix2pix::{Edit, EditSettings, InstructPix2Pix};
pub use prompt_diffusion::{HintScale, PromptDiffusion, Query, QuerySettings, size_for};
pub use text_to_image::{Defaults, Folders, Prompt, Settings, TextToImage, read_defaults, to_images};
