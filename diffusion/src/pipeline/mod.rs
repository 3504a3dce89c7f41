//! From a prompt to a picture, and from a picture to its edited version.

mod adapted;
mod denoise;
mod guidance;
mod instruct_pix2pix;
mod pictures;
mod prompt_diffusion;
mod text_to_image;

pub use instruct_pix2pix::{Edit, EditSettings, InstructPix2Pix};
pub use prompt_diffusion::{HintScale, PromptDiffusion, Query, QuerySettings, size_for};
pub use text_to_image::{Defaults, Folders, Prompt, Settings, TextToImage, read_defaults, to_images};
