//! Images as tensors.

use anyhow::{Result, ensure};
use candle_core::{Device, Tensor};
use image::RgbImage;
use shapes::{Image, SIDE};

/// Images of the bundled world as a tensor of shape (batch, 3, height, width) with values from -1 to 1.
///
/// # Errors
/// Fails if the device is out of memory.
pub fn to_tensor<'a>(images: impl ExactSizeIterator<Item = &'a Image>, device: &Device) -> Result<Tensor> {
    pixels(images.map(Image::pixels), [SIDE, SIDE], device)
}

/// Images of one size as a tensor of shape (batch, 3, height, width) with values from -1 to 1.
///
/// # Errors
/// Fails if the images differ in size, or if the device is out of memory.
pub fn images_to_tensor(images: &[RgbImage], device: &Device) -> Result<Tensor> {
    let (width, height) = images.first().map_or((0, 0), RgbImage::dimensions);
    ensure!(images.iter().all(|i| i.dimensions() == (width, height)), "the images of a batch differ in size");
    pixels(images.iter().map(|i| i.as_raw().as_slice()), [height as usize, width as usize], device)
}

/// RGB bytes, row by row, as planes from -1 to 1.
fn pixels<'a>(
    images: impl ExactSizeIterator<Item = &'a [u8]>,
    [height, width]: [usize; 2],
    device: &Device,
) -> Result<Tensor> {
    let (count, plane) = (images.len(), height * width);
    let mut values = vec![0f32; count * 3 * plane];
    for (image, values) in images.zip(values.chunks_exact_mut(3 * plane)) {
        for (i, pixel) in image.chunks_exact(3).enumerate() {
            for (channel, &level) in pixel.iter().enumerate() {
                values[channel * plane + i] = f32::from(level) / 127.5 - 1.0;
            }
        }
    }
    Ok(Tensor::from_vec(values, (count, 3, height, width), device)?)
}
