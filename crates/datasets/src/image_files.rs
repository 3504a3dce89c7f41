//! Files of images and captions in a set's folder, read within bounds.

use crate::error::ReadError;
use bytes::Bytes;
use domain::dataset::Reason;
use std::fs;
use std::path::{Component, Path, PathBuf};

/// Largest accepted image file, in bytes.
const LARGEST_IMAGE: u64 = 64 << 20;
/// Largest accepted caption file, in bytes.
const LARGEST_CAPTION: u64 = 1 << 20;
/// Extensions of image files.
pub(crate) const IMAGES: [&str; 3] = ["jpg", "jpeg", "png"];

/// Every file below a folder, sorted by path.
///
/// # Errors
/// Fails if a folder cannot be listed.
pub(crate) fn files(folder: &Path) -> Result<Vec<PathBuf>, ReadError> {
    let (mut found, mut folders) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(folder) = folders.pop() {
        for path in entries(&folder)? {
            // Linked folders are not followed: they may form a cycle.
            match fs::symlink_metadata(&path) {
                Ok(of) if of.is_dir() => folders.push(path),
                _ if path.is_file() => found.push(path),
                _ => {}
            }
        }
    }
    found.sort_unstable();
    Ok(found)
}

/// Checks that a set's folder exists.
///
/// # Errors
/// Says that it does not.
pub(crate) fn require_folder(folder: &Path) -> Result<(), ReadError> {
    if folder.is_dir() {
        return Ok(());
    }
    Err(ReadError::format(folder, "no such folder: a relative path counts from the working folder"))
}

/// The files and folders in a folder.
///
/// # Errors
/// Fails if the folder cannot be listed.
pub(crate) fn entries(folder: &Path) -> Result<Vec<PathBuf>, ReadError> {
    let entries = fs::read_dir(folder).map_err(|e| ReadError::file(folder, e))?;
    entries.map(|entry| Ok(entry.map_err(|e| ReadError::file(folder, e))?.path())).collect()
}

pub(crate) fn is_image(file: &Path) -> bool {
    let ending = file.extension().unwrap_or_default().to_string_lossy().to_lowercase();
    IMAGES.contains(&ending.as_str())
}

/// Unlike `with_extension`, keeps what follows the last dot of a stem such as `a.b`.
pub(crate) fn add_ending(stem: &Path, ending: &str) -> PathBuf {
    let mut name = stem.as_os_str().to_owned();
    name.push(".");
    name.push(ending);
    PathBuf::from(name)
}

/// The path of an image that a list names; refuses paths that leave the folder.
///
/// # Errors
/// Says that the path leaves the folder.
pub(crate) fn below(folder: &Path, name: &str) -> Result<PathBuf, String> {
    let path = Path::new(name);
    let plain = path.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
    if !plain || name.is_empty() {
        return Err(format!("{name:?} leads out of the folder: use a path below it"));
    }
    Ok(folder.join(path))
}

/// The bytes of an image file.
///
/// # Errors
/// Says why the row is dropped: the file is missing or too large.
pub(crate) fn read_image(file: &Path) -> Result<Bytes, (Reason, String)> {
    read(file, LARGEST_IMAGE)
}

/// The text of a caption file, without surrounding white space and byte order mark.
///
/// # Errors
/// Says what is wrong with the file.
pub(crate) fn read_caption(file: &Path) -> Result<String, String> {
    let bytes = read(file, LARGEST_CAPTION).map_err(|(_, problem)| problem)?;
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let text = String::from_utf8(bytes.into()).map_err(|_| format!("{name} is not UTF-8"))?;
    Ok(text.trim_start_matches('\u{feff}').trim().to_owned())
}

fn read(file: &Path, largest: u64) -> Result<Bytes, (Reason, String)> {
    let name = file.display();
    let missing = |error: std::io::Error| (Reason::MissingImage, format!("{name}: {error}"));
    let metadata = fs::metadata(file).map_err(missing)?;
    if !metadata.is_file() {
        return Err((Reason::MissingImage, format!("{name} is not a file")));
    }
    if metadata.len() > largest {
        return Err((Reason::DamagedImage, format!("{name} is larger than {largest} bytes")));
    }
    fs::read(file).map(Bytes::from).map_err(missing)
}
