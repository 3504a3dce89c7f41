//! Conversion between images and tensors.

use crate::weights::is_finite;
use crate::{Error, Result};
use candle_core::{DType, Device, Tensor};
use image::RgbImage;
use image::imageops::{self, FilterType};
use std::borrow::Cow;
use std::path::Path;

/// Resizes an image with a Lanczos-3 filter, as Pillow does. Values may differ from Pillow's by one level, because Pillow
/// rounds after each of its two passes.
pub(super) fn resized(image: &RgbImage, width: u32, height: u32) -> Cow<'_, RgbImage> {
    if image.dimensions() == (width, height) {
        Cow::Borrowed(image)
    } else {
        Cow::Owned(imageops::resize(image, width, height, FilterType::Lanczos3))
    }
}

/// Converts images of one size to a tensor (batch, 3, height, width) with values from -1 to 1.
pub(super) fn to_tensor<'a>(
    images: impl IntoIterator<Item = Cow<'a, RgbImage>>,
    device: &Device,
) -> Result<Tensor> {
    let (mut values, mut size, mut count) = (Vec::new(), None, 0);
    for image in images {
        let dimensions = image.dimensions();
        if *size.get_or_insert(dimensions) != dimensions {
            return Err(Error::setting("image", "all images of a batch must have one size"));
        }
        for channel in 0..3 {
            values.extend(image.pixels().map(|pixel| f32::from(pixel.0[channel]) / 127.5 - 1.0));
        }
        count += 1;
    }
    let (width, height) = size.unwrap_or_default();
    Ok(Tensor::from_vec(values, (count, 3, height as usize, width as usize), device)?)
}

/// Converts a tensor (batch, 3, height, width) with values from -1 to 1 to 8-bit images. Values outside are clamped.
///
/// # Errors
/// Fails if the tensor has another shape or values that are not finite.
pub fn to_images(images: &Tensor) -> Result<Vec<RgbImage>> {
    let (batch, _, height, width) = images.dims4()?;
    // The conversion to bytes would make black pixels of NaN.
    if !is_finite(images)? {
        return Err(Error::NotFinite { what: "decoded image" });
    }
    let bytes = ((images.to_dtype(DType::F32)?.clamp(-1.0, 1.0)? + 1.0)? * 127.5)?;
    let bytes = bytes.round()?.to_dtype(DType::U8)?.permute((0, 2, 3, 1))?.contiguous()?;
    (0..batch)
        .map(|i| {
            let raw = bytes.get(i)?.flatten_all()?.to_vec1::<u8>()?;
            RgbImage::from_raw(width as u32, height as u32, raw)
                .ok_or_else(|| Error::format(Path::new("image"), "must have three channels"))
        })
        .collect()
}
