//! What runs learn from: drawn or read, encoded once, kept in shards, dealt in batches.

pub mod batch;
pub mod encoded;
pub mod encoder;
pub mod examples;
pub mod fetched;
pub mod image_filter;
pub mod images;
pub mod key;
pub mod prepare;
pub mod sets;
pub mod shard;
pub mod votes;
