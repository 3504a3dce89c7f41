//! Small models with random weights against diffusers and transformers, whose numbers `oracles/diffusion.py` and
//! `oracles/pipelines.py` computed in f64.

mod autoencoder;
mod candle;
mod fixture;
mod kinds;
mod loading;
mod lora;
mod pipeline;
mod samplers;
mod text_tower;
mod tokenizer;
mod unet;
