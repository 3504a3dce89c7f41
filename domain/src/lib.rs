//! The words of the product as types. Nothing here reads a clock, a file, a database or a network, and
//! everything compiles to wasm: server, worker, pages and command line share these definitions.

pub mod api;
pub mod data;
pub mod dataset;
pub mod evaluate;
pub mod id;
pub mod image;
pub mod job;
pub mod lora;
pub mod model;
pub mod preference;
pub mod prepare;
pub mod problem;
pub mod ranking;
pub mod run;
pub mod style;
pub mod train;

/// A moment, to the microsecond (what both databases keep).
pub type Timestamp = chrono::DateTime<chrono::Utc>;
