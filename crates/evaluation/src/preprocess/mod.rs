//! Preparation of images for networks as the reference packages do it: decoding and resizing with the results of Pillow
//! and torch, and the preprocessing of CLIP and of the scorers built on it.

mod decode;
mod pillow_image;
mod pillow_resize;
mod preprocessing;
mod taps;
#[cfg(test)]
mod tests;
mod torch_resize;

pub use pillow_image::PillowImage;
pub(crate) use pillow_resize::{Window, resize_f32};
pub(crate) use preprocessing::{CLIP_DEVIATION, CLIP_MEAN, Preprocessing};
