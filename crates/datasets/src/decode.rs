//! Decoding of image files from untrusted sources, with bounds on dimensions and memory.

use crate::pair::PreferencePair;
use domain::dataset::{Dropped, Reason};
use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageError, ImageFormat, ImageReader, Limits, RgbImage};
use std::io::Cursor;

/// Longest accepted side in pixels.
const LONGEST_SIDE: u32 = 8192;
/// Most memory that decoding one image may take, in bytes.
const MEMORY: u64 = 256 << 20;

/// The formats that are decoded. Each is read within [`LONGEST_SIDE`] and [`MEMORY`].
const FORMATS: [ImageFormat; 7] = [
    ImageFormat::Jpeg,
    ImageFormat::Png,
    ImageFormat::WebP,
    ImageFormat::Gif,
    ImageFormat::Bmp,
    ImageFormat::Tiff,
    ImageFormat::Pnm,
];

/// Decodes an image file to RGB, turned upright by its EXIF orientation and blended over white where it is transparent.
/// Its content tells the format: JPEG, PNG, WebP, GIF, BMP, TIFF or PNM. Of an animation the first image counts.
///
/// # Errors
/// Says what is wrong with the file: another format, damaged or incomplete data, or an image beyond the bounds.
pub fn decode(bytes: &[u8]) -> Result<RgbImage, String> {
    let format = checked_format(bytes)?;
    // The decoder fills missing parts of a JPEG with grey and reports no error.
    if format == ImageFormat::Jpeg && !is_whole_jpeg(bytes) {
        return Err("is an incomplete JPEG file: its end marker is missing".to_owned());
    }
    let damaged = |error: ImageError| damaged(format, &error);
    let mut limits = Limits::default();
    limits.max_image_width = Some(LONGEST_SIDE);
    limits.max_image_height = Some(LONGEST_SIDE);
    limits.max_alloc = Some(MEMORY);
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    reader.limits(limits);
    let mut decoder = reader.into_decoder().map_err(damaged)?;
    if decoder.total_bytes() > MEMORY {
        return Err(format!(
            "takes {} bytes to decode, and at most {MEMORY} are allowed: scale it down",
            decoder.total_bytes()
        ));
    }
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    let mut image = DynamicImage::from_decoder(decoder).map_err(damaged)?;
    image.apply_orientation(orientation);
    Ok(if image.color().has_alpha() { over_white(&image) } else { image.into_rgb8() })
}

/// The media type of an image file within the bounds of [`decode`], if browsers show its format.
///
/// # Errors
/// Says what is wrong with the file: another format, a damaged header, or an image beyond the bounds.
pub fn media_type(bytes: &[u8]) -> Result<Option<&'static str>, String> {
    let shown = [ImageFormat::Jpeg, ImageFormat::Png, ImageFormat::WebP, ImageFormat::Gif, ImageFormat::Bmp];
    let format = checked_format(bytes)?;
    Ok(shown.contains(&format).then(|| format.to_mime_type()))
}

/// The format that the content of a file tells. Reads the header alone, so that an image beyond the bounds is refused before
/// anything of its size is allocated.
fn checked_format(bytes: &[u8]) -> Result<ImageFormat, String> {
    let format = image::guess_format(bytes).ok().filter(|format| FORMATS.contains(format));
    let Some(format) = format else {
        return Err(format!("is {}", foreign(bytes).unwrap_or("not an image file")));
    };
    let reader = ImageReader::with_format(Cursor::new(bytes), format);
    let (width, height) = reader.into_dimensions().map_err(|error| damaged(format, &error))?;
    if width == 0 || height == 0 || width > LONGEST_SIDE || height > LONGEST_SIDE {
        return Err(format!(
            "has {width} x {height} pixels, and a side may have 1 to {LONGEST_SIDE}: scale it down"
        ));
    }
    Ok(format)
}

fn damaged(format: ImageFormat, error: &ImageError) -> String {
    format!("is a damaged {} file: {error}", name_of(format))
}

fn name_of(format: ImageFormat) -> &'static str {
    match format {
        ImageFormat::Jpeg => "JPEG",
        ImageFormat::Png => "PNG",
        ImageFormat::WebP => "WebP",
        ImageFormat::Gif => "GIF",
        ImageFormat::Bmp => "BMP",
        ImageFormat::Tiff => "TIFF",
        _ => "PNM",
    }
}

