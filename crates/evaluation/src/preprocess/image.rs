//! An image as its file has it. The reference packages differ in whether they resize before or after turning it into
//! RGB, so what it was is kept.
//!
//! As there, an orientation noted in EXIF is not followed, and gamma and colour profiles are ignored.

use super::filter::Filter;
use super::pillow::{Window, resize_nearest, resize_u8, resize_u16};
use diffusion::{Error, Result};
use image::{DynamicImage, RgbImage};
use png::{BitDepth, ColorType};
use sha2::{Digest, Sha256};
use std::borrow::Cow;
use std::io::Cursor;
use std::path::Path;

/// Pillow refuses images with more pixels than this, as decompression bombs.
const MOST_PIXELS: u64 = 2 * 89_478_485;

/// An image in one of Pillow's modes.
#[derive(Clone, Debug, PartialEq)]
pub struct Image {
    width: usize,
    height: usize,
    samples: Samples,
}

#[derive(Clone, Debug, PartialEq)]
enum Samples {
    /// Grey; grey and alpha; RGB; RGB and alpha (modes L, LA, RGB, RGBA), side by side.
    Bytes { channels: usize, values: Vec<u8> },
    /// Indices and colours (modes P and 1). Pillow resizes such to the nearest pixel.
    Palette { indices: Vec<u8>, colours: Vec<[u8; 3]> },
    /// 16 bit grey (mode I;16).
    Grey16(Vec<u16>),
}

impl Image {
    /// Reads a file's bytes: PNG of every kind, JPEG, BMP, PNM, TIFF, WebP.
    ///
    /// # Errors
    /// They are no whole image, or more pixels than Pillow would take; `origin` is named.
    pub fn decode(bytes: &[u8], origin: &Path) -> Result<Self> {
        let bad = |problem: String| Error::Format { file: origin.to_owned(), problem };
        if bytes.starts_with(b"\x89PNG") {
            return decode_png(bytes).map_err(bad);
        }
        let reader = image::ImageReader::new(Cursor::new(bytes))
            .with_guessed_format()
            .map_err(|e| bad(format!("is no image: {e}")))?;
        let (width, height) = image::ImageReader::new(Cursor::new(bytes))
            .with_guessed_format()
            .map_err(|e| bad(e.to_string()))?
            .into_dimensions()
            .map_err(|e| {
                bad(format!(
                    "is no image (PNG, JPEG, BMP, PNM, TIFF and WebP are read): {e}; remove or replace it"
                ))
            })?;
        check_size(u64::from(width), u64::from(height)).map_err(bad)?;
        let image =
            reader.decode().map_err(|e| bad(format!("is no whole image: {e}; remove or replace it")))?;
        Ok(Self::from(image))
    }

    /// An image of bytes side by side, 1 to 4 `channels`; `None` where they are not as many as its size needs.
    #[must_use]
    pub fn of_bytes(width: usize, height: usize, channels: usize, values: Vec<u8>) -> Option<Self> {
        let fits = (1..=4).contains(&channels)
            && width > 0
            && height > 0
            && width.checked_mul(height)?.checked_mul(channels)? == values.len();
        fits.then_some(Self { width, height, samples: Samples::Bytes { channels, values } })
    }

    /// SHA-256 of what it shows and how it is kept: the same for every file that is decoded to the same.
    #[must_use]
    pub fn sha256(&self) -> [u8; 32] {
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
    #[must_use]
    pub fn size(&self) -> (usize, usize) {
        (self.width, self.height)
    }

    /// Whether it is RGB as it stands.
    pub(super) fn is_rgb(&self) -> bool {
        matches!(self.samples, Samples::Bytes { channels: 3, .. })
    }

    /// The same in RGB.
    pub(super) fn to_rgb(&self) -> Self {
        let values = self.rgb().into_owned();
        Self { samples: Samples::Bytes { channels: 3, values }, ..*self }
    }

    /// RGB side by side, as Pillow's `convert("RGB")`: alpha is left out, 16 bit grey cut off at 255.
    #[must_use]
    pub fn rgb(&self) -> Cow<'_, [u8]> {
        match &self.samples {
            Samples::Bytes { channels: 3, values } => Cow::Borrowed(values),
            Samples::Bytes { channels, values } => Cow::Owned(bytes_to_rgb(values, *channels)),
            Samples::Palette { indices, colours } => Cow::Owned(palette_to_rgb(indices, colours)),
            Samples::Grey16(values) => Cow::Owned(grey16_to_rgb(values)),
        }
    }

    /// A window of the image resized to `to` in its own mode, then turned into RGB: what follows from torchvision's
    /// `Resize` before `convert("RGB")`. Colours are weighed by alpha, as Pillow does.
    #[must_use]
    pub fn resized_rgb(&self, to: (usize, usize), window: Window, filter: Filter) -> Vec<u8> {
        let from = self.size();
        match &self.samples {
            Samples::Bytes { channels: channels @ (2 | 4), values } if from != to => {
                let mut values = values.clone();
                values.chunks_exact_mut(*channels).for_each(multiply_alpha);
                let mut resized = resize_u8(&values, *channels, from, to, window, filter);
                resized.chunks_exact_mut(*channels).for_each(divide_alpha);
                bytes_to_rgb(&resized, *channels)
            }
            Samples::Bytes { channels, values } => {
                bytes_to_rgb(&resize_u8(values, *channels, from, to, window, filter), *channels)
            }
            Samples::Palette { indices, colours } => {
                palette_to_rgb(&resize_nearest(indices, from, to, window), colours)
            }
            Samples::Grey16(values) => grey16_to_rgb(&resize_u16(values, from, to, window, filter)),
        }
    }
}

