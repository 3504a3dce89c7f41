//! Reading JSON configs.

use super::unsupported::{self, Unsupported};
use crate::{Error, Result};
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::borrow::Cow;
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

/// Reads a text file in UTF-8, without the byte order mark that some editors put before it.
///
/// # Errors
/// Fails if the file cannot be read or is not UTF-8.
pub fn read_text(file: &Path) -> Result<String> {
    let text = std::fs::read_to_string(file).map_err(|e| Error::file(file, e))?;
    Ok(text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text))
}

/// Reads a JSON file.
pub(super) fn read_value(file: &Path) -> Result<Value> {
    let text = read_text(file)?;
    serde_json::from_str(&without_special_numbers(&text)).map_err(|e| Error::format(file, e))
}

/// Replaces the numbers that Python writes and JSON does not have (`NaN`, `Infinity`, `-Infinity`, as in `lambda_min_clipped`
/// of schedulers) by null, outside of strings.
fn without_special_numbers(text: &str) -> Cow<'_, str> {
    if !["NaN", "Infinity"].iter().any(|word| text.contains(word)) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let (mut rest, mut in_string) = (text, false);
    while let Some(next) = rest.chars().next() {
        let word =
            ["NaN", "-Infinity", "Infinity"].iter().find(|word| !in_string && rest.starts_with(**word));
        if let Some(word) = word {
            out.push_str("null");
            rest = &rest[word.len()..];
            continue;
        }
        // A backslash in a string takes the next character with it.
        let length = if in_string && next == '\\' {
            rest.chars().take(2).map(char::len_utf8).sum()
        } else {
            in_string ^= next == '"';
            next.len_utf8()
        };
        out.push_str(&rest[..length]);
        rest = &rest[length..];
    }
    Cow::Owned(out)
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

#[cfg(test)]
mod tests {
    use super::without_special_numbers;

    #[test]
    fn numbers_of_python_become_null_outside_of_strings() {
        let text = r#"{"a": NaN, "b": [-Infinity, Infinity, 1e5], "NaN \"Infinity": "-Infinity\\", "c": -1}"#;
        let read = r#"{"a": null, "b": [null, null, 1e5], "NaN \"Infinity": "-Infinity\\", "c": -1}"#;
        assert_eq!(without_special_numbers(text), read);
        assert_eq!(without_special_numbers(read), read);
        assert_eq!(without_special_numbers("\"NaN"), "\"NaN");
    }
}
