//! Many images on one sheet.

use image::imageops::{self, FilterType};
use image::{Rgb, RgbImage};

use crate::image::{Image, SIDE};

/// Images in rows of `columns`, each with a one-pixel gray border, enlarged `scale` times by nearest neighbour.
#[must_use]
pub fn contact_sheet(images: &[Image], columns: usize, scale: u32) -> RgbImage {
    let (columns, scale, cell) = (columns.max(1), scale.max(1), SIDE as u32 + 2);
    let rows = images.len().div_ceil(columns).max(1) as u32;
    let mut sheet = RgbImage::from_pixel(columns as u32 * cell, rows * cell, Rgb([90; 3]));
    for (index, image) in images.iter().enumerate() {
        let (x, y) = ((index % columns) as u32 * cell + 1, (index / columns) as u32 * cell + 1);
        imageops::replace(&mut sheet, &image.to_image(), i64::from(x), i64::from(y));
    }
    imageops::resize(&sheet, sheet.width() * scale, sheet.height() * scale, FilterType::Nearest)
}
