//! Models, images and data sets as database rows and files. What both server and trainer need to know about them is
//! decided here, once: where a model's parts are, how an image is stored, how a run's folder is laid out, and which
//! data sets exist.

pub mod clip;
pub mod comparison;
pub mod data_check;
pub mod dataset;
pub mod dataset_catalogue;
mod disputed;
pub mod evaluation_rows;
pub mod images;
pub mod local_models;
pub mod metrics_file;
pub mod model_files;
pub mod model_identity;
pub mod models;
pub mod models_folder;
pub mod pull;
pub mod register;
pub mod run_cost;
pub mod run_deletion;
pub mod run_folder;
pub mod run_manifest;
pub mod run_models;
pub mod samplers;
pub mod spec_changes;
pub mod study;
pub mod world;
