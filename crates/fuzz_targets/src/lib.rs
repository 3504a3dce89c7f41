//! Fuzz targets: the readers of files and request bodies that may come from anyone. A target takes arbitrary bytes. It must
//! not panic, checks what must hold of every input that the reader accepts, and returns whether it accepts this one.
//!
//! The tests of this crate run every file of `fuzz/seeds` and a few thousand mutations of each. `cargo xtask fuzz` runs the
//! same targets with libFuzzer.

mod input_file;
mod parquet;
mod request_body;
mod safetensors;
mod single_file;
mod snappy;
mod torch_file;
mod torch_pickle;
mod votes_elsewhere;
mod weights_file;

pub use parquet::parquet;
pub use request_body::request_body;
pub use safetensors::safetensors;
pub use single_file::single_file;
pub use snappy::snappy;
pub use torch_file::torch_file;
pub use torch_pickle::torch_pickle;
pub use votes_elsewhere::votes_elsewhere;
