//! Which texts may be names: of runs and models, which become folders, of repositories of the hub, and of files that a
//! job may read.

use crate::limits::MAX_NAME_BYTES;

/// Whether a run or model may have this name. It becomes a folder's name: ASCII letters, digits, `-`, `_` and `.`, no
/// leading `.`, at most [`MAX_NAME_BYTES`].
#[must_use]
pub fn is_name(name: &str) -> bool {
    name.len() <= MAX_NAME_BYTES && is_plain(name)
}

/// Whether a text has the form of a hub repository's name: `OWNER/NAME`.
#[must_use]
pub fn is_repository(name: &str) -> bool {
    matches!(name.split_once('/'), Some((owner, name)) if is_plain(owner) && is_plain(name))
}

/// Whether a path stays below the folder it is relative to. Jobs can be submitted over HTTP, so they may name only files
/// below the worker's current folder.
#[must_use]
pub fn is_below_working_folder(path: &str) -> bool {
    !path.starts_with(['/', '\\', '~']) && path.split(['/', '\\']).all(|part| part != "..")
}

/// The message about a path for which [`is_below_working_folder`] does not hold.
pub const OUTSIDE_WORKING_FOLDER: &str =
    "is not below the worker's folder: give a relative path without \"..\"";

/// Letters, digits, `-`, `_` and `.`, at least one, the first not `.`.
fn is_plain(part: &str) -> bool {
    !part.is_empty()
        && !part.starts_with('.')
        && part.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
}

#[cfg(test)]
mod tests {
    use super::{is_name, is_repository};

    #[test]
    fn names_cannot_leave_a_folder() {
        for name in ["a", "sd15-dpo_2.0", &"a".repeat(100)] {
            assert!(is_name(name), "{name:?}");
        }
        for name in ["", ".", "..", ".hidden", "a/b", "a\\b", "a b", "\u{e4}", &"a".repeat(101)] {
            assert!(!is_name(name), "{name:?}");
        }
    }

    #[test]
    fn repositories_have_an_owner_and_a_name() {
        assert!(is_repository("yuvalkirstain/pickapic_v2"));
        for name in ["", "a", "/a", "a/", "a/b/c", "../a", "a/.b"] {
            assert!(!is_repository(name), "{name:?}");
        }
    }
}
