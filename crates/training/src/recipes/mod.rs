//! Procedures from a spec to models, images and reports.

pub mod callbacks;
mod divergence;
pub mod drawn_pairs;
pub mod evaluate;
pub mod fid;
mod networks;
pub mod objective;
mod rotation;
pub mod run_paths;
mod samples;
mod step_metrics;
pub mod study;
pub mod train;
