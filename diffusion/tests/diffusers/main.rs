//! Small models with random weights against diffusers and transformers, whose numbers `oracles/diffusion.py`
//! computed in f64.

mod autoencoder;
mod candle;
mod controlnet;
mod editors;
mod fixture;
mod loading;
mod pipeline;
mod samplers;
mod text_tower;
mod tokenizer;
mod unet;
