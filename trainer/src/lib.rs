//! Runs jobs: trains, evaluates, and makes the bundled model.

pub mod bundle;
pub mod checkpoint;
pub mod command;
pub mod data;
pub mod host;
pub mod objectives;
pub mod optim;
pub mod recipes;
pub mod report;
pub mod stop;
