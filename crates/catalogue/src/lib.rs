//! Models, images and data sets as rows and files. Server and trainer decide here, once, where a model's parts lie, how
//! an image is stored, how a run's folder is laid out and which sets there are.

pub mod dataset_catalogue;
pub mod images;
pub mod model_folders;
pub mod models;
pub mod models_folder;
pub mod run_folder;
pub mod samplers;
