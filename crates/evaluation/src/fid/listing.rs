//! Images of a folder, by pytorch-fid's rule.

use super::FidError;
use crate::preprocess::Image;
use image::RgbImage;
use std::path::{Path, PathBuf};

/// pytorch-fid's extensions, in small letters only, as there.
const EXTENSIONS: [&str; 9] = ["bmp", "jpg", "jpeg", "pgm", "png", "ppm", "tif", "tiff", "webp"];

/// The image files of a folder in order of their names; with `deep`, of the folders below it too (as clean-fid
/// lists). Distances do not depend on the order.
///
/// # Errors
/// The folder cannot be read, or holds no image.
pub fn images_of(folder: &Path, deep: bool) -> Result<Vec<PathBuf>, FidError> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        let entries = std::fs::read_dir(&folder).map_err(|e| FidError::file(&folder, e))?;
        for entry in entries {
            let entry = entry.map_err(|e| FidError::file(&folder, e))?;
            let path = entry.path();
            // A link to a folder is not followed: it could lead back here.
            let kind = entry.file_type().map_err(|e| FidError::file(&path, e))?;
            if kind.is_dir() {
                if deep {
                    folders.push(path);
                }
            } else if path.extension().is_some_and(|e| EXTENSIONS.iter().any(|known| e == *known)) {
                files.push(path);
            }
        }
    }
    if files.is_empty() {
        let remedy = if deep { "" } else { " (folders below it were not looked into: --recursive does)" };
        let problem = format!("holds no image ({}){remedy}", EXTENSIONS.join(", "));
        return Err(FidError::file(folder, problem));
    }
    files.sort();
    Ok(files)
}

/// Decodes an image as Pillow's `convert("RGB")` does: grey becomes colour, transparency is dropped, and a camera's note
/// of how it was held is not heeded.
///
/// # Errors
/// A file that cannot be read or decoded.
pub fn open_image(file: &Path) -> Result<RgbImage, FidError> {
    let bytes = std::fs::read(file).map_err(|e| FidError::file(file, e))?;
    let image = Image::decode(&bytes, file)?;
    let (width, height) = image.size();
    RgbImage::from_raw(width as u32, height as u32, image.rgb().into_owned())
        .ok_or_else(|| FidError::file(file, "has fewer pixels than its size says: remove or replace it"))
}
