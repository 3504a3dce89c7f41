//! The files of a set and the number of its rows, without reading the rows.

use crate::error::ReadError;
use crate::{folder, pick_a_pic, webdataset};
use domain::data::DataSpec;
use std::path::{Path, PathBuf};

/// The files whose content determines a set, sorted by name; empty for sets that are not stored as files of one of this
/// crate's formats.
///
/// # Errors
/// Fails if the folder of the spec cannot be listed or contains no set of the spec's kind.
pub fn files_of(spec: &DataSpec) -> Result<Vec<PathBuf>, ReadError> {
    match spec {
        DataSpec::PickAPic(spec) => pick_a_pic::files(spec),
        DataSpec::Folder(spec) => folder::files(Path::new(&spec.folder)),
        DataSpec::WebDataset(spec) => webdataset::files(Path::new(&spec.folder)),
        DataSpec::Shapes { .. } | DataSpec::Votes(_) | DataSpec::Prepared(_) => Ok(Vec::new()),
    }
}

/// The number of rows of a set, dropped ones included, capped at `max_pairs`; `None` if counting them would mean
/// reading them.
#[must_use]
pub fn rows_of(spec: &DataSpec) -> Option<u64> {
    let (rows, most) = match spec {
        DataSpec::Shapes { count, .. } => (u64::from(*count), None),
        DataSpec::PickAPic(spec) => (pick_a_pic::rows(spec).ok()?, spec.max_pairs),
        DataSpec::Folder(spec) => (folder::rows(Path::new(&spec.folder)).ok()?, spec.max_pairs),
        DataSpec::WebDataset(_) | DataSpec::Votes(_) | DataSpec::Prepared(_) => return None,
    };
    Some(rows.min(most.map_or(u64::MAX, u64::from)))
}
