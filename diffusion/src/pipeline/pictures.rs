//! Pictures that a pipeline is given.

use crate::{Error, Result};
use candle_core::{Device, Tensor};
use image::RgbImage;
use image::imageops::{self, FilterType};
use std::borrow::Cow;

/// The picture in another size, by Lanczos with three lobes as Pillow has it (a level off here and there: Pillow rounds
/// after each of its two passes).
pub(super) fn resized(picture: &RgbImage, width: u32, height: u32) -> Cow<'_, RgbImage> {
    if picture.dimensions() == (width, height) {
        Cow::Borrowed(picture)
    } else {
        Cow::Owned(imageops::resize(picture, width, height, FilterType::Lanczos3))
    }
}

/// Pictures of one size as (batch, 3, height, width) from -1 to 1.
pub(super) fn to_tensor<'a>(
    pictures: impl IntoIterator<Item = Cow<'a, RgbImage>>,
    device: &Device,
) -> Result<Tensor> {
    let (mut values, mut size, mut count) = (Vec::new(), None, 0);
    for picture in pictures {
        let dimensions = picture.dimensions();
        if *size.get_or_insert(dimensions) != dimensions {
            return Err(Error::setting("picture", "pictures of a batch need one size"));
        }
        for channel in 0..3 {
            values.extend(picture.pixels().map(|pixel| f32::from(pixel.0[channel]) / 127.5 - 1.0));
        }
        count += 1;
    }
    let (width, height) = size.unwrap_or_default();
    Ok(Tensor::from_vec(values, (count, 3, height as usize, width as usize), device)?)
}
