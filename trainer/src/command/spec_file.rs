//! Specs in TOML files.

use anyhow::{Context, Error, Result};
use domain::plain_words::in_plain_words;
use domain::problem::Problems;
use serde::de::DeserializeOwned;
use std::path::Path;

/// Reads and validates a spec. `kind` names it in errors, for example "train".
///
/// # Errors
/// Fails if the file cannot be read, is not a spec of this kind, or has values that are not accepted.
pub(super) fn read_spec<T: DeserializeOwned>(
    file: &Path,
    kind: &str,
    validate: impl Fn(&T) -> Result<(), Problems>,
) -> Result<T> {
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    let spec: T = toml::from_str(text.trim_start_matches('\u{feff}'))
        .map_err(|error| Error::msg(in_plain_words(error.to_string().trim_end())))
        .with_context(|| format!("{} is not a valid {kind} spec", file.display()))?;
    validate(&spec).with_context(|| format!("{} has invalid values", file.display()))?;
    Ok(spec)
}
