//! The files of a set, and how many rows they have.

use crate::error::ReadError;
use crate::{folder, pick_a_pic, webdataset};
use domain::data::DataSpec;
use std::path::{Path, PathBuf};

/// The files that decide what a set holds, in the order of their names; none of sets that lie elsewhere.
///
/// # Errors
/// No set lies where the spec says.
pub fn files_of(spec: &DataSpec) -> Result<Vec<PathBuf>, ReadError> {
    match spec {
        DataSpec::PickAPic(spec) => pick_a_pic::files(spec),
        DataSpec::Folder(spec) => folder::files(Path::new(&spec.folder)),
        DataSpec::WebDataset(spec) => webdataset::files(Path::new(&spec.folder)),
        DataSpec::Shapes { .. } | DataSpec::Votes(_) | DataSpec::Prepared(_) => Ok(Vec::new()),
    }
}

/// Rows of a set, dropped ones included, where that is known without reading it; at most `max_pairs`.
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
