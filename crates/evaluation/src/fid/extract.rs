//! Images to features, some at a time.

use super::{Features, FidError, Mode};
use crate::clip::Clip;
use crate::inception::{FEATURES, Inception, SIDE};
use candle_core::Tensor;
use image::RgbImage;
use rayon::prelude::*;
use std::ops::ControlFlow;

/// What gives features.
#[derive(Debug)]
pub enum Extractor {
    /// Inception, which makes the distance FID.
    Inception(Box<Inception>, Mode),
    /// A CLIP: the distance is a Frechet distance, but not FID.
    Clip(Box<Clip>),
}

impl Extractor {
    /// (images, width).
    ///
    /// # Errors
    /// The network's.
    pub fn features(&self, images: &[RgbImage]) -> Result<Tensor, FidError> {
        match self {
            Self::Inception(inception, mode) => {
                let seen: Vec<Vec<f32>> = images.par_iter().map(|image| mode.pixels(image)).collect();
                let shape = (images.len(), 3, SIDE, SIDE);
                let pixels = Tensor::from_vec(seen.concat(), shape, inception.device())?;
                Ok(inception.features(&pixels)?)
            }
            Self::Clip(clip) => Ok(clip.image_features(images)?),
        }
    }

    /// What the distance of these features is called.
    #[must_use]
    pub fn metric(&self) -> &'static str {
        match self {
            Self::Inception(..) => "FID",
            Self::Clip(_) => "Frechet distance on CLIP features (not FID)",
        }
    }
}

/// Features of `count` images, which `image` opens (in parallel, a batch at a time). `progress` hears how many are done and
/// can stop: then the result is `None`.
///
/// # Errors
/// An image that cannot be opened, or the network's.
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
