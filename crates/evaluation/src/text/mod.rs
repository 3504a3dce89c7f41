//! From a prompt to token ids, as the reward models' packages do it: each cleans text in its own way.

pub mod bpe;
pub mod ftfy;
pub mod html;
pub mod open_clip;
mod word_piece;

pub use open_clip::{OpenClipTokenizer, SpecialNames};
pub use word_piece::BertTokenizer;
