//! The product's vocabulary as types, with validation and pure arithmetic. Nothing here reads a clock, a file, a
//! database or a network, and everything compiles to wasm: server, worker, pages and command line share these
//! definitions.

pub mod api;
pub mod campaign;
pub mod contestant;
pub mod data;
pub mod data_check;
pub mod dataset;
pub mod drawn_pairs;
pub mod evaluate;
pub mod gold;
pub mod id;
pub mod image;
pub mod job;
pub mod limits;
pub mod log;
pub mod lora;
pub mod matchmaking;
pub mod model;
pub mod name;
pub mod pace;
pub mod plain_words;
pub mod preference;
pub mod prepare;
pub mod problem;
pub mod ranking;
pub mod run;
pub mod series;
pub mod sets;
pub mod study;
pub mod style;
pub mod train;
pub mod usage;
pub mod worker;

/// A time in UTC, to the microsecond: the resolution of both databases.
pub type Timestamp = chrono::DateTime<chrono::Utc>;

/// For `skip_serializing_if`: whether a setting has its default value.
pub(crate) fn is_default<T: Default + PartialEq>(setting: &T) -> bool {
    *setting == T::default()
}
