//! Images that a pipeline is given.

use crate::{Error, Result};
use candle_core::{Device, Tensor};
use image::RgbImage;
use image::imageops::{self, FilterType};
use std::borrow::Cow;

/// The image in another size, by Lanczos with three lobes as Pillow has it (a level off here and there: Pillow rounds
/// after each of its two passes).
pub(super) fn resized(image: &RgbImage, width: u32, height: u32) -> Cow<'_, RgbImage> {
    if image.dimensions() == (width, height) {
        Cow::Borrowed(image)
    } else {
        Cow::Owned(imageops::resize(image, width, height, FilterType::Lanczos3))
    }
}

/// Images of one size as (batch, 3, height, width) from -1 to 1.
pub(super) fn to_tensor<'a>(
    images: impl IntoIterator<Item = Cow<'a, RgbImage>>,
    device: &Device,
) -> Result<Tensor> {
    let (mut values, mut size, mut count) = (Vec::new(), None, 0);
    for image in images {
        let dimensions = image.dimensions();
        if *size.get_or_insert(dimensions) != dimensions {
            return Err(Error::setting("image", "images of a batch need one size"));
        }
        for channel in 0..3 {
            values.extend(image.pixels().map(|pixel| f32::from(pixel.0[channel]) / 127.5 - 1.0));
        }
        count += 1;
    }
    let (width, height) = size.unwrap_or_default();
    Ok(Tensor::from_vec(values, (count, 3, height as usize, width as usize), device)?)
}