/// What a file is that is not decoded and is often found in place of an image, and what to do.
fn foreign(bytes: &[u8]) -> Option<&'static str> {
    let begins_with =
        |text: &str| bytes.get(..text.len()).is_some_and(|b| b.eq_ignore_ascii_case(text.as_bytes()));
    let brand = bytes.get(4..12).filter(|brand| brand.starts_with(b"ftyp")).and_then(|brand| brand.get(4..8));
    Some(match brand {
        Some(b"avif" | b"avis") => "an AVIF file, which is not read: convert it to PNG or WebP",
        Some(b"heic" | b"heix" | b"heif" | b"mif1" | b"msf1") => {
            "a HEIC file, which is not read: convert it to PNG or WebP"
        }
        Some(_) => "a video file",
        None if bytes.is_empty() => "empty",
        None if bytes.starts_with(&[0xFF, 0x0A]) || bytes.starts_with(b"\0\0\0\x0CJXL ") => {
            "a JPEG XL file, which is not read: convert it to PNG or WebP"
        }
        None if bytes.starts_with(b"8BPS") => "a Photoshop file, which is not read: export it as PNG",
        None if bytes.starts_with(b"%PDF") => "a PDF file, which is not read: convert it to PNG",
        None if begins_with("version https://git-lfs") => {
            "a pointer of Git LFS, not the image: run git lfs pull"
        }
        None if begins_with("<svg") || begins_with("<?xml") => {
            "an SVG or XML file, which is not read: convert it to PNG"
        }
        None if begins_with("<!doctype") || begins_with("<html") => {
            "a web page, not an image: download it again"
        }
        None => match image::guess_format(bytes) {
            Ok(_) => "an image of a format that is not read: convert it to PNG or WebP",
            Err(_) => return None,
        },
    })
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
    use super::{decode, decoded_bytes, media_type};
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
    fn huge_dimensions_are_refused_with_their_size() {
        let refused = |bytes: &[u8], size: &str| {
            let problem = decode(bytes).expect_err(size);
            assert!(problem.contains(size) && problem.contains("8192: scale it down"), "{problem}");
        };
        let mut bomb = file(&waves(), ImageFormat::Png);
        bomb[16..24].copy_from_slice(&[0, 0, 0x75, 0x30, 0, 0, 0x75, 0x30]);
        // The checksum of the header.
        let sum = crc(&bomb[12..29]);
        bomb[29..33].copy_from_slice(&sum.to_be_bytes());
        refused(&bomb, "30000 x 30000");
        let mut jpeg = file(&waves(), ImageFormat::Jpeg);
        let frame = jpeg.windows(2).position(|pair| pair == [0xFF, 0xC0]).expect("a frame");
        jpeg[frame + 5..frame + 9].copy_from_slice(&[0x75, 0x30, 0x75, 0x30]);
        refused(&jpeg, "30000 x 30000");
        let mut gif = file(&waves(), ImageFormat::Gif);
        gif[6..10].copy_from_slice(&[0x30, 0x75, 0x30, 0x75]);
        refused(&gif, "30000 x 30000");
        let mut bmp = file(&waves(), ImageFormat::Bmp);
        bmp[18..26].copy_from_slice(&[0x30, 0x75, 0, 0, 0x30, 0x75, 0, 0]);
        refused(&bmp, "30000 x 30000");
        refused(b"P6 30000 30000 255 ", "30000 x 30000");
    }

    fn crc(bytes: &[u8]) -> u32 {
        !bytes.iter().fold(u32::MAX, |sum, byte| {
            (0..8)
                .fold(sum ^ u32::from(*byte), |sum, _| (sum >> 1) ^ (0xEDB8_8320 & (sum & 1).wrapping_neg()))
        })
    }

    /// Formats that keep the pixels give them back; every beginning of a file is refused or whole, and none panics.
    #[test]
    fn every_format_is_decoded_and_its_beginnings_are_refused() {
        for format in super::FORMATS {
            let whole = file(&waves(), format);
            let decoded = decode(&whole).expect("an image");
            assert_eq!(decoded.dimensions(), (40, 24));
            // JPEG loses some, and GIF has 256 colours.
            if !matches!(format, ImageFormat::Jpeg | ImageFormat::Gif) {
                assert_eq!(decoded, waves().into_rgb8(), "{format:?}");
            }
            for length in 0..whole.len() {
                if let Ok(part) = decode(&whole[..length]) {
                    assert!(
                        part == decoded && length + 16 >= whole.len(),
                        "{format:?}: {length} of {}",
                        whole.len()
                    );
                }
            }
            let shown = media_type(&whole).expect("an image");
            assert_eq!(shown.is_some(), !matches!(format, ImageFormat::Tiff | ImageFormat::Pnm));
        }
    }

    #[test]
    fn what_is_found_in_place_of_an_image_is_named() {
        for (bytes, what) in [
            (&b"<!DOCTYPE html><html>404"[..], "a web page"),
            (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "git lfs pull"),
            (b"\0\0\0\x1Cftypavif\0\0\0\0", "AVIF"),
            (b"\0\0\0\x1Cftypheic\0\0\0\0", "HEIC"),
            (b"\xFF\x0A\0\0", "JPEG XL"),
            (b"<svg xmlns=", "SVG"),
            (b"", "empty"),
            (b"II*", "not an image file"),
        ] {
            let problem = decode(bytes).expect_err(what);
            assert!(problem.contains(what), "{problem}");
        }
    }
}
