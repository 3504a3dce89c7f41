//! ImageReward v1.0 (`THUDM/ImageReward`): BLIP's image tower, a BERT that looks at the image, and an affine head on
//! the state of the first token.

mod text;
mod vision;

use super::aesthetic::Head;
use super::distinct;
use super::weights::Weights;
use crate::preprocess::{Image, Preprocessing};
use crate::text::BertTokenizer;
use candle_core::{Device, Tensor};
use diffusion::Result;
use diffusion::weights::Parameters;
use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::path::Path;
use text::TextEncoder;
use vision::VisionTransformer;

/// Mean and deviation of the head's values over the training images (`ImageReward.py`).
const MEAN: f64 = 0.167_173_628_300_524_26;
const DEVIATION: f64 = 1.033_339_496_605_407_2;
/// Of BLIP's training, in the file but not in the score.
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

    pub(super) fn scores<P: Borrow<Image> + Sync>(&self, images: &[P], prompts: &[&str]) -> Result<Vec<f32>> {
        let rewards = self.head.forward(&self.features(images, prompts)?)?;
        Ok((((rewards - MEAN)?) * (1.0 / DEVIATION))?.to_vec1()?)
    }

    /// The state of `[CLS]` after the last layer, (images, width).
    ///
    /// Texts of one length go together: the package fills up to 35 tokens and masks what it filled, which comes to the
    /// same.
    pub(super) fn features<P: Borrow<Image> + Sync>(&self, images: &[P], prompts: &[&str]) -> Result<Tensor> {
        let pixels = Preprocessing::OpenAi.batch(images, self.vision.image_size(), &self.device)?;
        let seen = self.vision.forward(&pixels)?;
        let (different, which) = distinct(prompts);
        let ids: Vec<Vec<u32>> = different.iter().map(|p| self.tokenizer.encode(p)).collect::<Result<_>>()?;
        let mut lengths: BTreeMap<usize, Vec<u32>> = BTreeMap::new();
        for (i, &prompt) in which.iter().enumerate() {
            lengths.entry(ids[prompt as usize].len()).or_default().push(i as u32);
        }
        let mut states = Vec::with_capacity(lengths.len());
        let mut places = vec![0_u32; images.len()];
        let mut place = 0_u32;
        for group in lengths.into_values() {
            for &i in &group {
                places[i as usize] = place;
                place += 1;
            }
            let ids: Vec<&[u32]> = group.iter().map(|&i| &ids[which[i as usize] as usize][..]).collect();
            let group = Tensor::from_vec(group, ids.len(), &self.device)?;
            states.push(self.text.forward(&ids, &seen.index_select(&group, 0)?)?);
        }
        let places = Tensor::from_vec(places, images.len(), &self.device)?;
        Ok(Tensor::cat(&states, 0)?.index_select(&places, 0)?)
    }
}
