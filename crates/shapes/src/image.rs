//! An image of the world: 64x64 RGB pixels.

use std::io::Cursor;

use image::{ImageFormat, Rgb, RgbImage};

/// Width and height of an image in pixels.
pub const SIDE: usize = 64;

/// RGB bytes of `SIDE` x `SIDE` pixels, row by row from the upper left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image(Vec<u8>);

impl Image {
    /// Wraps `SIDE * SIDE * 3` bytes; `None` if there are more or fewer.
    #[must_use]
    pub fn from_pixels(pixels: Vec<u8>) -> Option<Self> {
        (pixels.len() == SIDE * SIDE * 3).then_some(Self(pixels))
    }

    /// Rounds levels on the scale 0 to 255 and clamps them to it.
    pub(crate) fn from_levels(levels: &[[f32; 3]]) -> Self {
        debug_assert_eq!(levels.len(), SIDE * SIDE);
        Self(levels.as_flattened().iter().map(|level| level.round().clamp(0.0, 255.0) as u8).collect())
    }

    /// Red, green and blue of every pixel, `SIDE * SIDE * 3` bytes.
    #[must_use]
    pub fn pixels(&self) -> &[u8] {
        &self.0
    }

    /// Red, green and blue of every pixel, on the scale 0 to 255.
    pub(crate) fn levels(&self) -> Vec<[f32; 3]> {
        self.0.as_chunks::<3>().0.iter().map(|pixel| pixel.map(f32::from)).collect()
    }

    /// A copy as a buffer of the `image` crate.
    #[must_use]
    pub fn to_image(&self) -> RgbImage {
        RgbImage::from_fn(SIDE as u32, SIDE as u32, |x, y| {
            let start = (y as usize * SIDE + x as usize) * 3;
            Rgb([self.0[start], self.0[start + 1], self.0[start + 2]])
        })
    }

    /// Encodes the image as a PNG file.
    ///
    /// # Errors
    /// Fails if the encoder does, which has no reason to for these pixels.
    pub fn to_png(&self) -> image::ImageResult<Vec<u8>> {
        let mut file = Cursor::new(Vec::new());
        self.to_image().write_to(&mut file, ImageFormat::Png)?;
        Ok(file.into_inner())
    }
}
