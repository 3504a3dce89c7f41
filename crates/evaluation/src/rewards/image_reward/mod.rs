//! ImageReward v1.0 (`THUDM/ImageReward`): BLIP's image tower, a BERT text encoder with cross-attention to the image,
//! and a linear head on the state of the first token.

mod text;
mod vision;

use super::aesthetic::Head;
use super::distinct::distinct;
use crate::preprocess::{PillowImage, Preprocessing};
use crate::text::BertTokenizer;
use crate::weights::Weights;
use candle_core::{Device, Tensor};
use diffusion::Result;
use diffusion::weights::Parameters;
use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::path::Path;
use text::TextEncoder;
use vision::VisionTransformer;

/// Mean of the head's output over the training images (`ImageReward.py`).
const MEAN: f64 = 0.167_173_628_300_524_26;
/// Standard deviation of the same.
const DEVIATION: f64 = 1.033_339_496_605_407_2;
/// Tensors of the file that only BLIP's training uses.
const UNUSED: [&str; 2] = ["blip.vision_proj.", "blip.text_proj."];

#[derive(Debug)]
pub(super) struct ImageReward {
    vision: VisionTransformer,
    text: TextEncoder,
    head: Head,
    tokenizer: BertTokenizer,
    device: Device,
}

impl ImageReward {
    pub(super) fn open(weights: &Path, vocabulary: &Path, device: &Device) -> Result<Self> {
        let mut weights = Weights::read(weights)?;
        weights.tensors.retain(|name, _| !UNUSED.iter().any(|prefix| name.starts_with(prefix)));
        let origin = weights.file.display().to_string();
        let parameters = Parameters::of_tensors(weights.tensors.clone(), device).with_origin(origin);
        let root = parameters.root();
        let vision = VisionTransformer::new(&root.at("blip.visual_encoder"), &weights)?;
        let text = TextEncoder::new(&root.at("blip.text_encoder"), &weights)?;
        let head = Head::new(&root.at("mlp"), &weights, "mlp.")?;
        parameters.finish()?;
        Ok(Self { vision, text, head, tokenizer: BertTokenizer::open(vocabulary)?, device: device.clone() })
    }

    pub(super) fn scores<P: Borrow<PillowImage> + Sync>(
        &self,
        images: &[P],
        prompts: &[&str],
    ) -> Result<Vec<f32>> {
        let rewards = self.head.forward(&self.features(images, prompts)?)?;
        Ok((((rewards - MEAN)?) * (1.0 / DEVIATION))?.to_vec1()?)
    }

    /// The state of `[CLS]` after the last layer, (images, width).
    ///
    /// Prompts with the same number of tokens form a batch. The package instead pads to 35 tokens and masks the
    /// padding, with the same result.
    pub(super) fn features<P: Borrow<PillowImage> + Sync>(
        &self,
        images: &[P],
        prompts: &[&str],
    ) -> Result<Tensor> {
        let pixels = Preprocessing::OpenAi.batch(images, self.vision.image_size(), &self.device)?;
        let patches = self.vision.forward(&pixels)?;
        let (distinct, indices) = distinct(prompts);
        let ids: Vec<Vec<u32>> = distinct.iter().map(|p| self.tokenizer.encode(p)).collect::<Result<_>>()?;
        let mut by_length: BTreeMap<usize, Vec<u32>> = BTreeMap::new();
        for (image, &prompt) in indices.iter().enumerate() {
            by_length.entry(ids[prompt as usize].len()).or_default().push(image as u32);
        }
        let mut states = Vec::with_capacity(by_length.len());
        // The row of each image among the concatenated states.
        let mut rows = vec![0_u32; images.len()];
        let mut row = 0_u32;
        for group in by_length.into_values() {
            for &image in &group {
                rows[image as usize] = row;
                row += 1;
            }
            let ids: Vec<&[u32]> = group.iter().map(|&i| &ids[indices[i as usize] as usize][..]).collect();
            let group = Tensor::from_vec(group, ids.len(), &self.device)?;
            states.push(self.text.forward(&ids, &patches.index_select(&group, 0)?)?);
        }
        let rows = Tensor::from_vec(rows, images.len(), &self.device)?;
        Ok(Tensor::cat(&states, 0)?.index_select(&rows, 0)?)
    }
}
