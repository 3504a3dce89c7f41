//! Runs jobs: trains, evaluates, and makes the bundled model.

pub mod ambient;
pub mod bundle;
pub mod catalogue;
pub mod checkpoint;
pub mod collective;
pub mod command;
pub mod data;
pub mod forward;
pub mod host;
mod hub;
pub mod model_folders;
pub mod objectives;
pub mod optim;
pub mod policy;
pub mod recipes;
pub mod report;
pub mod stop;
pub mod style;
pub mod worker;
