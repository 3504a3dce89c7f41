//! Encoding texts into UNet conditioning. SD 1.5 and 2.1 have one text encoder, SDXL has two; callers need not distinguish
//! them.

use crate::clip::TextTower;
use crate::conditioning::{EncodedText, TIME_IDS};
use crate::config::{self, UnetConfig};
use crate::layout::MODEL_INDEX;
use crate::nn::Linear;
use crate::part_folders::PartFolders;
use crate::tokenizer::{Cut, Tokenizer};
use crate::weights::{PartFiles, Stem};
use crate::{Error, Result};
use candle_core::{DType, Device, Tensor};
use serde::Deserialize;
use std::path::PathBuf;

/// A model's text encoders and their tokenizers.
#[derive(Debug)]
pub struct TextEncoders {
    encoders: Encoders,
    tokens: usize,
    missing_text: MissingText,
    device: Device,
    dtype: DType,
}

#[derive(Debug)]
enum Encoders {
    /// SD 1.5 and 2.1: uses the states after the final norm.
    One(Box<Encoder>),
    /// SDXL: uses the concatenated penultimate states of both, and the projected pooled state of the second.
    Two(Box<(Encoder, Encoder, Linear)>),
}

#[derive(Debug)]
struct Encoder {
    tokenizer: Tokenizer,
    tower: TextTower,
}

/// The encoding of a missing text, such as an absent negative prompt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum MissingText {
    /// That of the empty text.
    Empty,
    /// Zeros.
    Zeros,
}

/// The field of `model_index.json` that concerns text encoders.
#[derive(Debug, Default, Deserialize)]
struct ModelIndex {
    force_zeros_for_empty_prompt: Option<bool>,
}

/// The folders of the first text encoder and its tokenizer.
const FIRST: [&str; 2] = ["text_encoder", "tokenizer"];
/// The folders of the second text encoder and its tokenizer.
const SECOND: [&str; 2] = ["text_encoder_2", "tokenizer_2"];

impl TextEncoders {
    /// Loads `text_encoder` and `tokenizer`, and `text_encoder_2` and `tokenizer_2` if present.
    ///
    /// # Errors
    /// Fails if a part is missing or damaged, or the parts do not fit together.
    pub fn open(folders: &PartFolders, device: &Device) -> Result<Self> {
        Self::open_in(folders, device, DType::F32)
    }

    /// As [`TextEncoders::open`], computing in `dtype`.
    ///
    /// # Errors
    /// As [`TextEncoders::open`].
    pub fn open_in(folders: &PartFolders, device: &Device, dtype: DType) -> Result<Self> {
        let (tower, _) = TextTower::load_in(&folders.part(FIRST[0])?, device, dtype)?;
        let first = Encoder::new(folders, FIRST, tower)?;
        let tokens = first.tokenizer.length();
        let (encoders, missing_text) = if has_second(folders) {
            let folder = folders.part(SECOND[0])?;
            let (tower, projection) = TextTower::load_with_projection(&folder, device, dtype)?;
            let second = Encoder::new(folders, SECOND, tower)?;
            second.check_length(tokens, folders)?;
            // The default is diffusers' for models with two text encoders.
            let zeros = model_index(folders)?.force_zeros_for_empty_prompt.unwrap_or(true);
            let missing_text = if zeros { MissingText::Zeros } else { MissingText::Empty };
            (Encoders::Two(Box::new((first, second, projection))), missing_text)
        } else {
            (Encoders::One(Box::new(first)), MissingText::Empty)
        };
        Ok(Self { encoders, tokens, missing_text, device: device.clone(), dtype })
    }

    /// The files that determine the encoding of texts.
    ///
    /// # Errors
    /// Fails if a part is missing.
    pub fn files(folders: &PartFolders) -> Result<Vec<PathBuf>> {
        let mut parts = vec![FIRST];
        if has_second(folders) {
            parts.push(SECOND);
        }
        let mut files = Vec::new();
        for [encoder, tokenizer] in parts {
            let encoder = folders.part(encoder)?;
            files.push(encoder.join("config.json"));
            files.extend(PartFiles::locate(&encoder, Stem::TRANSFORMER)?.files().iter().cloned());
            files.extend(Tokenizer::files(&folders.part(tokenizer)?));
        }
        Ok(files)
    }

    /// Checks that the encoders fit a UNet with this config.
    ///
    /// # Errors
    /// Returns what does not fit, for example for a UNet of SDXL with text encoders of SD 1.5.
    pub fn check(&self, unet: &UnetConfig) -> Result<(), String> {
        let [width, pooled] = self.widths();
        let encoders = if pooled == 0 { "one text encoder" } else { "two text encoders" };
        if width != unet.cross_attention_dim {
            return Err(format!(
                "cross_attention_dim: is {}, but the model's {encoders} produce states of width {width}: the UNet \
                 belongs to another kind of model and needs that as its base",
                unet.cross_attention_dim
            ));
        }
        match unet.added_widths() {
            None if pooled == 0 => Ok(()),
            Some((each, all)) if pooled > 0 && TIME_IDS * each + pooled == all => Ok(()),
            None => Err(format!(
                "addition_embed_type: is null, but the model has {encoders}: the UNet needs a base with one"
            )),
            Some(_) if pooled == 0 => Err(format!(
                "addition_embed_type: text_time needs the pooled text of text_encoder_2, but the model has {encoders}"
            )),
            Some((each, all)) => Err(format!(
                "projection_class_embeddings_input_dim: is {all}, but {TIME_IDS} time ids of width {each} and pooled text \
                 of width {pooled} make {}",
                TIME_IDS * each + pooled
            )),
        }
    }

