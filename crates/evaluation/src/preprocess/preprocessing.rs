//! The preprocessing of CLIP, BLIP and the scorers built on them: a square RGB image, normalised by mean and standard
//! deviation.

use super::pillow_image::PillowImage;
use super::pillow_resize::Window;
use super::torch_resize::{bicubic, bicubic_antialiased};
use candle_core::{Device, Tensor};
use diffusion::{Error, Result};
use rayon::prelude::*;
use std::borrow::Borrow;

/// Mean of each channel over CLIP's training images.
pub(crate) const CLIP_MEAN: [f32; 3] = [0.481_454_66, 0.457_827_5, 0.408_210_73];
/// Standard deviation of each channel over CLIP's training images.
pub(crate) const CLIP_DEVIATION: [f32; 3] = [0.268_629_54, 0.261_302_6, 0.275_777_1];

/// The preprocessing of a package.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Preprocessing {
    /// OpenAI's, by torchvision on Pillow images: resizes the shorter side (bicubic, in the mode of the image), crops
    /// the centre (half-pixel offsets round to even), then converts to RGB. Used by ImageReward and the aesthetic
    /// predictor.
    OpenAi,
    /// transformers' `CLIPImageProcessor` on Pillow images: converts to RGB, resizes the same way, crops the centre
    /// (half-pixel offsets round down). Used by PickScore.
    Transformers,
    /// HPSv2's: converts to RGB floats, resizes the longer side by torch's bicubic interpolation, pads with black to a
    /// square.
    Hps {
        /// Whether resizing antialiases: the default of torchvision since 0.17, but not for the published figures,
        /// which are older.
        antialias: bool,
    },
}

impl Preprocessing {
    /// Prepares images, normalised by CLIP's mean and standard deviation: (images, 3, side, side).
    ///
    /// # Errors
    /// Fails if an image is too narrow to be resized.
    pub(crate) fn batch<P: Borrow<PillowImage> + Sync>(
        self,
        images: &[P],
        side: usize,
        device: &Device,
    ) -> Result<Tensor> {
        self.normalised(images, side, (CLIP_MEAN, CLIP_DEVIATION), device)
    }

    /// As [`Self::batch`], with another mean and standard deviation.
    pub(crate) fn normalised<P: Borrow<PillowImage> + Sync>(
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
        image: &PillowImage,
        side: usize,
        (mean, deviation): ([f32; 3], [f32; 3]),
        to: &mut [f32],
    ) -> Result<()> {
        let channels = to.chunks_exact_mut((side * side).max(1)).enumerate();
        match self {
            Self::OpenAi | Self::Transformers => {
                let rgb = self.shorter_side(image, side);
                for (c, to) in channels {
                    // Computed once per sample value instead of once per pixel.
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

    /// A sample on the scale 0 to 1. transformers multiplies in f64, torch divides in f32.
    fn unit(self, v: u8) -> f32 {
        match self {
            Self::Transformers => (f64::from(v) * (1.0 / 255.0)) as f32,
            _ => f32::from(v) / 255.0,
        }
    }

    /// Resizes the shorter side to `side` and crops the centre: interleaved RGB, side x side.
    fn shorter_side(self, image: &PillowImage, side: usize) -> Vec<u8> {
        let (width, height) = image.size();
        let longer = |long: usize, short: usize| (side as u128 * long as u128 / short as u128) as usize;
        let to = if width <= height { (side, longer(height, width)) } else { (longer(width, height), side) };
        let offset = |size: usize| match self {
            Self::Transformers => (size - side) / 2,
            _ => ((size - side) as f64 / 2.0).round_ties_even() as usize,
        };
        let window = Window { x: offset(to.0), y: offset(to.1), width: side, height: side };
        if self == Self::Transformers && !image.is_rgb() {
            return image.to_rgb().resized_rgb(to, window);
        }
        image.resized_rgb(to, window)
    }
}

/// Resizes the longer side of one channel to `side` and centres it in a square of zeros.
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
            problem: format!("{} x {} pixels are too narrow to be scored: crop the image", from.0, from.1),
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
