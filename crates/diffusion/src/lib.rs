//! Stable Diffusion's networks, trainable throughout, and the way from a prompt to an image.
//!
//! candle-transformers' UNet cannot be fine-tuned (most of its gradients are wrong or missing, and nothing
//! says so), so UNet, autoencoder and text tower are written here, under diffusers' weight names, with
//! per-sample timesteps; a test compares every gradient with diffusers'. This crate knows no job, user or
//! database.

pub mod clip;
pub mod conditioning;
pub mod config;
pub mod controlnet;
pub mod device;
mod error;
pub mod gradients;
pub mod layout;
pub mod lora;
pub mod nn;
pub mod noise;
pub mod pipeline;
pub mod sampler;
pub mod schedule;
pub mod single_file;
pub mod tape;
pub mod text_encoders;
pub mod tokenizer;
pub mod torch_file;
pub mod unet;
pub mod vae;
pub mod weights;

pub use error::{Error, Result};
