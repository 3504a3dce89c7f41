//! Decoding of image files from untrusted sources, with bounds on dimensions and memory.

use crate::pair::PreferencePair;
use domain::dataset::{Dropped, Reason};
use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader, Limits, RgbImage};
use std::io::Cursor;

/// Longest accepted side in pixels.
const LONGEST_SIDE: u32 = 8192;
/// Most memory that decoding one image may take, in bytes.
const MEMORY: u64 = 256 << 20;

/// Decodes a JPEG or PNG file to RGB, turned upright by its EXIF orientation and blended over white where it is
/// transparent.
///
/// # Errors
/// Says what is wrong with the file: another format, damaged or incomplete data, or an image beyond the bounds.
pub fn decode(bytes: &[u8]) -> Result<RgbImage, String> {
    let format = image::guess_format(bytes).map_err(|_| "is not an image file".to_owned())?;
    if !matches!(format, ImageFormat::Jpeg | ImageFormat::Png) {
        return Err(format!("is a {format:?} file: convert it to JPEG or PNG"));
    }
    // The decoder fills missing parts of a JPEG with grey and reports no error.
    if format == ImageFormat::Jpeg && !is_whole_jpeg(bytes) {
        return Err("is an incomplete JPEG file: its end marker is missing".to_owned());
    }
    let mut limits = Limits::default();
    limits.max_image_width = Some(LONGEST_SIDE);
    limits.max_image_height = Some(LONGEST_SIDE);
    limits.max_alloc = Some(MEMORY);
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    reader.limits(limits);
    let mut decoder = reader.into_decoder().map_err(|error| error.to_string())?;
    let (width, height) = decoder.dimensions();
    if width == 0 || height == 0 || width > LONGEST_SIDE || height > LONGEST_SIDE {
        return Err(format!("has {width} x {height} pixels: a side may have 1 to {LONGEST_SIDE}"));
    }
    if decoder.total_bytes() > MEMORY {
        return Err(format!("takes {} bytes to decode: at most {MEMORY} are allowed", decoder.total_bytes()));
    }
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    let mut image = DynamicImage::from_decoder(decoder).map_err(|error| error.to_string())?;
    image.apply_orientation(orientation);
    Ok(if image.color().has_alpha() { over_white(&image) } else { image.into_rgb8() })
}

/// Decodes winner and loser of a pair.
///
/// # Errors
/// Returns the pair as a dropped row if an image cannot be decoded.
pub fn decode_pair(pair: &PreferencePair) -> Result<(RgbImage, Option<RgbImage>), Dropped> {
    let image = |name: &str, bytes: &[u8]| {
        decode(bytes).map_err(|problem| Dropped {
            reason: Reason::DamagedImage,
            source: pair.source.clone(),
            rows: 1,
            detail: format!("the {name} {problem}"),
        })
    };
    let winner = image("winner", &pair.winner)?;
    let loser = pair.loser.as_ref().map(|loser| image("loser", loser)).transpose()?;
    Ok((winner, loser))
}

/// Bytes of an image file and its decoded pixels, by the dimensions in its header, which count up to the bounds of
/// [`decode`]; of a file that is not an image, the bytes of the file.
#[must_use]
pub fn decoded_bytes(bytes: &[u8]) -> u64 {
    let reader = ImageReader::new(Cursor::new(bytes)).with_guessed_format().ok();
    let (width, height) = reader.and_then(|reader| reader.into_dimensions().ok()).unwrap_or_default();
    let pixels = u64::from(width.min(LONGEST_SIDE)) * u64::from(height.min(LONGEST_SIDE));
    3 * pixels + bytes.len() as u64
}

fn over_white(image: &DynamicImage) -> RgbImage {
    let image = image.to_rgba8();
    let mut over = RgbImage::new(image.width(), image.height());
    for (from, to) in image.pixels().zip(over.pixels_mut()) {
        let [r, g, b, alpha] = from.0.map(u32::from);
        to.0 = [r, g, b].map(|level| ((level * alpha + 255 * (255 - alpha) + 127) / 255) as u8);
    }
    over
}

