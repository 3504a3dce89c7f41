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

/// Whether a setting is what it is where a spec does not say: then it is not written either.
pub(crate) fn is_default<T: Default + PartialEq>(setting: &T) -> bool {
    *setting == T::default()
}
