//! An image in the mode that Pillow opens its file in. The mode is kept because the reference packages differ in
//! whether they resize before or after the conversion to RGB, with different results. As there, EXIF orientation, gamma
//! and colour profiles are ignored.

use super::pillow_resize::{Window, resize_nearest, resize_u8, resize_u16};
use image::RgbImage;
use sha2::{Digest, Sha256};
use std::borrow::Cow;

/// An image in one of Pillow's modes.
#[derive(Clone, Debug, PartialEq)]
pub struct PillowImage {
    pub(super) width: usize,
    pub(super) height: usize,
    pub(super) samples: Samples,
}

/// The samples of an image, row by row.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Samples {
    /// Interleaved channels: grey, grey and alpha, RGB, or RGB and alpha (modes L, LA, RGB and RGBA).
    Bytes { channels: usize, values: Vec<u8> },
    /// Indices and colours (modes P and 1). Pillow resizes them by nearest neighbour.
    Palette { indices: Vec<u8>, colours: Vec<[u8; 3]> },
    /// 16 bit grey (mode I;16).
    Grey16(Vec<u16>),
}

impl PillowImage {
    /// An image of 1 to 4 interleaved channels of 8 bits; `None` if `values` has another length than the size requires.
    #[must_use]
    pub fn of_bytes(width: usize, height: usize, channels: usize, values: Vec<u8>) -> Option<Self> {
        let fits = (1..=4).contains(&channels)
            && width > 0
            && height > 0
            && width.checked_mul(height)?.checked_mul(channels)? == values.len();
        fits.then_some(Self { width, height, samples: Samples::Bytes { channels, values } })
    }

    /// SHA-256 of size, mode and samples: equal for files that decode to the same image.
    pub(crate) fn sha256(&self) -> [u8; 32] {
        let mut hash = Sha256::new();
        let mut add = |bytes: &[u8]| {
            hash.update((bytes.len() as u64).to_le_bytes());
            hash.update(bytes);
        };
        add(format!("{} {}", self.width, self.height).as_bytes());
        match &self.samples {
            Samples::Bytes { channels, values } => {
                add(format!("bytes {channels}").as_bytes());
                add(values);
            }
            Samples::Palette { indices, colours } => {
                add(b"palette");
                add(indices);
                add(colours.as_flattened());
            }
            Samples::Grey16(values) => {
                add(b"grey16");
                add(&values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>());
            }
        }
        hash.finalize().into()
    }

    /// Width and height.
    pub(crate) fn size(&self) -> (usize, usize) {
        (self.width, self.height)
    }

    /// Whether the mode is RGB.
    pub(super) fn is_rgb(&self) -> bool {
        matches!(self.samples, Samples::Bytes { channels: 3, .. })
    }

    /// The image in the mode RGB.
    pub(super) fn to_rgb(&self) -> Self {
        let values = self.rgb().into_owned();
        Self { samples: Samples::Bytes { channels: 3, values }, ..*self }
    }

    /// Interleaved RGB, as by Pillow's `convert("RGB")`: alpha is dropped, and 16 bit grey is clipped to 255.
    pub(crate) fn rgb(&self) -> Cow<'_, [u8]> {
        match &self.samples {
            Samples::Bytes { channels: 3, values } => Cow::Borrowed(values),
            Samples::Bytes { channels, values } => Cow::Owned(bytes_to_rgb(values, *channels)),
            Samples::Palette { indices, colours } => Cow::Owned(palette_to_rgb(indices, colours)),
            Samples::Grey16(values) => Cow::Owned(grey16_to_rgb(values)),
        }
    }

    /// Resizes the image to `to` in its own mode and converts a window of the result to RGB, as torchvision's `Resize`
    /// before `convert("RGB")` does. Colours are weighted by alpha, as in Pillow.
    pub(super) fn resized_rgb(&self, to: (usize, usize), window: Window) -> Vec<u8> {
        let from = self.size();
        match &self.samples {
            Samples::Bytes { channels: channels @ (2 | 4), values } if from != to => {
                let mut values = values.clone();
                values.chunks_exact_mut(*channels).for_each(multiply_alpha);
                let mut resized = resize_u8(&values, *channels, from, to, window);
                resized.chunks_exact_mut(*channels).for_each(divide_alpha);
                bytes_to_rgb(&resized, *channels)
            }
            Samples::Bytes { channels, values } => {
                bytes_to_rgb(&resize_u8(values, *channels, from, to, window), *channels)
            }
            Samples::Palette { indices, colours } => {
                palette_to_rgb(&resize_nearest(indices, from, to, window), colours)
            }
            Samples::Grey16(values) => grey16_to_rgb(&resize_u16(values, from, to, window)),
        }
    }
}

impl From<RgbImage> for PillowImage {
    fn from(image: RgbImage) -> Self {
        let (width, height) = (image.width() as usize, image.height() as usize);
        Self { width, height, samples: Samples::Bytes { channels: 3, values: image.into_raw() } }
    }
}

fn bytes_to_rgb(values: &[u8], channels: usize) -> Vec<u8> {
    match channels {
        1 | 2 => values.chunks_exact(channels).flat_map(|p| [p[0]; 3]).collect(),
        3 => values.to_vec(),
        _ => values.chunks_exact(channels).flat_map(|p| [p[0], p[1], p[2]]).collect(),
    }
}

fn palette_to_rgb(indices: &[u8], colours: &[[u8; 3]]) -> Vec<u8> {
    // Pillow's palettes are initialised to a grey ramp, so an index beyond the palette is grey.
    indices.iter().flat_map(|&i| colours.get(usize::from(i)).copied().unwrap_or([i; 3])).collect()
}

fn grey16_to_rgb(values: &[u16]) -> Vec<u8> {
    values.iter().flat_map(|&v| [v.min(255) as u8; 3]).collect()
}

/// Multiplies the samples of a pixel by its last one, alpha (Pillow's MULDIV255).
fn multiply_alpha(pixel: &mut [u8]) {
    let Some((&mut alpha, colours)) = pixel.split_last_mut() else { return };
    for c in colours {
        let product = u32::from(*c) * u32::from(alpha) + 128;
        *c = (((product >> 8) + product) >> 8) as u8;
    }
}

/// Undoes [`multiply_alpha`], except for rounding.
fn divide_alpha(pixel: &mut [u8]) {
    let Some((&mut alpha, colours)) = pixel.split_last_mut() else { return };
    if alpha != 0 && alpha != 255 {
        for c in colours {
            *c = (255 * u32::from(*c) / u32::from(alpha)).min(255) as u8;
        }
    }
}
