//! Procedures from a spec to models, images and reports.

pub mod callbacks;
mod divergence;
pub mod evaluate;
pub mod fid;
pub mod networks;
pub mod objective;
pub mod rotation;
pub mod run_paths;
pub mod samples;
mod step_metrics;
pub mod train;
