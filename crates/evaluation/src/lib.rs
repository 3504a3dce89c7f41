//! What images are scored by.

pub mod cache;
pub mod clip;
pub mod fid;
pub mod inception;
pub mod preprocess;
pub mod rewards;
pub mod safety_checker;
pub mod text;
