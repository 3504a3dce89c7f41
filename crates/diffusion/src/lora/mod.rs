//! LoRA adapters (Hu et al. 2021): low-rank updates of a frozen network's layers, trained, read, written and fused.
//!
//! Adapter files are read with the tensor names of diffusers and PEFT, of older versions of diffusers, and of kohya's scripts
//! (also with the original layout's block names). They are written with the names of diffusers and PEFT. `docs/lora.md`
//! lists the names.

mod adapter;
mod file;
mod layers;
mod metadata;
mod network;
mod original;
mod tensor_name;

pub use adapter::Adapter;
pub use file::{WEIGHTS_FILE, open, open_for_unet, save, settings_file};
pub use layers::Layers;
pub use network::Network;
