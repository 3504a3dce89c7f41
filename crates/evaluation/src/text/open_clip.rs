//! The tokenizer of OpenAI's CLIP, OpenCLIP and HPSv2: ftfy, HTML entities twice, single spaces, lower case, byte pairs.

use super::bpe::BytePairs;
use super::ftfy::fix_text;
use super::html;
use diffusion::Result;
use regex::Regex;
use std::path::Path;

/// Tokens of every text.
const LENGTH: usize = 77;

/// How a text would have to spell the special tokens. It is the only difference between the packages.
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

/// A text to ids.
#[derive(Debug)]
pub struct OpenClipTokenizer {
    pairs: BytePairs,
    words: Regex,
    names: SpecialNames,
}

impl OpenClipTokenizer {
    /// Reads a vocabulary: see [`BytePairs::open`].
    ///
    /// # Errors
    /// A file that is missing or damaged.
    pub fn open(vocabulary: &Path, names: SpecialNames) -> Result<Self> {
        let [start, end] = names.names().map(regex::escape);
        let words =
            format!(r"(?i){start}|{end}|'s|'t|'re|'ve|'m|'ll|'d|\p{{L}}+|\p{{N}}|[^\s\p{{L}}\p{{N}}]+");
        #[expect(clippy::expect_used, reason = "the pattern is this file's")]
        let words = Regex::new(&words).expect("a pattern");
        Ok(Self { pairs: BytePairs::open(vocabulary)?, words, names })
    }

    /// Start, the text's tokens, end: at most 77, and then the last is the end. What the packages add to the right is left
    /// out; it does not change a text's features, because no position sees what comes after it.
    #[must_use]
    pub fn encode(&self, text: &str) -> Vec<u32> {
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
                word => self.pairs.encode(word, &mut ids),
            }
        }
        ids.truncate(LENGTH - 1);
        ids.push(self.pairs.end);
        ids
    }
}

/// What the text is before it is cut into words.
#[must_use]
pub fn clean(text: &str) -> String {
    let text = html::unescape(&html::unescape(&fix_text(text)));
    // Python's lower(), which knows the last sigma of a word, as this does.
    text.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase()
}
