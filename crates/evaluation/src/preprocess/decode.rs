//! Decoding of image files to Pillow's modes.

use super::pillow_image::{PillowImage, Samples};
use diffusion::{Error, Result};
use image::DynamicImage;
use png::{BitDepth, ColorType};
use std::io::Cursor;
use std::path::Path;

/// Most accepted pixels: Pillow refuses larger images as decompression bombs.
const MOST_PIXELS: u64 = 2 * 89_478_485;

impl PillowImage {
    /// Decodes a file of any PNG, JPEG, BMP, PNM, TIFF or WebP format. `origin` is the file's name for errors.
    ///
    /// # Errors
    /// Fails if the bytes are not a complete image of such a format, or if it has more pixels than Pillow accepts.
    pub(crate) fn decode(bytes: &[u8], origin: &Path) -> Result<Self> {
        let bad = |problem: String| Error::Format { file: origin.to_owned(), problem };
        if bytes.starts_with(b"\x89PNG") {
            return decode_png(bytes).map_err(bad);
        }
        let reader = image::ImageReader::new(Cursor::new(bytes))
            .with_guessed_format()
            .map_err(|e| bad(format!("is not an image: {e}")))?;
        let (width, height) = image::ImageReader::new(Cursor::new(bytes))
            .with_guessed_format()
            .map_err(|e| bad(e.to_string()))?
            .into_dimensions()
            .map_err(|e| {
                bad(format!(
                    "is not an image (PNG, JPEG, BMP, PNM, TIFF and WebP are supported): {e}; remove or replace it"
                ))
            })?;
        check_size(u64::from(width), u64::from(height)).map_err(bad)?;
        let image =
            reader.decode().map_err(|e| bad(format!("is an incomplete image: {e}; remove or replace it")))?;
        Ok(from_dynamic(image))
    }
}

/// Keeps 8 bits per sample, apart from 16 bit grey.
fn from_dynamic(image: DynamicImage) -> PillowImage {
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
    PillowImage { width, height, samples }
}

fn check_size(width: u64, height: u64) -> Result<(), String> {
    if width == 0 || height == 0 || width.saturating_mul(height) > MOST_PIXELS {
        return Err(format!(
            "has {width} x {height} pixels, but 1 to {MOST_PIXELS} are accepted: scale it down"
        ));
    }
    Ok(())
}

/// Decodes PNG with the `png` crate, because the `image` crate converts palettes to RGB.
fn decode_png(bytes: &[u8]) -> Result<PillowImage, String> {
    let broken = |e: png::DecodingError| format!("is an incomplete PNG image: {e}");
    let limits = png::Limits { bytes: 8 * MOST_PIXELS as usize };
    let mut decoder = png::Decoder::new_with_limits(Cursor::new(bytes), limits);
    decoder.set_transformations(png::Transformations::IDENTITY);
    let mut reader = decoder.read_info().map_err(broken)?;
    let (width, height) = (reader.info().width as usize, reader.info().height as usize);
    check_size(width as u64, height as u64)?;
    let palette = reader.info().palette.as_ref().map(|p| p.to_vec());
    let size = reader.output_buffer_size().ok_or("has more pixels than fit into memory")?;
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
        // Pillow keeps only the high byte of these.
        (_, BitDepth::Sixteen) => {
            Samples::Bytes { channels, values: raw.chunks_exact(2).map(|v| v[0]).collect() }
        }
        _ => Samples::Bytes { channels, values: raw },
    };
    Ok(PillowImage { width, height, samples })
}

/// Unpacks samples of 1, 2, 4 or 8 bits to bytes. Rows begin at whole bytes.
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
