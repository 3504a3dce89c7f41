//! The tokenizer of OpenAI's CLIP, OpenCLIP and HPSv2: ftfy, HTML entities unescaped twice, single spaces, lower case,
//! byte pairs.

use super::bpe::BytePairs;
use super::ftfy::fix_text;
use super::html;
use diffusion::Result;
use regex::Regex;
use std::path::Path;

/// Most tokens of a text, start and end included.
const LENGTH: usize = 77;

/// The spelling of the special tokens in a text: the only difference between the packages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpecialNames {
    /// `<start_of_text>` and `<end_of_text>`.
    OpenClip,
    /// `<|startoftext|>` and `<|endoftext|>`.
    OpenAi,
}

impl SpecialNames {
    fn names(self) -> [&'static str; 2] {
        match self {
            Self::OpenClip => ["<start_of_text>", "<end_of_text>"],
            Self::OpenAi => ["<|startoftext|>", "<|endoftext|>"],
        }
    }
}

/// Encodes texts as the ids of OpenCLIP's or OpenAI's tokenizer.
#[derive(Debug)]
pub struct OpenClipTokenizer {
    pairs: BytePairs,
    words: Regex,
    names: SpecialNames,
}

impl OpenClipTokenizer {
    /// Reads a vocabulary: `bpe_simple_vocab_16e6.txt.gz`, or a folder with `vocab.json` and `merges.txt`.
    ///
    /// # Errors
    /// Fails if a file is missing or is not a vocabulary of CLIP.
    pub fn open(vocabulary: &Path, names: SpecialNames) -> Result<Self> {
        let [start, end] = names.names().map(regex::escape);
        let words =
            format!(r"(?i){start}|{end}|'s|'t|'re|'ve|'m|'ll|'d|\p{{L}}+|\p{{N}}|[^\s\p{{L}}\p{{N}}]+");
        #[expect(clippy::expect_used, reason = "the pattern is a constant of this file")]
        let words = Regex::new(&words).expect("a valid pattern");
        Ok(Self { pairs: BytePairs::open(vocabulary)?, words, names })
    }

    /// The start token, the tokens of the text, and the end token: at most 77, by cutting the text. The padding that
    /// the packages append is left out; the text tower is causal, so it does not change the features of a text.
    ///
    /// # Errors
    /// Fails if the byte-pair encoding does, which knows every byte.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>> {
        let text = clean(text);
        let [start, end] = self.names.names();
        let mut ids = vec![self.pairs.start];
        for word in self.words.find_iter(&text) {
            if ids.len() >= LENGTH {
                break;
            }
            match word.as_str() {
                word if word == start => ids.push(self.pairs.start),
                word if word == end => ids.push(self.pairs.end),
                word => self.pairs.encode(word, &mut ids)?,
            }
        }
        ids.truncate(LENGTH - 1);
        ids.push(self.pairs.end);
        Ok(ids)
    }
}

/// Cleans a text before it is split into words.
pub(super) fn clean(text: &str) -> String {
    let text = html::unescape(&html::unescape(&fix_text(text)));
    // Like Python's `lower`, `to_lowercase` has a special form of sigma at the end of a word.
    text.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase()
}
