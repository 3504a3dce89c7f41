//! The files of a set and the number of its rows, without reading the rows.

use crate::error::ReadError;
use crate::image_files::{ending, files, litter};
use crate::{folder, images, likes, pick_a_pic, webdataset};
use domain::data::{DataSpec, FolderSpec, ImagesSpec, PickAPicSpec};
use std::path::{Path, PathBuf};

/// The files whose content determines a set, sorted by name; empty for sets that are not stored as files of one of this
/// crate's formats.
///
/// # Errors
/// Fails if the folder of the spec cannot be listed or contains no set of the spec's kind.
pub fn files_of(spec: &DataSpec) -> Result<Vec<PathBuf>, ReadError> {
    match spec {
        DataSpec::PickAPic(spec) => pick_a_pic::files(spec),
        DataSpec::Folder(spec) | DataSpec::Likes(spec) => files(Path::new(&spec.folder)),
        DataSpec::Images(spec) => {
            let mut all = files(Path::new(&spec.folder))?;
            if let Some(losers) = spec.losers.as_ref().and_then(|losers| losers.folder.as_ref()) {
                all.extend(files(Path::new(losers))?);
            }
            Ok(all)
        }
        DataSpec::WebDataset(spec) => webdataset::files(Path::new(&spec.folder)),
        DataSpec::Shapes { .. } | DataSpec::Votes(_) | DataSpec::Drawn(_) | DataSpec::Prepared(_) => {
            Ok(Vec::new())
        }
    }
}

/// The spec of the set in a folder; the files in it tell its format.
#[must_use]
pub fn spec_of_folder(folder: &Path) -> DataSpec {
    let path = folder.to_string_lossy().into_owned();
    let all = files(folder).unwrap_or_default();
    let near = [folder.to_owned(), folder.join("data")];
    let has = |wanted: &str, deep: bool| {
        let is_near = |file: &PathBuf| near.iter().any(|folder| file.parent() == Some(folder));
        all.iter().any(|file| ending(file) == wanted && litter(file).is_none() && (deep || is_near(file)))
    };
    let parquet = || DataSpec::PickAPic(PickAPicSpec { folder: path.clone(), ..PickAPicSpec::default() });
    let plain = || FolderSpec { folder: path.clone(), ..FolderSpec::default() };
    if has("parquet", false) {
        parquet()
    } else if has("tar", false) {
        DataSpec::WebDataset(plain())
    } else if likes::is_set(folder) {
        DataSpec::Likes(plain())
    } else if folder::is_set(folder) {
        DataSpec::Folder(plain())
    } else if images::layout(folder).is_some() {
        DataSpec::Images(ImagesSpec { folder: path, ..ImagesSpec::default() })
    } else if has("parquet", true) {
        parquet()
    } else if has("tar", true) {
        DataSpec::WebDataset(plain())
    } else {
        DataSpec::Folder(plain())
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
        DataSpec::Images(spec) => (images::rows(Path::new(&spec.folder)).ok()?, spec.max_images),
        DataSpec::Likes(spec) => (likes::rows(Path::new(&spec.folder)).ok()?, spec.max_pairs),
        DataSpec::WebDataset(_) | DataSpec::Votes(_) | DataSpec::Drawn(_) | DataSpec::Prepared(_) => {
            return None;
        }
    };
    Some(rows.min(most.map_or(u64::MAX, u64::from)))
}
