//! What runs learn from: drawn, encoded once, cached, dealt in batches.

pub mod batch;
pub mod encoded;
pub mod pictures;
pub mod sets;
