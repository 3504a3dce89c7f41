//! An image of the world, and sheets of many.

use std::io::Cursor;

use image::imageops::{self, FilterType};
use image::{ImageFormat, Rgb, RgbImage};

/// Width and height of an image in pixels.
pub const SIDE: usize = 64;

/// 64x64 RGB, row by row from the upper left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image(Vec<u8>);

impl Image {
    /// From `SIDE * SIDE * 3` bytes; `None` for any other number of them.
    #[must_use]
    pub fn from_pixels(pixels: Vec<u8>) -> Option<Self> {
        (pixels.len() == SIDE * SIDE * 3).then_some(Self(pixels))
    }

    /// From levels on the scale 0 to 255, rounded and clamped.
    pub(crate) fn from_levels(levels: &[[f32; 3]]) -> Self {
        debug_assert_eq!(levels.len(), SIDE * SIDE);
        Self(levels.as_flattened().iter().map(|level| level.round().clamp(0.0, 255.0) as u8).collect())
    }

    /// The bytes.
    #[must_use]
    pub fn pixels(&self) -> &[u8] {
        &self.0
    }

    /// Red, green and blue of every pixel as numbers.
    pub(crate) fn levels(&self) -> Vec<[f32; 3]> {
        self.0.as_chunks::<3>().0.iter().map(|pixel| pixel.map(f32::from)).collect()
    }

    /// As an image buffer.
    #[must_use]
    pub fn to_image(&self) -> RgbImage {
        RgbImage::from_fn(SIDE as u32, SIDE as u32, |x, y| {
            let start = (y as usize * SIDE + x as usize) * 3;
            Rgb([self.0[start], self.0[start + 1], self.0[start + 2]])
        })
    }

    /// As the bytes of a PNG file.
    ///
    /// # Errors
    /// Whatever the encoder reports; it has no reason to.
    pub fn to_png(&self) -> image::ImageResult<Vec<u8>> {
        let mut file = Cursor::new(Vec::new());
        self.to_image().write_to(&mut file, ImageFormat::Png)?;
        Ok(file.into_inner())
    }
}

/// Many images in rows of `columns`, a pixel of gray between them, every pixel drawn `scale` times as large.
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
