//! The three ways in which the scorers that stand on CLIP and BLIP prepare an image. All end in RGB of one side,
//! normalised with CLIP's mean and deviation.

use super::filter::Filter;
use super::image::Image;
use super::pillow::Window;
use super::torch::{bicubic, bicubic_antialiased};
use candle_core::{Device, Tensor};
use diffusion::{Error, Result};
use rayon::prelude::*;
use std::borrow::Borrow;

/// Mean of each channel in CLIP's training data.
pub const CLIP_MEAN: [f32; 3] = [0.481_454_66, 0.457_827_5, 0.408_210_73];
/// Deviation of each channel.
pub const CLIP_DEVIATION: [f32; 3] = [0.268_629_54, 0.261_302_6, 0.275_777_1];

/// A scorer's way to prepare images.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Preprocessing {
    /// OpenAI's, with torchvision on Pillow images: the shorter side resized (bicubic, in the image's own mode),
    /// the centre cut out (an odd rest halved and rounded to even), then RGB. ImageReward and the aesthetic predictor.
    OpenAi,
    /// transformers' `CLIPImageProcessor` on Pillow: RGB first, then the same resizing, the centre cut out with the odd
    /// rest rounded down. PickScore.
    Transformers,
    /// HPSv2's: RGB as floats, the longer side resized by torch's bicubic, black around it up to the square.
    Hps {
        /// What torchvision does by itself since 0.17. The published figures come from before.
        antialias: bool,
    },
}

impl Preprocessing {
    /// Prepares images: (images, 3, side, side).
    ///
    /// # Errors
    /// An image that is too narrow, or candle's.
    pub fn batch<P: Borrow<Image> + Sync>(
        self,
        images: &[P],
        side: usize,
        device: &Device,
    ) -> Result<Tensor> {
        self.normalised(images, side, (CLIP_MEAN, CLIP_DEVIATION), device)
    }

    /// The same with another mean and deviation.
    ///
    /// # Errors
    /// As [`Self::batch`].
    pub fn normalised<P: Borrow<Image> + Sync>(
        self,
        images: &[P],
        side: usize,
        normalisation: ([f32; 3], [f32; 3]),
        device: &Device,
    ) -> Result<Tensor> {
        let mut values = vec![0.0; images.len() * 3 * side * side];
        values
            .par_chunks_mut((3 * side * side).max(1))
            .zip(images)
            .try_for_each(|(to, image)| self.prepare(image.borrow(), side, normalisation, to))?;
        Ok(Tensor::from_vec(values, (images.len(), 3, side, side), device)?)
    }

    fn prepare(
        self,
        image: &Image,
        side: usize,
        (mean, deviation): ([f32; 3], [f32; 3]),
        to: &mut [f32],
    ) -> Result<()> {
        let channels = to.chunks_exact_mut((side * side).max(1)).enumerate();
        match self {
            Self::OpenAi | Self::Transformers => {
                let rgb = self.shorter_side(image, side);
                for (c, to) in channels {
                    // One division for each of 256 values, not for each pixel.
                    let table: Vec<f32> =
                        (0..=255u8).map(|v| (self.unit(v) - mean[c]) / deviation[c]).collect();
                    let samples = rgb.iter().skip(c).step_by(3);
                    to.iter_mut().zip(samples).for_each(|(to, &v)| *to = table[usize::from(v)]);
                }
            }
            Self::Hps { antialias } => {
                let rgb = image.rgb();
                for (c, to) in channels {
                    let values: Vec<f32> =
                        rgb.iter().skip(c).step_by(3).map(|&v| f32::from(v) / 255.0).collect();
                    longer_side(&values, image.size(), side, antialias, to)?;
                    to.iter_mut().for_each(|v| *v = (*v - mean[c]) / deviation[c]);
                }
            }
        }
        Ok(())
    }

    /// A sample between 0 and 1. transformers multiplies in f64, torch divides in f32.
    fn unit(self, v: u8) -> f32 {
        match self {
            Self::Transformers => (f64::from(v) * (1.0 / 255.0)) as f32,
            _ => f32::from(v) / 255.0,
        }
    }

    /// RGB of side x side.
    fn shorter_side(self, image: &Image, side: usize) -> Vec<u8> {
        let (width, height) = image.size();
        let longer = |long: usize, short: usize| (side as u128 * long as u128 / short as u128) as usize;
        let to = if width <= height { (side, longer(height, width)) } else { (longer(width, height), side) };
        let offset = |size: usize| match self {
            Self::Transformers => (size - side) / 2,
            _ => ((size - side) as f64 / 2.0).round_ties_even() as usize,
        };
        let window = Window { x: offset(to.0), y: offset(to.1), width: side, height: side };
        if self == Self::Transformers && !image.is_rgb() {
            return image.to_rgb().resized_rgb(to, window, Filter::Bicubic);
        }
        image.resized_rgb(to, window, Filter::Bicubic)
    }
}

/// One channel, resized so that the longer side is `side`, in the middle of zeros.
fn longer_side(
    values: &[f32],
    from: (usize, usize),
    side: usize,
    antialias: bool,
    to: &mut [f32],
) -> Result<()> {
    let scale = side as f64 / from.0.max(from.1) as f64;
    if scale == 1.0 && from.0 == from.1 {
        to.copy_from_slice(values);
        return Ok(());
    }
    let size = |n: usize| (n as f64 * scale).round_ties_even() as usize;
    let fit = (size(from.0), size(from.1));
    if fit.0 == 0 || fit.1 == 0 {
        return Err(Error::Setting {
            field: "image",
            problem: format!("{} x {} pixels are too narrow to be scored: crop it", from.0, from.1),
        });
    }
    let resized = match antialias {
        _ if scale == 1.0 => values.to_vec(),
        true => bicubic_antialiased(values, from, fit),
        false => bicubic(values, from, fit),
    };
    let (left, top) = ((side - fit.0) / 2, (side - fit.1) / 2);
    to.fill(0.0);
    for (y, row) in resized.chunks_exact(fit.0).enumerate() {
        to[(top + y) * side + left..][..fit.0].copy_from_slice(row);
    }
    Ok(())
}
