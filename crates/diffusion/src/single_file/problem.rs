//! Errors about a single file.

/// A result, or what is wrong with the file, as the rest of a sentence that begins with the file's name.
pub(super) type Checked<T> = Result<T, String>;