    /// Encodes texts.
    ///
    /// # Errors
    /// Fails if the tokenizer or a tensor operation does.
    pub fn encode(&self, texts: &[&str]) -> Result<EncodedText> {
        match &self.encoders {
            Encoders::One(encoder) => {
                Ok(EncodedText { states: encoder.tower.forward(&encoder.ids(texts)?)?, pooled: None })
            }
            Encoders::Two(both) => {
                let (first, second, projection) = &**both;
                let states = first.tower.penultimate(&first.ids(texts)?)?;
                let ids = second.ids(texts)?;
                let penultimate = second.tower.penultimate(&ids)?;
                let pooled = second.tower.pool(&second.tower.finish(&penultimate)?, &ids)?;
                Ok(EncodedText {
                    states: Tensor::cat(&[states, penultimate], 2)?,
                    pooled: Some(projection.forward(&pooled)?),
                })
            }
        }
    }

    /// Encodes texts of which some are missing. A missing text is encoded as the model's index says: as the empty text, or as
    /// zeros (`force_zeros_for_empty_prompt`).
    ///
    /// # Errors
    /// As [`TextEncoders::encode`].
    pub fn encode_optional(&self, texts: &[Option<&str>]) -> Result<EncodedText> {
        if self.missing_text == MissingText::Empty || texts.iter().all(Option::is_some) {
            let texts: Vec<&str> = texts.iter().map(|text| text.unwrap_or_default()).collect();
            return self.encode(&texts);
        }
        let present: Vec<&str> = texts.iter().copied().flatten().collect();
        // Row 0 is zeros; the rows of the texts that are present follow.
        let mut last = 0;
        let rows: Vec<u32> = texts
            .iter()
            .map(|text| {
                last += u32::from(text.is_some());
                if text.is_some() { last } else { 0 }
            })
            .collect();
        let [width, pooled_width] = self.widths();
        let zeros = EncodedText {
            states: Tensor::zeros((1, self.tokens, width), self.dtype, &self.device)?,
            pooled: Some(Tensor::zeros((1, pooled_width), self.dtype, &self.device)?),
        };
        if present.is_empty() {
            return zeros.rows(&rows);
        }
        let encoded = self.encode(&present)?;
        let pooled = zeros.pooled.zip(encoded.pooled).map(|(zeros, pooled)| Tensor::cat(&[zeros, pooled], 0));
        EncodedText { states: Tensor::cat(&[zeros.states, encoded.states], 0)?, pooled: pooled.transpose()? }
            .rows(&rows)
    }

    /// What the encoders do not see of a text, because it has more tokens than they take; `None` if they see all of it. With
    /// two encoders, the longer of the two ends.
    ///
    /// # Errors
    /// Fails if the tokenizer does.
    pub fn cut(&self, text: &str) -> Result<Option<Cut>> {
        match &self.encoders {
            Encoders::One(encoder) => encoder.tokenizer.cut(text),
            Encoders::Two(both) => {
                let cuts = [both.0.tokenizer.cut(text)?, both.1.tokenizer.cut(text)?];
                Ok(cuts.into_iter().flatten().max_by_key(|cut| cut.tokens))
            }
        }
    }

    /// The number of tokens of every encoded text, including padding.
    #[must_use]
    pub fn tokens(&self) -> usize {
        self.tokens
    }

    /// The widths of the states and of pooled text; 0 if there is no pooled text.
    fn widths(&self) -> [usize; 2] {
        match &self.encoders {
            Encoders::One(encoder) => [encoder.tower.config().hidden_size, 0],
            Encoders::Two(both) => {
                let (first, second, _) = &**both;
                let (first, second) = (first.tower.config(), second.tower.config());
                [first.hidden_size + second.hidden_size, second.projection_dim]
            }
        }
    }
}

impl Encoder {
    fn new(folders: &PartFolders, [_, tokenizer]: [&str; 2], tower: TextTower) -> Result<Self> {
        let folder = folders.part(tokenizer)?;
        let tokenizer = Tokenizer::load(&folder)?;
        let positions = tower.config().max_position_embeddings;
        if tokenizer.length() > positions {
            let problem = format!(
                "model_max_length {} exceeds the text tower's {positions} positions",
                tokenizer.length()
            );
            return Err(Error::format(&folder, problem));
        }
        Ok(Self { tokenizer, tower })
    }

    /// Checks that the tokenizer produces `tokens` tokens, because the states of both encoders are concatenated per token.
    fn check_length(&self, tokens: usize, folders: &PartFolders) -> Result<()> {
        if self.tokenizer.length() == tokens {
            return Ok(());
        }
        let problem = format!(
            "model_max_length {} differs from the {tokens} of {}/: both text encoders need the same number of tokens",
            self.tokenizer.length(),
            FIRST[1]
        );
        Err(Error::format(&folders.part(SECOND[1])?, problem))
    }

    fn ids(&self, texts: &[&str]) -> Result<Vec<Vec<u32>>> {
        texts.iter().map(|text| self.tokenizer.encode(text)).collect()
    }
}

fn has_second(folders: &PartFolders) -> bool {
    folders.part(SECOND[0]).is_ok()
}

fn model_index(folders: &PartFolders) -> Result<ModelIndex> {
    match folders.part(MODEL_INDEX) {
        Ok(file) => config::read(&file),
        Err(_) => Ok(ModelIndex::default()),
    }
}
