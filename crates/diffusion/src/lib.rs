//! Stable Diffusion: networks that can be trained, samplers, pipelines and weight formats.
//!
//! The UNet of candle-transformers cannot be fine-tuned: most of its gradients are silently wrong or missing. The UNet, the
//! autoencoder and the text tower are therefore implemented here, under diffusers' weight names and with a timestep per sample.
//! Tests compare every gradient with diffusers'. This crate does not depend on jobs, users or the database.
//!
//! | task | modules |
//! |---|---|
//! | operations and layers | [`nn`], [`gradients`], [`tape`], [`device`], [`noise`] |
//! | networks | [`unet`], [`vae`], [`clip`], [`controlnet`], [`config`] |
//! | conditioning | [`tokenizer`], [`text_tower`], [`text_encoders`], [`conditioning`] |
//! | noise schedule and sampling | [`schedule`], [`sampler`], [`pipeline`] |
//! | adapters | [`lora`] |
//! | files | [`part_folders`], [`fit`], [`layout`], [`fingerprint`], [`weights`], [`torch_file`], [`single_file`] |

pub mod clip;
pub mod conditioning;
pub mod config;
pub mod controlnet;
pub mod device;
mod error;
pub mod fingerprint;
pub mod fit;
pub mod gradients;
pub mod layout;
pub mod lora;
pub mod nn;
pub mod noise;
pub mod part_folders;
pub mod pipeline;
pub mod sampler;
pub mod schedule;
pub mod single_file;
pub mod tape;
pub mod text_encoders;
pub mod text_tower;
pub mod tokenizer;
pub mod torch_file;
pub mod unet;
pub mod vae;
pub mod weights;

pub use error::{Error, Result};
