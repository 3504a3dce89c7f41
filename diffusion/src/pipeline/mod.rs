//! From a prompt to a picture, and nothing else.

mod adapted;
mod guidance;
mod text_to_image;

pub use text_to_image::{Defaults, Folders, Prompt, Settings, TextToImage, read_defaults, to_images};
