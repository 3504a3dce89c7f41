//! Reading JSON configs.

use super::unsupported::{self, Unsupported};
use crate::{Error, Result};
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::path::Path;

/// The file name in errors about a config that is not in a file.
pub(super) const CONFIG_FILE: &str = "config.json";

/// Reads a JSON config.
///
/// # Errors
/// Fails if the file cannot be read, or a field is missing or has an invalid value.
pub fn read<T: DeserializeOwned>(file: &Path) -> Result<T> {
    read_supported(file, &[])
}

/// Reads a JSON config and checks that it does not use `unsupported` settings.
pub(super) fn read_supported<T: DeserializeOwned>(file: &Path, unsupported: &[Unsupported]) -> Result<T> {
    parse(read_value(file)?, file, unsupported)
}

/// Reads a JSON file.
pub(super) fn read_value(file: &Path) -> Result<Value> {
    let text = std::fs::read_to_string(file).map_err(|e| Error::file(file, e))?;
    // Python writes an infinite number (`lambda_min_clipped` of schedulers) as a word that JSON does not have.
    let text = text.replace(": -Infinity", ": null");
    serde_json::from_str(&text).map_err(|e| Error::format(file, e))
}

/// Parses the config in a JSON value. `file` is for error messages.
pub(super) fn parse<T: DeserializeOwned>(
    config: Value,
    file: &Path,
    unsupported: &[Unsupported],
) -> Result<T> {
    unsupported::check(&config, unsupported, file)?;
    serde_path_to_error::deserialize(config).map_err(|e| Error::format(file, e))
}
