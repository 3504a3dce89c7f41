//! CLIP's tokenizer, built from `vocab.json` and `merges.txt` as transformers' converter does, because Stable Diffusion's
//! repositories have no `tokenizer.json`.

use crate::{Error, Result, config};
use serde::Deserialize;
use serde::de::IgnoredAny;
use std::path::{Path, PathBuf};
use tokenizers::models::bpe::BPE;
use tokenizers::normalizers::{Lowercase, NFC, Replace, Sequence as Normalizers, replace::ReplacePattern};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::sequence::Sequence as PreTokenizers;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::{
    AddedToken, Encoding, NormalizerWrapper, PreTokenizerWrapper, SplitDelimiterBehavior, TokenizerImpl,
};

const START: &str = "<|startoftext|>";
const END: &str = "<|endoftext|>";
const CONFIG: &str = "tokenizer_config.json";
const SPECIAL_TOKENS: &str = "special_tokens_map.json";

/// Converts texts to token ids, padded to the full length of the text tower.
#[derive(Debug)]
pub struct Tokenizer {
    tokenizer: TokenizerImpl<
        BPE,
        NormalizerWrapper,
        PreTokenizerWrapper,
        tokenizers::PostProcessorWrapper,
        tokenizers::DecoderWrapper,
    >,
    start: u32,
    end: u32,
    pad: u32,
    length: usize,
}

/// The end of a text that a text encoder does not see, because its sequence is full.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cut {
    /// The number of tokens that do not fit.
    pub tokens: usize,
    /// The text of these tokens, as it was written.
    pub text: String,
}

/// The fields of `tokenizer_config.json` that are used.
#[derive(Debug, Default, Deserialize)]
struct TokenizerConfig {
    #[serde(default)]
    pad_token: Option<TokenName>,
    #[serde(default)]
    model_max_length: Option<f64>,
    #[serde(default)]
    added_tokens_decoder: Option<IgnoredAny>,
}

/// The fields of `special_tokens_map.json` that are used.
#[derive(Debug, Default, Deserialize)]
struct SpecialTokens {
    #[serde(default)]
    pad_token: Option<TokenName>,
}

/// A token, as text or as an object.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum TokenName {
    Plain(String),
    Full { content: String },
}

/// Reads the settings in a tokenizer's folder. Both files are optional.
fn settings(folder: &Path) -> Result<TokenizerConfig> {
    let (config, special) = (folder.join(CONFIG), folder.join(SPECIAL_TOKENS));
    let mut settings: TokenizerConfig =
        if config.is_file() { config::read(&config)? } else { TokenizerConfig::default() };
    // In old repositories, which have both files, transformers uses the padding token of special_tokens_map.json: SD 2.1 pads
    // with `!` although its tokenizer_config.json names the end token. Newer repositories list added tokens in the config.
    if settings.added_tokens_decoder.is_none() && special.is_file() {
        let SpecialTokens { pad_token } = config::read(&special)?;
        settings.pad_token = pad_token.or(settings.pad_token);
    }
    Ok(settings)
}