impl From<RgbImage> for Image {
    fn from(image: RgbImage) -> Self {
        let (width, height) = (image.width() as usize, image.height() as usize);
        Self { width, height, samples: Samples::Bytes { channels: 3, values: image.into_raw() } }
    }
}

impl From<DynamicImage> for Image {
    fn from(image: DynamicImage) -> Self {
        let (width, height) = (image.width() as usize, image.height() as usize);
        let bytes = |channels, values| Samples::Bytes { channels, values };
        let samples = match image {
            DynamicImage::ImageLuma8(p) => bytes(1, p.into_raw()),
            DynamicImage::ImageLumaA8(p) => bytes(2, p.into_raw()),
            DynamicImage::ImageRgb8(p) => bytes(3, p.into_raw()),
            DynamicImage::ImageRgba8(p) => bytes(4, p.into_raw()),
            DynamicImage::ImageLuma16(p) => Samples::Grey16(p.into_raw()),
            other if other.color().has_alpha() => bytes(4, other.into_rgba8().into_raw()),
            other => bytes(3, other.into_rgb8().into_raw()),
        };
        Self { width, height, samples }
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
    // An index beyond the palette is as grey as its number: Pillow's palettes begin as a ramp.
    indices.iter().flat_map(|&i| colours.get(usize::from(i)).copied().unwrap_or([i; 3])).collect()
}

fn grey16_to_rgb(values: &[u16]) -> Vec<u8> {
    values.iter().flat_map(|&v| [v.min(255) as u8; 3]).collect()
}

/// The last sample is alpha: the others become their share of it (Pillow's MULDIV255).
fn multiply_alpha(pixel: &mut [u8]) {
    let Some((&mut alpha, colours)) = pixel.split_last_mut() else { return };
    for c in colours {
        let product = u32::from(*c) * u32::from(alpha) + 128;
        *c = (((product >> 8) + product) >> 8) as u8;
    }
}

fn divide_alpha(pixel: &mut [u8]) {
    let Some((&mut alpha, colours)) = pixel.split_last_mut() else { return };
    if alpha != 0 && alpha != 255 {
        for c in colours {
            *c = (255 * u32::from(*c) / u32::from(alpha)).min(255) as u8;
        }
    }
}

fn check_size(width: u64, height: u64) -> Result<(), String> {
    if width == 0 || height == 0 || width.saturating_mul(height) > MOST_PIXELS {
        return Err(format!(
            "has {width} x {height} pixels, which is not from 1 to {MOST_PIXELS}: scale it down"
        ));
    }
    Ok(())
}

/// PNG by hand: the `image` crate would turn palettes into RGB.
fn decode_png(bytes: &[u8]) -> Result<Image, String> {
    let broken = |e: png::DecodingError| format!("is no whole PNG image: {e}");
    let limits = png::Limits { bytes: 8 * MOST_PIXELS as usize };
    let mut decoder = png::Decoder::new_with_limits(Cursor::new(bytes), limits);
    decoder.set_transformations(png::Transformations::IDENTITY);
    let mut reader = decoder.read_info().map_err(broken)?;
    let (width, height) = (reader.info().width as usize, reader.info().height as usize);
    check_size(width as u64, height as u64)?;
    let palette = reader.info().palette.as_ref().map(|p| p.to_vec());
    let size = reader.output_buffer_size().ok_or("has more pixels than memory")?;
    let mut raw = vec![0; size];
    let frame = reader.next_frame(&mut raw).map_err(broken)?;
    let (colour, depth) = (frame.color_type, frame.bit_depth);
    let channels = colour.samples();
    let narrow = || unpack(&raw, frame.line_size, width, height, depth);
    let samples = match (colour, depth) {
        (ColorType::Indexed, _) => {
            let palette = palette.ok_or("has no palette")?;
            let colours = palette.chunks_exact(3).map(|c| [c[0], c[1], c[2]]).collect();
            Samples::Palette { indices: narrow(), colours }
        }
        (ColorType::Grayscale, BitDepth::One) => {
            Samples::Palette { indices: narrow(), colours: vec![[0; 3], [255; 3]] }
        }
        (ColorType::Grayscale, BitDepth::Two | BitDepth::Four) => {
            let scale = if depth == BitDepth::Two { 85 } else { 17 };
            Samples::Bytes { channels, values: narrow().into_iter().map(|v| v * scale).collect() }
        }
        (ColorType::Grayscale, BitDepth::Sixteen) => {
            Samples::Grey16(raw.chunks_exact(2).map(|v| u16::from_be_bytes([v[0], v[1]])).collect())
        }
        // Pillow keeps the high byte.
        (_, BitDepth::Sixteen) => {
            Samples::Bytes { channels, values: raw.chunks_exact(2).map(|v| v[0]).collect() }
        }
        _ => Samples::Bytes { channels, values: raw },
    };
    Ok(Image { width, height, samples })
}

/// Samples of 1, 2, 4 or 8 bits to bytes; rows begin at whole bytes.
fn unpack(raw: &[u8], line: usize, width: usize, height: usize, depth: BitDepth) -> Vec<u8> {
    let bits = depth as usize;
    let mut values = Vec::with_capacity(width * height);
    for row in raw.chunks_exact(line).take(height) {
        values.extend((0..width).map(|x| {
            let shift = 8 - bits - x * bits % 8;
            (u32::from(row[x * bits / 8]) >> shift & ((1 << bits) - 1)) as u8
        }));
    }
    values
}
