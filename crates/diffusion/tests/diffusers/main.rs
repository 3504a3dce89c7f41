//! Small models with random weights against diffusers and transformers. `oracles/diffusion.py`, `oracles/pipelines.py` and
//! others computed the expected values in `f64`.

mod autoencoder;
mod candle;
mod controlnet;
mod editors;
mod fingerprint;
mod fit;
mod fixture;
mod kinds;
mod loading;
mod lora;
mod lora_text;
mod pipeline;
mod samplers;
mod single_file;
mod sources;
mod text_tower;
mod tokenizer;
mod types;
mod unet;
