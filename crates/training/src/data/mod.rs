//! Training data: read or drawn, encoded once into shards, and dealt in micro-batches.

pub mod batch;
pub mod clip;
pub(crate) mod cut;
pub(crate) mod drawing;
pub(crate) mod drawn;
pub mod encoded;
pub mod encoder;
pub mod encoding;
pub mod example;
pub mod examples;
pub mod fetched;
pub(crate) mod folder_lock;
pub mod frame;
mod image_filter;
pub mod images;
pub mod key;
mod lists;
mod manifest;
pub mod prepare;
mod related;
pub mod sets;
mod shard;
mod shard_encoding;
pub mod tensor_name;
pub mod votes;
