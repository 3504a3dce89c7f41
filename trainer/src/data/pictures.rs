//! Pictures as tensors.

use anyhow::Result;
use candle_core::{Device, Tensor};
use shapes::{Picture, SIDE};

/// Pictures of the bundled world as (batch, 3, height, width) from -1 to 1.
///
/// # Errors
/// candle's.
pub fn to_tensor<'a>(
    pictures: impl ExactSizeIterator<Item = &'a Picture>,
    device: &Device,
) -> Result<Tensor> {
    let count = pictures.len();
    let mut values = vec![0f32; count * 3 * SIDE * SIDE];
    for (picture, values) in pictures.zip(values.chunks_exact_mut(3 * SIDE * SIDE)) {
        for (i, pixel) in picture.pixels().chunks_exact(3).enumerate() {
            for (channel, &level) in pixel.iter().enumerate() {
                values[channel * SIDE * SIDE + i] = f32::from(level) / 127.5 - 1.0;
            }
        }
    }
    Ok(Tensor::from_vec(values, (count, 3, SIDE, SIDE), device)?)
}
