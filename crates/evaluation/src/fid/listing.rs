//! The images of a folder, selected and decoded as in pytorch-fid.

use super::error::FidError;
use crate::preprocess::PillowImage;
use image::RgbImage;
use std::path::{Path, PathBuf};

/// The extensions of pytorch-fid, in lower case only, as there.
const EXTENSIONS: [&str; 9] = ["bmp", "jpg", "jpeg", "pgm", "png", "ppm", "tif", "tiff", "webp"];

/// The image files of a folder, sorted by path; with `recursive`, also those of its subfolders, as in clean-fid.
///
/// # Errors
/// Fails if the folder cannot be read or has no image.
pub fn images_of(folder: &Path, recursive: bool) -> Result<Vec<PathBuf>, FidError> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        let entries = std::fs::read_dir(&folder).map_err(|e| FidError::file(&folder, e))?;
        for entry in entries {
            let entry = entry.map_err(|e| FidError::file(&folder, e))?;
            let path = entry.path();
            // Linked folders are not followed: they may form a cycle.
            let kind = entry.file_type().map_err(|e| FidError::file(&path, e))?;
            if kind.is_dir() {
                if recursive {
                    folders.push(path);
                }
            } else if path
                .extension()
                .is_some_and(|e| EXTENSIONS.iter().any(|known| e.eq_ignore_ascii_case(known)))
            {
                files.push(path);
            }
        }
    }
    if files.is_empty() {
        let remedy = if recursive { "" } else { "; --recursive includes its subfolders" };
        let problem = format!("holds no image ({}){remedy}", EXTENSIONS.join(", "));
        return Err(FidError::file(folder, problem));
    }
    files.sort();
    Ok(files)
}

/// Decodes an image as Pillow's `convert("RGB")` does: grey is converted to RGB, alpha is dropped, and EXIF orientation
/// is ignored.
///
/// # Errors
/// Fails if the file cannot be read or decoded.
pub fn open_image(file: &Path) -> Result<RgbImage, FidError> {
    let bytes = std::fs::read(file).map_err(|e| FidError::file(file, e))?;
    let image = PillowImage::decode(&bytes, file)?;
    let (width, height) = image.size();
    RgbImage::from_raw(width as u32, height as u32, image.rgb().into_owned())
        .ok_or_else(|| FidError::file(file, "has fewer pixels than its header states: remove or replace it"))
}
