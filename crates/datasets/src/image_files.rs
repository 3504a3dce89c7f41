//! Files of images and captions in a set's folder, read within bounds.

use crate::error::ReadError;
use crate::json_row::JsonRow;
use crate::text::decode_text;
use bytes::Bytes;
use domain::dataset::Reason;
use std::collections::HashMap;
use std::fs;
use std::path::{Component, Path, PathBuf};

/// Largest accepted image file, in bytes.
const LARGEST_IMAGE: u64 = 64 << 20;
/// Largest accepted caption file, in bytes.
const LARGEST_CAPTION: u64 = 1 << 20;
/// Extensions of image files, in lower case. Those behind the comment are not decoded: their rows are dropped with the
/// name of the format.
#[rustfmt::skip]
pub(crate) const IMAGES: [&str; 28] = [
    "jpg", "jpeg", "jpe", "jfif", "png", "apng", "webp", "gif", "bmp", "dib", "tif", "tiff", "pnm", "ppm", "pgm", "pbm",
    // Not decoded.
    "avif", "heic", "heif", "jxl", "jp2", "svg", "psd", "tga", "ico", "exr", "dng", "qoi",
];
/// Extensions of files with the caption of the image of the same name, in lower case, in the order of preference.
const CAPTIONS: [&str; 3] = ["txt", "caption", "json"];
/// Keys of a caption in a JSON file.
pub(crate) const CAPTION_KEYS: [&str; 3] = ["prompt", "caption", "text"];

/// Every file below a folder, sorted by path; not those of hidden folders.
///
/// # Errors
/// Fails if the folder does not exist, or if one cannot be listed.
pub(crate) fn files(folder: &Path) -> Result<Vec<PathBuf>, ReadError> {
    require_folder(folder)?;
    let (mut found, mut folders) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(folder) = folders.pop() {
        for path in entries(&folder)? {
            // Linked folders are not followed: they may form a cycle. Hidden ones hold what tools keep for themselves.
            let is_hidden = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
            match fs::symlink_metadata(&path) {
                Ok(of) if of.is_dir() && is_hidden => {}
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

/// Whether a file is an image by its extension, and not one that a system adds to a folder.
pub(crate) fn is_image(file: &Path) -> bool {
    IMAGES.contains(&ending(file).as_str()) && litter(file).is_none()
}

/// Whether a file holds a caption by its extension.
pub(crate) fn is_caption(file: &Path) -> bool {
    CAPTIONS.contains(&ending(file).as_str())
}

/// The extension of a file in lower case; empty without one.
pub(crate) fn ending(file: &Path) -> String {
    file.extension().unwrap_or_default().to_string_lossy().to_lowercase()
}

/// Why a file is none of a set's, by its path below the set's folder: systems and archivers add such files.
pub(crate) fn litter(file: &Path) -> Option<&'static str> {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let of_macos = file.components().any(|part| part.as_os_str() == "__MACOSX");
    if of_macos || name.starts_with("._") || name == ".DS_Store" {
        return Some("macOS keeps attributes of files in it");
    }
    if ["thumbs.db", "desktop.ini", "ehthumbs.db"].contains(&name.to_lowercase().as_str()) {
        return Some("Windows keeps settings of the folder in it");
    }
    name.starts_with('.').then_some("it is a hidden file")
}

/// Files by their path without the extension: finds those of the same name as an image, whatever the case of their
/// extensions.
#[derive(Debug, Default)]
pub(crate) struct Siblings(HashMap<PathBuf, Vec<PathBuf>>);

impl Siblings {
    /// Of these files.
    pub(crate) fn of<'a>(files: impl IntoIterator<Item = &'a PathBuf>) -> Self {
        let mut of: HashMap<PathBuf, Vec<PathBuf>> = HashMap::new();
        for file in files {
            if litter(file).is_none() {
                of.entry(file.with_extension("")).or_default().push(file.clone());
            }
        }
        Self(of)
    }

    /// The file of this stem with the first of `endings` that there is.
    pub(crate) fn find(&self, stem: &Path, endings: &[&str]) -> Option<&Path> {
        let files = self.0.get(stem)?;
        let find = |wanted: &&str| files.iter().find(|file| ending(file) == **wanted);
        endings.iter().find_map(find).map(PathBuf::as_path)
    }

    /// The caption file of an image: its name with another extension, or with one more.
    pub(crate) fn caption(&self, image: &Path) -> Option<&Path> {
        let find = |name: &Path| self.find(name, &CAPTIONS);
        find(&image.with_extension("")).or_else(|| find(image))
    }
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

/// The text of a caption file, without surrounding white space and byte order mark; of a JSON file, its caption.
///
/// # Errors
/// Says what is wrong with the file.
pub(crate) fn read_caption(file: &Path) -> Result<String, String> {
    let bytes = read(file, LARGEST_CAPTION).map_err(|(_, problem)| problem)?;
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let text = decode_text(&bytes).map_err(|problem| format!("{name} {problem}"))?;
    if ending(file) != "json" {
        return Ok(text.trim().to_owned());
    }
    let row = JsonRow::parse(text.as_bytes());
    let text =
        row.and_then(|row| row.text(&CAPTION_KEYS, Reason::NoPrompt).map(|text| text.trim().to_owned()));
    text.map_err(|(_, problem)| format!("{name} {problem}"))
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
