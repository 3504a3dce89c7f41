//! LAION's improved aesthetic predictor: five linear layers on the normalised image features of OpenAI's ViT-L/14.
//! There are no activations between the layers, so the score is an affine function of the features.

use super::backbone::{Backbone, image_features};
use crate::clip::Towers;
use crate::preprocess::{PillowImage, Preprocessing};
use crate::weights::Weights;
use candle_core::{Device, Tensor};
use diffusion::Result;
use diffusion::nn::Linear;
use diffusion::weights::{Parameters, Scope};
use std::borrow::Borrow;
use std::path::Path;

/// Indices of the linear layers in the published network; dropouts have the others.
const LAYERS: [usize; 5] = [0, 2, 4, 6, 7];

/// Linear layers that end in one number. The head of ImageReward has the same structure.
#[derive(Debug)]
pub(super) struct Head {
    layers: Vec<Linear>,
}

impl Head {
    /// Reads `layers.{0,2,4,6,7}` below `scope`, whose full name is `prefix`, with the sizes of the file.
    pub(super) fn new(scope: &Scope<'_>, weights: &Weights, prefix: &str) -> Result<Self> {
        let layer = |i: usize| {
            let [outputs, inputs] = weights.shape(&format!("{prefix}layers.{i}.weight"))?;
            Linear::new(&scope.at(format!("layers.{i}")), inputs, outputs)
        };
        Ok(Self { layers: LAYERS.into_iter().map(layer).collect::<Result<_>>()? })
    }

    /// (batch, width) to (batch).
    pub(super) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let x = self.layers.iter().try_fold(x.clone(), |x, layer| layer.forward(&x))?;
        Ok(x.squeeze(1)?)
    }
}

/// The predictor with its CLIP.
#[derive(Debug)]
pub(super) struct Aesthetic {
    towers: Towers,
    head: Head,
    device: Device,
}

impl Aesthetic {
    pub(super) fn open(head: &Path, backbone: &Path, device: &Device) -> Result<Self> {
        let weights = Weights::read(head)?;
        let origin = weights.file.display().to_string();
        let parameters = Parameters::of_tensors(weights.tensors.clone(), device).with_origin(origin);
        let head = Head::new(&parameters.root(), &weights, "")?;
        parameters.finish()?;
        Ok(Self { towers: Backbone::VitL14.open(backbone, device)?, head, device: device.clone() })
    }

    pub(super) fn scores<P: Borrow<PillowImage> + Sync>(&self, images: &[P]) -> Result<Vec<f32>> {
        Ok(self.head.forward(&self.features(images)?)?.to_vec1()?)
    }

    pub(super) fn features<P: Borrow<PillowImage> + Sync>(&self, images: &[P]) -> Result<Tensor> {
        image_features(&self.towers, Preprocessing::OpenAi, images, &self.device)
    }
}
