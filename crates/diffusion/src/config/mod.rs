//! The `config.json` files of a folder in diffusers layout, as far as our networks implement them. A setting that would
//! change the network and is not supported is an error that names it, never ignored.

mod clip;
mod controlnet;
mod defaults;
mod read;
mod schedule;
mod unet;
mod unsupported;
mod vae;

pub use clip::{ClipConfig, ClipTextConfig, ClipVisionConfig};
pub use controlnet::{ControlNetConfig, HintsConfig};
pub use read::{read, read_text};
pub use schedule::{Prediction, ScheduleConfig, Spacing};
pub use unet::{PerBlock, TransformerLayers, UnetConfig};
pub use vae::VaeConfig;
