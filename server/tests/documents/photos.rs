//! Photo-like images from a seed: several sizes, aspect ratios and formats.

use image::{DynamicImage, Rgb, RgbImage};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::fs;
use std::path::Path;

/// Widths and heights, as of cameras, phones and scans, at a small scale.
const SIZES: [(u32, u32); 6] = [(150, 100), (100, 150), (160, 90), (96, 96), (133, 77), (64, 171)];

/// Writes an image; the ending of the path decides the format. Some JPEGs are grey; PNGs are RGB, RGB with 16 bits per
/// channel, grey, or have transparency.
pub(crate) fn write(file: &Path, seed: u64) {
    fs::create_dir_all(file.parent().expect("a folder")).expect("a folder");
    let photo = DynamicImage::ImageRgb8(photo(seed));
    let is_png = file.extension().is_some_and(|extension| extension == "png");
    let image = match (is_png, seed % 4) {
        (true, 0) => transparent(photo),
        (true, 1) => DynamicImage::ImageRgb16(photo.into_rgb16()),
        (true, 2) => DynamicImage::ImageLuma16(photo.into_luma16()),
        (false, 3) => DynamicImage::ImageLuma8(photo.into_luma8()),
        _ => photo,
    };
    image.save(file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
}

/// A sky and a ground with smooth shading, a few soft blobs, and grain.
fn photo(seed: u64) -> RgbImage {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let (width, height) = SIZES[rng.random_range(0..SIZES.len())];
    let mut colour = || -> [f32; 3] { std::array::from_fn(|_| rng.random_range(20.0..235.0)) };
    let (sky, ground) = (colour(), colour());
    let colours: Vec<[f32; 3]> = (0..4).map(|_| colour()).collect();
    let blobs: Vec<_> = colours
        .into_iter()
        .map(|colour| {
            let (x, y) = (rng.random_range(0.0..1.0f32), rng.random_range(0.2..1.0f32));
            (x, y, rng.random_range(0.05..0.25f32), colour)
        })
        .collect();
    let horizon = rng.random_range(0.3..0.7f32);
    RgbImage::from_fn(width, height, |column, row| {
        let (x, y) = (column as f32 / width as f32, row as f32 / height as f32);
        let share = 1.0 / (1.0 + (-12.0 * (y - horizon)).exp());
        let mut pixel: [f32; 3] = std::array::from_fn(|i| sky[i] * (1.0 - share) + ground[i] * share);
        for (at_x, at_y, radius, colour) in &blobs {
            let weight = (-((x - at_x).powi(2) + (y - at_y).powi(2)) / (radius * radius)).exp();
            for i in 0..3 {
                pixel[i] = pixel[i] * (1.0 - weight) + colour[i] * weight;
            }
        }
        Rgb(pixel.map(|value| (value + rng.random_range(-6.0..6.0f32)).clamp(0.0, 255.0) as u8))
    })
}

/// Transparent towards the right.
fn transparent(photo: DynamicImage) -> DynamicImage {
    let mut image = photo.into_rgba8();
    let width = image.width();
    for (column, _, pixel) in image.enumerate_pixels_mut() {
        pixel.0[3] = 255 - (column * 200 / width) as u8;
    }
    DynamicImage::ImageRgba8(image)
}
