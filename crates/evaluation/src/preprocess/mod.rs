//! From an image to what a network reads, as the reference packages do it: resizers that give Pillow's and torch's
//! numbers, and the three ways in which CLIP's scorers prepare an image.

mod clip;
mod filter;
mod image;
mod pillow;
mod torch;

pub use clip::{CLIP_DEVIATION, CLIP_MEAN, Preprocessing};
pub use filter::Filter;
pub use image::Image;
pub use pillow::{Window, resize_f32, resize_nearest, resize_u8, resize_u16};
pub use torch::{bicubic, bicubic_antialiased};
