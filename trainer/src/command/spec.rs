//! What a command is asked to do, read from a TOML file.

use anyhow::{Context, Result};
use domain::problem::Problems;
use serde::de::DeserializeOwned;
use std::path::Path;

/// Reads a spec; `kind` is the word for it in errors.
///
/// # Errors
/// The file cannot be read, is no such spec, or asks for something impossible.
pub(super) fn read<T: DeserializeOwned>(
    file: &Path,
    kind: &str,
    validate: impl Fn(&T) -> Result<(), Problems>,
) -> Result<T> {
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    let spec: T = toml::from_str(&text).with_context(|| format!("{} is no {kind} spec", file.display()))?;
    validate(&spec).with_context(|| format!("{} asks for something impossible", file.display()))?;
    Ok(spec)
}
