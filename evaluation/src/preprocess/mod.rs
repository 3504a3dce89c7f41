//! From a picture to what a network reads, as the reference packages do it: resizers that give Pillow's and torch's
//! numbers, and the three ways in which CLIP's scorers prepare a picture.

mod clip;
mod filter;
mod picture;
mod pillow;
mod torch;

pub use clip::{CLIP_DEVIATION, CLIP_MEAN, Preprocessing};
pub use filter::Filter;
pub use picture::Picture;
pub use pillow::{Window, resize_f32, resize_nearest, resize_u8, resize_u16};
pub use torch::{bicubic, bicubic_antialiased};
