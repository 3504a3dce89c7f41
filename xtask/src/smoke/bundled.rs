//! What every server offers: the bundled model, and a prompt of its vocabulary.

/// The bundled model's name.
pub(super) const MODEL: &str = "shapes";

pub(super) const PROMPT: &str = "a large red circle on a blue background";
