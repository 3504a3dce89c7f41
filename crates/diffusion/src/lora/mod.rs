//! LoRA adapters (Hu et al. 2021): low-rank updates of a frozen network's layers, trained, read, written and fused.
//!
//! Adapter files are read with the tensor names of diffusers and PEFT, of older versions of diffusers, and of kohya's scripts
//! (also with the original layout's block names). They are written with the names of diffusers and PEFT. `docs/lora.md`
//! lists the names.

mod adapter;
mod file;
mod fit;
mod layers;
mod metadata;
mod network;
mod original;
mod tensor_name;

pub use adapter::Adapter;
pub use file::{Adapters, WEIGHTS_FILE, is_adapter, networks_of, open, save, settings_file, verify};
pub use fit::check_for_unet;
pub use layers::Layers;
pub use network::Network;
