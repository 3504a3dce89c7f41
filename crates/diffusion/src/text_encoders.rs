//! From texts to what a UNet is told of them: SD 1.5 and 2.1 have one text encoder, SDXL has two. Nobody else needs to
//! know which it is.

use crate::clip::TextTower;
use crate::conditioning::{EncodedText, TIME_IDS};
use crate::config::{self, UnetConfig};
use crate::nn::Linear;
use crate::pipeline::Folders;
use crate::tokenizer::Tokenizer;
use crate::weights::{PartFiles, Stem};
use crate::{Error, Result};
use candle_core::{DType, Device, Tensor};
use serde::Deserialize;
use std::path::PathBuf;

/// A model's text encoders with their tokenizers.
#[derive(Debug)]
pub struct TextEncoders {
    encoders: Encoders,
    tokens: usize,
    no_text: NoText,
    device: Device,
    dtype: DType,
}

#[derive(Debug)]
enum Encoders {
    /// SD 1.5 and 2.1: the states after the final norm.
    One(Box<Encoder>),
    /// SDXL: the penultimate states of both side by side, and the second one's pooled state, projected.
    Two(Box<(Encoder, Encoder, Linear)>),
}

#[derive(Debug)]
struct Encoder {
    tokenizer: Tokenizer,
    tower: TextTower,
}

/// What stands for a text that is not there, as the negative prompt that nobody gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum NoText {
    /// The empty text.
    Empty,
    /// Zeros.
    Zeros,
}

/// `model_index.json`, as far as it matters here.
#[derive(Debug, Default, Deserialize)]
struct ModelIndex {
    force_zeros_for_empty_prompt: Option<bool>,
}

/// The folders of a text encoder and of its tokenizer.
const FIRST: [&str; 2] = ["text_encoder", "tokenizer"];
const SECOND: [&str; 2] = ["text_encoder_2", "tokenizer_2"];

impl TextEncoders {
    /// Loads `text_encoder` and `tokenizer`, and `text_encoder_2` and `tokenizer_2` if they are there.
    ///
    /// # Errors
    /// A part that is missing or damaged, or parts that do not fit together.
    pub fn open(folders: &Folders, device: &Device) -> Result<Self> {
        Self::open_in(folders, device, DType::F32)
    }

    /// As [`TextEncoders::open`], to compute in `dtype`.
    ///
    /// # Errors
    /// As [`TextEncoders::open`].
    pub fn open_in(folders: &Folders, device: &Device, dtype: DType) -> Result<Self> {
        let (tower, _) = TextTower::load_in(&folders.part(FIRST[0])?, device, dtype)?;
        let first = Encoder::new(folders, FIRST, tower)?;
        let tokens = first.tokenizer.length();
        let (encoders, no_text) = if has_second(folders) {
            let folder = folders.part(SECOND[0])?;
            let (tower, projection) = TextTower::load_with_projection(&folder, device, dtype)?;
            let second = Encoder::new(folders, SECOND, tower)?;
            second.check_length(tokens, folders)?;
            // diffusers' default for models with two text encoders.
            let zeros = model_index(folders)?.force_zeros_for_empty_prompt.unwrap_or(true);
            let no_text = if zeros { NoText::Zeros } else { NoText::Empty };
            (Encoders::Two(Box::new((first, second, projection))), no_text)
        } else {
            (Encoders::One(Box::new(first)), NoText::Empty)
        };
        Ok(Self { encoders, tokens, no_text, device: device.clone(), dtype })
    }

    /// The files that decide what texts become.
    ///
    /// # Errors
    /// A part is missing.
    pub fn files(folders: &Folders) -> Result<Vec<PathBuf>> {
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

    /// Whether they tell a UNet of this config what it reads.
    ///
    /// # Errors
    /// What does not fit, as a UNet of SDXL over a base of SD 1.5.
    pub fn check(&self, unet: &UnetConfig) -> Result<(), String> {
        let [width, pooled] = self.widths();
        let one_or_two = if pooled == 0 { "one text encoder" } else { "two text encoders" };
        if width != unet.cross_attention_dim {
            return Err(format!(
                "cross_attention_dim: is {} where the model's {one_or_two} make states of width {width}: it is the \
                 UNet of another kind of model, and needs that as its base",
                unet.cross_attention_dim
            ));
        }
        match unet.added_widths() {
            None if pooled == 0 => Ok(()),
            Some((each, all)) if pooled > 0 && TIME_IDS * each + pooled == all => Ok(()),
            None => Err(format!(
                "addition_embed_type: is null, though the model has {one_or_two}: it needs a base with one"
            )),
            Some(_) if pooled == 0 => Err(format!(
                "addition_embed_type: text_time reads the pooled text of text_encoder_2, but the model has {one_or_two}"
            )),
            Some((each, all)) => Err(format!(
                "projection_class_embeddings_input_dim: is {all} where {TIME_IDS} time ids of width {each} and pooled \
                 text of width {pooled} make {}",
                TIME_IDS * each + pooled
            )),
        }
    }

    /// Encodes texts, the empty one like any other.
    ///
    /// # Errors
    /// The tokenizer's or candle's.
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

    /// Encodes texts of which some are not there: those become what the model's authors put in their place, the empty
    /// text or zeros (`force_zeros_for_empty_prompt`).
    ///
    /// # Errors
    /// The tokenizer's or candle's.
    pub fn encode_given(&self, texts: &[Option<&str>]) -> Result<EncodedText> {
        if self.no_text == NoText::Empty || texts.iter().all(Option::is_some) {
            let texts: Vec<&str> = texts.iter().map(|text| text.unwrap_or_default()).collect();
            return self.encode(&texts);
        }
        let given: Vec<&str> = texts.iter().copied().flatten().collect();
        // Row 0 is of zeros, the given texts' come after it.
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
        if given.is_empty() {
            return zeros.rows(&rows);
        }
        let given = self.encode(&given)?;
        let pooled = zeros.pooled.zip(given.pooled).map(|(zeros, given)| Tensor::cat(&[zeros, given], 0));
        EncodedText { states: Tensor::cat(&[zeros.states, given.states], 0)?, pooled: pooled.transpose()? }
            .rows(&rows)
    }

    /// Tokens of every text.
    #[must_use]
    pub fn tokens(&self) -> usize {
        self.tokens
    }

    /// Widths of states and of pooled text; 0 where there is none.
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
    fn new(folders: &Folders, [_, tokenizer]: [&str; 2], tower: TextTower) -> Result<Self> {
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

    /// Both encoders' states lie side by side, token by token.
    fn check_length(&self, tokens: usize, folders: &Folders) -> Result<()> {
        if self.tokenizer.length() == tokens {
            return Ok(());
        }
        let problem = format!(
            "model_max_length {} differs from the {tokens} of {}/: both text encoders need equally many tokens",
            self.tokenizer.length(),
            FIRST[1]
        );
        Err(Error::format(&folders.part(SECOND[1])?, problem))
    }

    fn ids(&self, texts: &[&str]) -> Result<Vec<Vec<u32>>> {
        texts.iter().map(|text| self.tokenizer.encode(text)).collect()
    }
}

fn has_second(folders: &Folders) -> bool {
    folders.part(SECOND[0]).is_ok()
}

fn model_index(folders: &Folders) -> Result<ModelIndex> {
    match folders.part("model_index.json") {
        Ok(file) => config::read(&file),
        Err(_) => Ok(ModelIndex::default()),
    }
}
