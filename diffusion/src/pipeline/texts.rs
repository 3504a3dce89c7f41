//! Texts as the states that a UNet attends to.

use super::Folders;
use crate::clip::TextTower;
use crate::tokenizer::Tokenizer;
use crate::{Error, Result};
use candle_core::{Device, Tensor};

/// A text tower and its tokenizer.
#[derive(Debug)]
pub(super) struct Texts {
    tower: TextTower,
    tokenizer: Tokenizer,
}

impl Texts {
    pub(super) fn open(folders: &Folders, device: &Device) -> Result<Self> {
        let (tower, _) = TextTower::load(&folders.part("text_encoder")?, device)?;
        let folder = folders.part("tokenizer")?;
        let tokenizer = Tokenizer::load(&folder)?;
        if tokenizer.length() > tower.config().max_position_embeddings {
            let problem = format!(
                "model_max_length {} exceeds the text tower's {} positions",
                tokenizer.length(),
                tower.config().max_position_embeddings
            );
            return Err(Error::format(&folder, problem));
        }
        Ok(Self { tower, tokenizer })
    }

    /// (texts, tokens, width).
    pub(super) fn states(&self, texts: &[&str]) -> Result<Tensor> {
        let ids = texts.iter().map(|text| self.tokenizer.encode(text)).collect::<Result<Vec<_>>>()?;
        self.tower.forward(&ids)
    }
}
