//! CLIP's tokenizer, built from `vocab.json` and `merges.txt`, or from `tokenizer.json`, as transformers' class does.

mod vocabulary;

use crate::{Error, Result};
use std::path::{Path, PathBuf};
use tokenizers::models::bpe::{BPE, Vocab};
use tokenizers::normalizers::{Lowercase, NFC, Replace, Sequence as Normalizers, replace::ReplacePattern};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::sequence::Sequence as PreTokenizers;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::{Encoding, NormalizerWrapper, PreTokenizerWrapper, SplitDelimiterBehavior, TokenizerImpl};
use vocabulary::Vocabulary;

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
    /// The token with the largest id.
    last: (u32, String),
}

/// The end of a text that a text encoder does not see, because its sequence is full.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cut {
    /// The number of tokens that do not fit.
    pub tokens: usize,
    /// The text of these tokens, as it was written.
    pub text: String,
}

impl Tokenizer {
    /// Loads `vocab.json` and `merges.txt`, or `tokenizer.json`, from `folder`; and if present, `tokenizer_config.json`,
    /// `special_tokens_map.json` and `added_tokens.json`, whose tokens are matched as transformers matches them.
    ///
    /// # Errors
    /// Fails if a file is missing or damaged, or two tokens have the same id.
    pub fn load(folder: &Path) -> Result<Self> {
        let bad = |problem: String| Error::format(folder, problem);
        let Vocabulary { ids, merges, added, special: [start, end, unknown, pad], length } =
            Vocabulary::read(folder)?;
        let last = ids.iter().max_by_key(|(_, id)| **id).map(|(token, id)| (*id, token.clone()));
        let [start, end, pad] = [start, end, pad].map(|name| ids.get(&name).copied().unwrap_or_default());
        let bpe = BPE::builder()
            .vocab_and_merges(ids.into_iter().collect::<Vocab>(), merges)
            .end_of_word_suffix("</w>".to_owned())
            .unk_token(unknown)
            .build()
            .map_err(|e| bad(format!("vocabulary and merges (merges.txt) are not a valid tokenizer: {e}")))?;
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
        // As in transformers, a special token written out in a text is that token.
        tokenizer.add_tokens(added).map_err(|e| bad(e.to_string()))?;
        let length = length.map_or(77, |n| n as usize);
        if !(2..=1024).contains(&length) {
            return Err(bad(format!(
                "tokenizer_config.json: model_max_length {length} is not between 2 and 1024"
            )));
        }
        Ok(Self { tokenizer, start, end, pad, length, last: last.unwrap_or_default() })
    }

    /// The files of `folder` that [`Tokenizer::load`] reads.
    #[must_use]
    pub fn files(folder: &Path) -> Vec<PathBuf> {
        Vocabulary::files(folder)
    }

    /// One more than the largest id of a token.
    #[must_use]
    pub fn tokens(&self) -> usize {
        self.last.0 as usize + 1
    }

    /// Checks that a text encoder with `rows` embeddings has one for every token.
    ///
    /// # Errors
    /// Returns the numbers, and the token with the largest id.
    pub fn check_embeddings(&self, rows: usize) -> Result<(), String> {
        let (count, token) = (self.tokens(), &self.last.1);
        if count <= rows {
            return Ok(());
        }
        Err(format!(
            "the vocabulary (vocab.json and added tokens) has {count} tokens, the last of them {token:?}, but the text encoder \
             has embeddings of {rows}: use the tokenizer of the same model"
        ))
    }

    /// Encodes a text: start token, the tokens of the text (truncated to fit), end token, padding. As in transformers, bytes
    /// that are not in the vocabulary become the end token.
    ///
    /// # Errors
    /// Fails if the tokenizer does, which no text is known to cause.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>> {
        let mut ids = vec![self.start];
        ids.extend(self.encoding(text)?.get_ids().iter().take(self.length - 2));
        ids.push(self.end);
        ids.resize(self.length, self.pad);
        Ok(ids)
    }

    /// Whether [`Self::encode`] cuts a text.
    ///
    /// # Errors
    /// As [`Self::encode`].
    pub fn cuts(&self, text: &str) -> Result<bool> {
        Ok(self.encoding(text)?.get_ids().len() > self.length - 2)
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

    fn encoding(&self, text: &str) -> Result<Encoding> {
        self.tokenizer.encode_fast(text.trim(), false).map_err(|e| Error::format(Path::new("prompt"), e))
    }

    /// The number of tokens of every encoded text, including padding.
    #[must_use]
    pub fn length(&self) -> usize {
        self.length
    }
}
