//! The bundled world: captioned images drawn from a seed, the rule that judges images of it without any network, the styles and
//! quality pairs that preferences are learnt from, and the vocabulary of its captions. Every item is a pure function of its arguments.

mod dice;
mod field;
pub mod judge;

mod image;
pub mod quality;
pub mod set;
pub mod sheet;
pub mod style;
pub mod vocabulary;
pub mod world;

pub use image::{Image, SIDE, contact_sheet};
