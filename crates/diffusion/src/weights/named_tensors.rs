//! A network's parameters by name.

use crate::Result;
use candle_core::{DType, Tensor, Var};
use std::collections::BTreeMap;

/// A network's trainable parameters by name. Clones share the values.
pub type Variables = BTreeMap<String, Var>;

/// A network's parameters by name. Clones share the values.
pub type Weights = BTreeMap<String, Tensor>;

/// The values of variables, detached and converted to `dtype`.
///
/// # Errors
/// Fails if a tensor cannot be converted.
pub fn values(variables: &Variables, dtype: DType) -> Result<BTreeMap<String, Tensor>> {
    variables.iter().map(|(name, v)| Ok((name.clone(), v.as_detached_tensor().to_dtype(dtype)?))).collect()
}
