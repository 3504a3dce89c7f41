//! LoRA adapters: small updates of a frozen network's layers, trained, read, written and fused.
//!
//! Read are the names that diffusers and PEFT write today, those of older diffusers and those of kohya's scripts (also
//! under the original layout's block names); written are today's. docs/lora.md says which file has which names.

mod adapter;
mod file;
mod key;
mod layers;
mod metadata;
mod original;

pub use adapter::Adapter;
pub use file::{WEIGHTS_FILE, open, save};
pub use key::Network;
pub use layers::Layers;
