//! Scores that are the cosine of an image and its prompt: HPSv2, PickScore, CLIP score.

use super::backbone::{Backbone, image_features, text_features};
use super::{RewardKind, distinct};
use crate::clip::Towers;
use crate::preprocess::{Image, Preprocessing};
use crate::text::{OpenClipTokenizer, SpecialNames};
use candle_core::{D, Device, Tensor};
use diffusion::tokenizer::Tokenizer;
use diffusion::{Error, Result};
use std::borrow::Borrow;
use std::path::Path;

/// A CLIP, its way with images and texts, and what its cosine is multiplied by.
#[derive(Debug)]
pub(super) struct ClipReward {
    towers: Towers,
    words: Words,
    preprocessing: Preprocessing,
    scale: f64,
    device: Device,
}

#[derive(Debug)]
enum Words {
    OpenClip(OpenClipTokenizer),
    /// transformers' fast tokenizer: NFC, single spaces, lower case; neither ftfy nor HTML.
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
        let words = match names {
            Some(names) => Words::OpenClip(OpenClipTokenizer::open(vocabulary, names)?),
            None if vocabulary.is_dir() => Words::Fast(Box::new(Tokenizer::load(vocabulary)?)),
            None => {
                let problem =
                    "PickScore's tokenizer needs a folder with vocab.json and merges.txt".to_owned();
                return Err(Error::Format { file: vocabulary.to_owned(), problem });
            }
        };
        Ok(Self {
            towers: backbone.open(weights, device)?,
            words,
            preprocessing,
            scale,
            device: device.clone(),
        })
    }

    /// Whether it antialiases, where it resizes images as torch does and there is a choice: Pillow always does.
    pub(super) fn antialias(&self) -> Option<bool> {
        match self.preprocessing {
            Preprocessing::Hps { antialias } => Some(antialias),
            _ => None,
        }
    }

    /// Resizes tensors with antialiasing from now on.
    pub(super) fn set_antialias(&mut self) {
        self.preprocessing = Preprocessing::Hps { antialias: true };
    }

    pub(super) fn logit_scale(&self) -> Result<f32> {
        Ok(self.towers.logit_scale().exp()?.to_scalar()?)
    }

    fn ids(&self, prompt: &str) -> Result<Vec<u32>> {
        match &self.words {
            Words::OpenClip(words) => Ok(words.encode(prompt)),
            Words::Fast(words) => {
                let mut ids = words.encode(prompt)?;
                // From the first end token on, which has the largest id, nothing is read.
                let largest = ids.iter().copied().max();
                let end = ids.iter().position(|&id| Some(id) == largest).unwrap_or(0);
                ids.truncate(end + 1);
                Ok(ids)
            }
        }
    }

    fn both<P: Borrow<Image> + Sync>(&self, images: &[P], prompts: &[&str]) -> Result<(Tensor, Tensor)> {
        let (different, which) = distinct(prompts);
        let ids = different.iter().map(|prompt| self.ids(prompt)).collect::<Result<_>>()?;
        let which = Tensor::from_vec(which, prompts.len(), &self.device)?;
        let texts = text_features(&self.towers, ids)?.index_select(&which, 0)?;
        Ok((image_features(&self.towers, self.preprocessing, images, &self.device)?, texts))
    }

    pub(super) fn scores<P: Borrow<Image> + Sync>(&self, images: &[P], prompts: &[&str]) -> Result<Vec<f32>> {
        let (images, texts) = self.both(images, prompts)?;
        Ok(((images * texts)?.sum(D::Minus1)? * self.scale)?.to_vec1()?)
    }

    pub(super) fn features<P: Borrow<Image> + Sync>(&self, images: &[P], prompts: &[&str]) -> Result<Tensor> {
        let (images, texts) = self.both(images, prompts)?;
        Ok(Tensor::cat(&[images, texts], 1)?)
    }
}
