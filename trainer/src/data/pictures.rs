//! Pictures as tensors.

use anyhow::{Result, ensure};
use candle_core::{Device, Tensor};
use image::RgbImage;
use image::imageops::{self, FilterType};
use shapes::{Picture, SIDE};

/// Pictures of the bundled world as (batch, 3, height, width) from -1 to 1.
///
/// # Errors
/// candle's.
pub fn to_tensor<'a>(
    pictures: impl ExactSizeIterator<Item = &'a Picture>,
    device: &Device,
) -> Result<Tensor> {
    pixels(pictures.map(Picture::pixels), [SIDE, SIDE], device)
}

/// Pictures of one size as (batch, 3, height, width) from -1 to 1.
///
/// # Errors
/// They differ in size, or candle's.
pub fn images_to_tensor(pictures: &[RgbImage], device: &Device) -> Result<Tensor> {
    let (width, height) = pictures.first().map_or((0, 0), RgbImage::dimensions);
    ensure!(pictures.iter().all(|p| p.dimensions() == (width, height)), "pictures of several sizes");
    pixels(pictures.iter().map(|p| p.as_raw().as_slice()), [height as usize, width as usize], device)
}

fn pixels<'a>(
    pictures: impl ExactSizeIterator<Item = &'a [u8]>,
    [height, width]: [usize; 2],
    device: &Device,
) -> Result<Tensor> {
    let (count, plane) = (pictures.len(), height * width);
    let mut values = vec![0f32; count * 3 * plane];
    for (picture, values) in pictures.zip(values.chunks_exact_mut(3 * plane)) {
        for (i, pixel) in picture.chunks_exact(3).enumerate() {
            for (channel, &level) in pixel.iter().enumerate() {
                values[channel * plane + i] = f32::from(level) / 127.5 - 1.0;
            }
        }
    }
    Ok(Tensor::from_vec(values, (count, 3, height, width), device)?)
}

/// The centre of a picture: resized until it just covers `width` x `height`, then cut. Bilinear over all pixels that fall
/// together, as torchvision's `Resize` does on pictures.
#[must_use]
pub fn cover(picture: &RgbImage, width: u32, height: u32) -> RgbImage {
    if picture.dimensions() == (width, height) {
        return picture.clone();
    }
    let [from_width, from_height] = [picture.width(), picture.height()].map(|side| f64::from(side.max(1)));
    let scale = (f64::from(width) / from_width).max(f64::from(height) / from_height);
    let side = |from: f64, least: u32| ((from * scale).round() as u32).max(least);
    let (wide, high) = (side(from_width, width), side(from_height, height));
    let resized = imageops::resize(picture, wide, high, FilterType::Triangle);
    imageops::crop_imm(&resized, (wide - width) / 2, (high - height) / 2, width, height).to_image()
}

#[cfg(test)]
mod tests {
    use super::cover;
    use image::{Rgb, RgbImage};

    #[test]
    fn the_centre_is_kept_and_nothing_is_stretched() {
        // A wide picture, red on the left and blue on the right, green in the middle square.
        let wide = RgbImage::from_fn(90, 30, |x, _| match x {
            0..30 => Rgb([255, 0, 0]),
            30..60 => Rgb([0, 255, 0]),
            _ => Rgb([0, 0, 255]),
        });
        let cut = cover(&wide, 10, 10);
        assert_eq!(cut.dimensions(), (10, 10));
        assert!((1..9).all(|x| cut.get_pixel(x, 5).0 == [0, 255, 0]));
        assert_eq!(cover(&wide, 90, 30), wide);
        assert_eq!(cover(&wide, 64, 128).dimensions(), (64, 128));
        assert_eq!(cover(&RgbImage::new(1, 4000), 64, 64).dimensions(), (64, 64));
    }
}