/// Whether a JPEG file reaches its end marker. Walks the segments and the entropy-coded data between them, in which
/// 0xFF is always followed by 0 or by the number of a restart marker.
fn is_whole_jpeg(bytes: &[u8]) -> bool {
    let mut at = 2;
    let mut scanned = false;
    while at + 1 < bytes.len() {
        if bytes[at] != 0xFF {
            // Entropy-coded data; before the first scan there is none.
            if !scanned {
                return false;
            }
            at += 1;
            continue;
        }
        match bytes[at + 1] {
            0xFF => at += 1,
            0x00 | 0x01 | 0xD0..=0xD7 => at += 2,
            0xD9 => return scanned,
            marker => {
                let Some(&[high, low]) = bytes.get(at + 2..at + 4) else { return false };
                scanned |= marker == 0xDA;
                at += 2 + usize::from(u16::from_be_bytes([high, low]));
            }
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::{decode, decoded_bytes};
    use image::{DynamicImage, ImageFormat, Rgb, RgbImage, Rgba, RgbaImage};
    use std::io::Cursor;

    fn file(image: &DynamicImage, format: ImageFormat) -> Vec<u8> {
        let mut bytes = Vec::new();
        image.write_to(&mut Cursor::new(&mut bytes), format).expect("encodes");
        bytes
    }

    fn waves() -> DynamicImage {
        DynamicImage::from(RgbImage::from_fn(40, 24, |x, y| {
            Rgb([(x * 6) as u8, (y * 10) as u8, (x * y) as u8])
        }))
    }

    #[test]
    fn a_truncated_jpeg_is_refused() {
        let whole = file(&waves(), ImageFormat::Jpeg);
        assert_eq!(decode(&whole).expect("whole").dimensions(), (40, 24));
        for length in 0..whole.len() {
            assert!(decode(&whole[..length]).is_err(), "{length} of {} bytes", whole.len());
        }
    }

    #[test]
    fn a_truncated_png_is_refused() {
        let whole = file(&waves(), ImageFormat::Png);
        assert_eq!(decode(&whole).expect("whole"), waves().into_rgb8());
        // Only the end chunk follows the pixels; the decoder does not read it.
        for length in 0..whole.len() - 16 {
            assert!(decode(&whole[..length]).is_err(), "{length} of {} bytes", whole.len());
        }
    }

    #[test]
    fn the_decoded_size_is_known_before_decoding() {
        for format in [ImageFormat::Jpeg, ImageFormat::Png] {
            let whole = file(&waves(), format);
            assert_eq!(decoded_bytes(&whole), 3 * 40 * 24 + whole.len() as u64);
        }
        assert_eq!(decoded_bytes(b"no image"), 8);
    }

    #[test]
    fn transparent_pixels_become_white() {
        let clear = RgbaImage::from_pixel(3, 3, Rgba([10, 20, 30, 0]));
        let decoded = decode(&file(&clear.into(), ImageFormat::Png)).expect("an image");
        assert!(decoded.pixels().all(|pixel| pixel.0 == [255, 255, 255]));
    }

    /// A kilobyte that claims gigabytes of pixels must not allocate them.
    #[test]
    fn huge_dimensions_are_refused() {
        let mut bomb = file(&waves(), ImageFormat::Png);
        bomb[16..24].copy_from_slice(&[0, 1, 0, 0, 0, 1, 0, 0]);
        assert!(decode(&bomb).is_err());
        let mut jpeg = file(&waves(), ImageFormat::Jpeg);
        let frame = jpeg.windows(2).position(|pair| pair == [0xFF, 0xC0]).expect("a frame");
        jpeg[frame + 5..frame + 9].copy_from_slice(&[0xFF, 0xFF, 0xFF, 0xFF]);
        let problem = decode(&jpeg).expect_err("65535 x 65535");
        assert!(problem.contains("8192") || problem.contains("imit"), "{problem}");
    }
}
