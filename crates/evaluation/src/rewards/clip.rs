//! Scores that are the cosine similarity of an image and its prompt: HPSv2, PickScore, CLIP score.

use super::backbone::{Backbone, image_features, text_features};
use super::distinct::distinct;
use super::kind::RewardKind;
use crate::clip::Towers;
use crate::preprocess::{PillowImage, Preprocessing};
use crate::text::{OpenClipTokenizer, SpecialNames};
use candle_core::{D, Device, Tensor};
use diffusion::tokenizer::Tokenizer;
use diffusion::{Error, Result};
use std::borrow::Borrow;
use std::path::Path;

/// A CLIP model with its preparation of images and prompts.
#[derive(Debug)]
pub(super) struct ClipReward {
    towers: Towers,
    tokenizer: PromptTokenizer,
    preprocessing: Preprocessing,
    /// Factor of the cosine.
    scale: f64,
    device: Device,
}

#[derive(Debug)]
enum PromptTokenizer {
    OpenClip(OpenClipTokenizer),
    /// transformers' fast tokenizer, which normalises with NFC, single spaces and lower case, without ftfy and without
    /// unescaping HTML.
    Fast(Box<Tokenizer>),
}

impl ClipReward {
    pub(super) fn open(kind: RewardKind, weights: &Path, vocabulary: &Path, device: &Device) -> Result<Self> {
        let hps = Preprocessing::Hps { antialias: false };
        let (backbone, names, preprocessing, scale) = match kind {
            RewardKind::HpsV20 | RewardKind::HpsV21 => {
                (Backbone::VitH14, Some(SpecialNames::OpenClip), hps, 100.0)
            }
            RewardKind::ClipScoreH14 => (Backbone::VitH14, Some(SpecialNames::OpenClip), hps, 1.0),
            RewardKind::ClipScoreL14 => {
                (Backbone::VitL14, Some(SpecialNames::OpenAi), Preprocessing::OpenAi, 1.0)
            }
            _ => (Backbone::VitH14, None, Preprocessing::Transformers, 100.0),
        };
        let tokenizer = match names {
            Some(names) => PromptTokenizer::OpenClip(OpenClipTokenizer::open(vocabulary, names)?),
            None if vocabulary.is_dir() => PromptTokenizer::Fast(Box::new(Tokenizer::load(vocabulary)?)),
            None => {
                let problem =
                    "is a file, but PickScore needs a folder with vocab.json and merges.txt".to_owned();
                return Err(Error::Format { file: vocabulary.to_owned(), problem });
            }
        };
        Ok(Self {
            towers: backbone.open(weights, device)?,
            tokenizer,
            preprocessing,
            scale,
            device: device.clone(),
        })
    }

    /// Whether resizing antialiases; `None` for resizing with Pillow, which always does.
    pub(super) fn antialias(&self) -> Option<bool> {
        match self.preprocessing {
            Preprocessing::Hps { antialias } => Some(antialias),
            _ => None,
        }
    }

    pub(super) fn set_antialias(&mut self) {
        self.preprocessing = Preprocessing::Hps { antialias: true };
    }

    /// Ids up to the end token.
    fn ids(&self, prompt: &str) -> Result<Vec<u32>> {
        match &self.tokenizer {
            PromptTokenizer::OpenClip(tokenizer) => tokenizer.encode(prompt),
            PromptTokenizer::Fast(tokenizer) => {
                let mut ids = tokenizer.encode(prompt)?;
                // The end token, which is also the padding, has the largest id.
                let largest = ids.iter().copied().max();
                let end = ids.iter().position(|&id| Some(id) == largest).unwrap_or(0);
                ids.truncate(end + 1);
                Ok(ids)
            }
        }
    }

    /// Normalised features of images and of their prompts, (images, width) each.
    fn both<P: Borrow<PillowImage> + Sync>(
        &self,
        images: &[P],
        prompts: &[&str],
    ) -> Result<(Tensor, Tensor)> {
        let (distinct, indices) = distinct(prompts);
        let ids = distinct.iter().map(|prompt| self.ids(prompt)).collect::<Result<_>>()?;
        let indices = Tensor::from_vec(indices, prompts.len(), &self.device)?;
        let texts = text_features(&self.towers, ids)?.index_select(&indices, 0)?;
        Ok((image_features(&self.towers, self.preprocessing, images, &self.device)?, texts))
    }

    pub(super) fn scores<P: Borrow<PillowImage> + Sync>(
        &self,
        images: &[P],
        prompts: &[&str],
    ) -> Result<Vec<f32>> {
        let (images, texts) = self.both(images, prompts)?;
        Ok(((images * texts)?.sum(D::Minus1)? * self.scale)?.to_vec1()?)
    }

    #[cfg(test)]
    pub(super) fn features<P: Borrow<PillowImage> + Sync>(
        &self,
        images: &[P],
        prompts: &[&str],
    ) -> Result<Tensor> {
        let (images, texts) = self.both(images, prompts)?;
        Ok(Tensor::cat(&[images, texts], 1)?)
    }
}
