//! Encoding of prompts as token ids, as the packages of the reward models do it. Each cleans texts in its own way.

mod bpe;
mod ftfy;
mod html;
mod open_clip;
#[cfg(test)]
mod tests;
mod windows_1252;
mod word_piece;

pub use open_clip::{OpenClipTokenizer, SpecialNames};
pub use word_piece::BertTokenizer;
