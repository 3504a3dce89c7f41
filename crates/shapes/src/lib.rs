//! The bundled world: captioned 64x64 images drawn from a seed, a rule-based judge of such images, the style and
//! quality pairs that preferences are learnt from, and the vocabulary of the captions. Every function is pure: the same
//! arguments give the same bytes.

mod contact_sheet;
mod field;
mod image;
pub mod judge;
pub mod quality;
mod random;
pub mod set;
pub mod sheet;
pub mod style;
pub mod vocabulary;
pub mod world;

pub use contact_sheet::contact_sheet;
pub use image::{Image, SIDE};
