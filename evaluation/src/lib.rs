//! What pictures are scored by.

pub mod clip;
