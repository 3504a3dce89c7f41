//! Scoring of images: reward models with their preprocessing and tokenizers, CLIP, distances between sets of images
//! (FID), and the safety checker.

pub mod cache;
pub mod clip;
pub mod fid;
pub mod inception;
pub mod preprocess;
pub mod rewards;
pub mod safety_checker;
pub mod text;
mod weights;
