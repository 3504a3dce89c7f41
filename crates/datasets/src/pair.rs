//! Preference pairs and rows as the readers of this crate return them.

use bytes::Bytes;
use domain::dataset::{Dropped, Reason, Source};

/// A prompt with a winner and a loser, both still encoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PreferencePair {
    /// The prompt of both images.
    pub prompt: String,
    /// The preferred image: the bytes of a JPEG or PNG file.
    pub winner: Bytes,
    /// The rejected image, likewise.
    pub loser: Bytes,
    /// Names of the models that made winner and loser, if the set states them.
    pub models: [Option<String>; 2],
    /// The file and row that the pair was read from.
    pub source: Source,
}

/// One row of a set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Row {
    /// A usable pair.
    Pair(PreferencePair),
    /// One or several rows that are no usable pair, with the reason.
    Dropped(Dropped),
}

impl Row {
    /// Bytes of both encoded images.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::Pair(pair) => pair.winner.len() + pair.loser.len(),
            Self::Dropped(_) => 0,
        }
    }

    /// A single dropped row.
    pub(crate) fn dropped(reason: Reason, source: Source, detail: impl Into<String>) -> Self {
        Self::Dropped(Dropped { reason, source, rows: 1, detail: detail.into() })
    }
}
