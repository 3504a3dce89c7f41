//! One step of a benchmark.

use anyhow::Result;

/// Runs one step. The result is compared with the peer's where both must compute the same number.
pub(crate) type Step<'a> = Box<dyn FnMut() -> Result<Option<f64>> + 'a>;