impl Tokenizer {
    /// Loads `vocab.json`, `merges.txt` and, if present, `tokenizer_config.json` and `special_tokens_map.json` from `folder`.
    ///
    /// # Errors
    /// Fails if a file is missing or damaged.
    pub fn load(folder: &Path) -> Result<Self> {
        let (vocab, merges) = (folder.join("vocab.json"), folder.join("merges.txt"));
        let bad = |problem: String| Error::format(folder, problem);
        let bpe = BPE::from_file(&vocab.to_string_lossy(), &merges.to_string_lossy())
            .end_of_word_suffix("</w>".to_owned())
            .unk_token(END.to_owned())
            .build()
            .map_err(|e| bad(format!("vocab.json and merges.txt are not a valid tokenizer: {e}")))?;
        let config = settings(folder)?;
        let mut tokenizer = TokenizerImpl::new(bpe);
        let spaces =
            Replace::new(ReplacePattern::Regex(r"\s+".to_owned()), " ").map_err(|e| bad(e.to_string()))?;
        let normalizers = Normalizers::new(vec![NFC.into(), spaces.into(), Lowercase.into()]);
        tokenizer
            .with_normalizer(Some(NormalizerWrapper::Sequence(normalizers)))
            .map_err(|e| bad(e.to_string()))?;
        let words =
            r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+";
        let split = Split::new(SplitPattern::Regex(words.to_owned()), SplitDelimiterBehavior::Removed, true)
            .map_err(|e| bad(e.to_string()))?;
        tokenizer.with_pre_tokenizer(Some(PreTokenizerWrapper::Sequence(PreTokenizers::new(vec![
            split.into(),
            ByteLevel::new(false, true, true).into(),
        ]))));
        let id = |name: &str| {
            tokenizer.token_to_id(name).ok_or_else(|| bad(format!("vocab.json: token {name:?} is missing")))
        };
        let pad_name = match config.pad_token {
            Some(TokenName::Plain(name) | TokenName::Full { content: name }) => name,
            None => END.to_owned(),
        };
        let (start, end, pad) = (id(START)?, id(END)?, id(&pad_name)?);
        // As in transformers, a special token written out in a text is that token.
        let special = [START, END, &pad_name].map(|name| AddedToken::from(name, true));
        tokenizer.add_special_tokens(special).map_err(|e| bad(e.to_string()))?;
        let length = config.model_max_length.map_or(77, |n| n as usize);
        if !(2..=1024).contains(&length) {
            return Err(bad(format!(
                "tokenizer_config.json: model_max_length {length} is not between 2 and 1024"
            )));
        }
        Ok(Self { tokenizer, start, end, pad, length })
    }

    /// The files of `folder` that [`Tokenizer::load`] reads.
    #[must_use]
    pub fn files(folder: &Path) -> Vec<PathBuf> {
        let files = ["vocab.json", "merges.txt", CONFIG, SPECIAL_TOKENS].map(|name| folder.join(name));
        files.into_iter().filter(|file| file.is_file()).collect()
    }

    /// Encodes a text: start token, the tokens of the text (truncated to fit), end token, padding. As in transformers, bytes
    /// that are not in the vocabulary become the end token.
    ///
    /// # Errors
    /// Fails if the tokenizer does, which no text is known to cause.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>> {
        let mut ids = vec![self.start];
        ids.extend(self.tokens(text)?.get_ids().iter().take(self.length - 2));
        ids.push(self.end);
        ids.resize(self.length, self.pad);
        Ok(ids)
    }

    /// Whether [`Self::encode`] cuts a text.
    ///
    /// # Errors
    /// As [`Self::encode`].
    pub fn cuts(&self, text: &str) -> Result<bool> {
        Ok(self.tokens(text)?.get_ids().len() > self.length - 2)
    }

    /// What [`Self::encode`] cuts off a text; `None` if the whole text fits.
    ///
    /// # Errors
    /// As [`Self::encode`].
    pub fn cut(&self, text: &str) -> Result<Option<Cut>> {
        if !self.cuts(text)? {
            return Ok(None);
        }
        let text = text.trim();
        let encoding =
            self.tokenizer.encode(text, false).map_err(|e| Error::format(Path::new("prompt"), e))?;
        // The offsets are in bytes. A token can be a part of a character.
        let dropped = &encoding.get_offsets()[self.length - 2..];
        let mut start = dropped.first().map_or(text.len(), |&(start, _)| start.min(text.len()));
        while !text.is_char_boundary(start) {
            start -= 1;
        }
        Ok(Some(Cut { tokens: dropped.len(), text: text[start..].to_owned() }))
    }

    fn tokens(&self, text: &str) -> Result<Encoding> {
        self.tokenizer.encode_fast(text.trim(), false).map_err(|e| Error::format(Path::new("prompt"), e))
    }

    /// The number of tokens of every encoded text, including padding.
    #[must_use]
    pub fn length(&self) -> usize {
        self.length
    }
}
