//! Parameters of networks: read from a model's files or drawn from a seed, checked by name and shape, and saved.

mod finite;
mod named_tensors;
mod parameters;
mod part_files;
mod save;
mod stored;

pub use finite::{is_finite, refuse_not_finite};
pub use named_tensors::{Variables, Weights, values};
pub use parameters::{Init, Parameters, Scope, parameter_shapes};
pub use part_files::{PartFiles, Stem, Variant, shard_names};
pub use save::{save, save_streamed};
pub use stored::StoredWeights;
