//! Computes the features of images in batches.

use super::error::FidError;
use super::features::Features;
use super::mode::Mode;
use crate::clip::Clip;
use crate::inception::{FEATURES, Inception, SIDE};
use candle_core::Tensor;
use image::RgbImage;
use rayon::prelude::*;
use std::ops::ControlFlow;

/// A network that computes features.
#[derive(Debug)]
pub enum Extractor {
    /// Inception: the Frechet distance of its features is FID.
    Inception(Box<Inception>, Mode),
    /// CLIP: the Frechet distance of its features is not FID.
    Clip(Box<Clip>),
}

impl Extractor {
    /// Features of images, (images, width).
    ///
    /// # Errors
    /// Fails if the device runs out of memory.
    pub fn features(&self, images: &[RgbImage]) -> Result<Tensor, FidError> {
        match self {
            Self::Inception(inception, mode) => {
                let pixels: Vec<Vec<f32>> = images.par_iter().map(|image| mode.pixels(image)).collect();
                let shape = (images.len(), 3, SIDE, SIDE);
                let pixels = Tensor::from_vec(pixels.concat(), shape, inception.device())?;
                Ok(inception.features(&pixels)?)
            }
            Self::Clip(clip) => Ok(clip.image_features(images)?),
        }
    }

    /// The name of the Frechet distance of these features.
    #[must_use]
    pub fn metric(&self) -> &'static str {
        match self {
            Self::Inception(..) => "FID",
            Self::Clip(_) => "Frechet distance on CLIP features (not FID)",
        }
    }
}

/// Computes the features of `count` images, which `image` opens by index, one batch in parallel. `progress` receives
/// the number of finished images; if it breaks, the result is `None`.
///
/// # Errors
/// Fails if `image` or the network does.
pub fn extract(
    extractor: &Extractor,
    count: usize,
    batch: usize,
    image: impl Fn(usize) -> Result<RgbImage, FidError> + Sync,
    progress: &mut dyn FnMut(usize) -> ControlFlow<()>,
) -> Result<Option<Features>, FidError> {
    let mut values = Vec::new();
    let mut width = FEATURES;
    for begin in (0..count).step_by(batch.max(1)) {
        let end = (begin + batch.max(1)).min(count);
        let images: Vec<RgbImage> = (begin..end).into_par_iter().map(&image).collect::<Result<_, _>>()?;
        let features = extractor.features(&images)?;
        width = features.dim(1)?;
        values.extend(features.flatten_all()?.to_vec1::<f32>()?);
        if progress(end).is_break() {
            return Ok(None);
        }
    }
    Ok(Some(Features::new(width, values)))
}
