//! Encoding texts into UNet conditioning. SD 1.5 and 2.1 have one text encoder, SDXL has two; callers need not distinguish
//! them.

use crate::conditioning::EncodedText;
use crate::config::{self, UnetConfig};
use crate::fit;
use crate::layout::MODEL_INDEX;
use crate::lora::{Adapter, Adapters, Layers, Network};
use crate::part_folders::PartFolders;
use crate::text_tower::AdaptableTower;
use crate::tokenizer::{Cut, Tokenizer};
use crate::weights::{PartFiles, Stem};
use crate::{Error, Result};
use candle_core::{DType, Device, Tensor};
use serde::Deserialize;
use std::collections::BTreeMap;
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
    Two(Box<[Encoder; 2]>),
}

#[derive(Debug)]
struct Encoder {
    tokenizer: Tokenizer,
    tower: AdaptableTower,
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

/// The networks of the text encoders with their folders.
const NETWORKS: [(Network, [&str; 2]); 2] = [(Network::TextEncoder, FIRST), (Network::TextEncoder2, SECOND)];

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
        let first = Encoder::new(folders, FIRST, folders.text_tower(FIRST[0], device, dtype)?)?;
        let tokens = first.tokenizer.length();
        let (encoders, missing_text) = if has_second(folders) {
            let second = Encoder::new(folders, SECOND, folders.text_tower(SECOND[0], device, dtype)?)?;
            second.check_length(tokens, folders)?;
            // The default is diffusers' for models with two text encoders.
            let zeros = model_index(folders)?.force_zeros_for_empty_prompt.unwrap_or(true);
            let missing_text = if zeros { MissingText::Zeros } else { MissingText::Empty };
            (Encoders::Two(Box::new([first, second])), missing_text)
        } else {
            (Encoders::One(Box::new(first)), MissingText::Empty)
        };
        Ok(Self { encoders, tokens, missing_text, device: device.clone(), dtype })
    }

    /// The layers that adapters can update, by network.
    #[must_use]
    pub fn layers(&self) -> BTreeMap<Network, Layers> {
        let encoders = self.encoders.all().iter();
        let networks = NETWORKS.into_iter().map(|(network, _)| network);
        networks.zip(encoders.map(|encoder| Layers::of(encoder.tower.weights()))).collect()
    }

    /// Fuses the updates that adapters have for the encoders, each with its scale, in place of those applied before, as
    /// [`AdaptableTower::apply`] does.
    ///
    /// # Errors
    /// Fails if an adapter does not fit.
    pub fn apply_adapters(&mut self, adapters: &[(&Adapters, f64)]) -> Result<()> {
        for ((network, _), encoder) in NETWORKS.into_iter().zip(self.encoders.all_mut()) {
            let own: Vec<(&Adapter, f64)> = adapters
                .iter()
                .filter_map(|(adapters, scale)| Some((adapters.get(&network)?, *scale)))
                .collect();
            encoder.tower.apply(&own)?;
        }
        Ok(())
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
        for (network, _) in NETWORKS.into_iter().filter(|(_, [part, _])| folders.part(part).is_ok()) {
            for file in folders.adapters_of(network)? {
                if !files.contains(&file) {
                    files.push(file);
                }
            }
        }
        Ok(files)
    }

    /// The tokenizers of a model's text encoders.
    ///
    /// # Errors
    /// Fails if one is missing or damaged.
    pub fn tokenizers(folders: &PartFolders) -> Result<Vec<Tokenizer>> {
        let second = has_second(folders).then_some(SECOND);
        let parts = std::iter::once(FIRST).chain(second);
        parts.map(|[_, tokenizer]| Tokenizer::load(&folders.part(tokenizer)?)).collect()
    }

    /// Checks that the encoders fit a UNet with this config.
    ///
    /// # Errors
    /// Returns what does not fit, for example for a UNet of SDXL with text encoders of SD 1.5.
    pub fn check(&self, unet: &UnetConfig) -> Result<(), String> {
        fit::text(unet, self.widths())
    }

    /// Encodes texts.
    ///
    /// # Errors
    /// Fails if the tokenizer or a tensor operation does.
    pub fn encode(&self, texts: &[&str]) -> Result<EncodedText> {
        match &self.encoders {
            Encoders::One(encoder) => {
                Ok(EncodedText { states: encoder.tower.tower().forward(&encoder.ids(texts)?)?, pooled: None })
            }
            Encoders::Two(both) => {
                let [first, second] = &**both;
                let states = first.tower.tower().penultimate(&first.ids(texts)?)?;
                let (ids, tower) = (second.ids(texts)?, second.tower.tower());
                let penultimate = tower.penultimate(&ids)?;
                let pooled = tower.pool(&tower.finish(&penultimate)?, &ids)?;
                Ok(EncodedText {
                    states: Tensor::cat(&[states, penultimate], 2)?,
                    pooled: Some(second.tower.project(&pooled)?),
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
        let cuts = self.encoders.all().iter().map(|encoder| encoder.tokenizer.cut(text));
        let cuts = cuts.collect::<Result<Vec<_>>>()?;
        Ok(cuts.into_iter().flatten().max_by_key(|cut| cut.tokens))
    }

    /// The number of tokens of every encoded text, including padding.
    #[must_use]
    pub fn tokens(&self) -> usize {
        self.tokens
    }

    /// The widths of the states and of pooled text; 0 if there is no pooled text.
    fn widths(&self) -> [usize; 2] {
        match &self.encoders {
            Encoders::One(encoder) => [encoder.tower.tower().config().hidden_size, 0],
            Encoders::Two(both) => {
                let [first, second] = both.each_ref().map(|encoder| encoder.tower.tower().config());
                [first.hidden_size + second.hidden_size, second.projection_dim]
            }
        }
    }
}

impl Encoders {
    fn all(&self) -> &[Encoder] {
        match self {
            Self::One(encoder) => std::slice::from_ref(encoder),
            Self::Two(both) => &both[..],
        }
    }

    fn all_mut(&mut self) -> &mut [Encoder] {
        match self {
            Self::One(encoder) => std::slice::from_mut(encoder),
            Self::Two(both) => &mut both[..],
        }
    }
}

impl Encoder {
    fn new(folders: &PartFolders, [_, tokenizer]: [&str; 2], tower: AdaptableTower) -> Result<Self> {
        let folder = folders.part(tokenizer)?;
        let tokenizer = Tokenizer::load(&folder)?;
        tokenizer
            .check_embeddings(tower.tower().config().vocab_size)
            .map_err(|problem| Error::format(&folder, problem))?;
        let positions = tower.tower().config().max_position_embeddings;
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
