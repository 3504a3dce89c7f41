//! BERT's uncased tokenizer as ImageReward sets it up: with two more special tokens and at most 35 tokens per text.

use diffusion::{Error, Result};
use std::path::Path;
use tokenizers::models::wordpiece::WordPiece;
use tokenizers::normalizers::BertNormalizer;
use tokenizers::pre_tokenizers::bert::BertPreTokenizer;
use tokenizers::{AddedToken, DecoderWrapper, PostProcessorWrapper, TokenizerImpl};

/// Most tokens of a text, `[CLS]` and `[SEP]` included.
const LENGTH: usize = 35;

/// Encodes texts as the ids of ImageReward's tokenizer.
#[derive(Debug)]
pub struct BertTokenizer {
    tokenizer:
        TokenizerImpl<WordPiece, BertNormalizer, BertPreTokenizer, PostProcessorWrapper, DecoderWrapper>,
    first: u32,
    last: u32,
}

impl BertTokenizer {
    /// Reads `vocab.txt` of bert-base-uncased, which has one token per line.
    ///
    /// # Errors
    /// Fails if the file is missing or is not a vocabulary of BERT.
    pub fn open(vocabulary: &Path) -> Result<Self> {
        let bad = |problem: String| Error::Format { file: vocabulary.to_owned(), problem };
        std::fs::metadata(vocabulary)
            .map_err(|source| Error::File { file: vocabulary.to_owned(), source })?;
        let pieces = WordPiece::from_file(&vocabulary.to_string_lossy())
            .unk_token("[UNK]".to_owned())
            .continuing_subword_prefix("##".to_owned())
            .max_input_chars_per_word(100)
            .build()
            .map_err(|e| bad(format!("is not a vocabulary of BERT: {e}")))?;
        let mut tokenizer = TokenizerImpl::new(pieces);
        tokenizer
            .with_normalizer(Some(BertNormalizer::new(true, true, None, true)))
            .map_err(|e| bad(e.to_string()))?;
        tokenizer.with_pre_tokenizer(Some(BertPreTokenizer));
        let id = |name: &str| {
            tokenizer
                .token_to_id(name)
                .ok_or_else(|| bad(format!("has no token {name:?}, so it is not a vocabulary of BERT")))
        };
        let (first, last) = (id("[CLS]")?, id("[SEP]")?);
        id("[UNK]")?;
        // In this order [DEC] gets the id 30522 and [ENC] 30523, as in ImageReward.
        let special = ["[UNK]", "[SEP]", "[PAD]", "[CLS]", "[MASK]", "[DEC]", "[ENC]"];
        tokenizer
            .add_special_tokens(special.map(|name| AddedToken::from(name, true)))
            .map_err(|e| bad(e.to_string()))?;
        Ok(Self { tokenizer, first, last })
    }

    /// `[CLS]`, the tokens of the text, and `[SEP]`, without padding.
    ///
    /// # Errors
    /// Fails if the `tokenizers` crate does.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>> {
        let encoding = self
            .tokenizer
            .encode_fast(text, false)
            .map_err(|e| Error::Format { file: "prompt".into(), problem: e.to_string() })?;
        let mut ids = vec![self.first];
        ids.extend(encoding.get_ids().iter().take(LENGTH - 2));
        ids.push(self.last);
        Ok(ids)
    }
}
