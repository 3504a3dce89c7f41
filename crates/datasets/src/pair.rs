//! A preference pair as it lies in a file.

use bytes::Bytes;
use domain::dataset::{Dropped, Reason, Source};

/// A prompt, the better image and the worse one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PreferencePair {
    /// What both images were to show.
    pub prompt: String,
    /// The better image, as a JPEG or PNG file.
    pub winner: Bytes,
    /// The worse one.
    pub loser: Bytes,
    /// Who made them, where the set says so: winner, loser.
    pub models: [Option<String>; 2],
    /// The row it comes from.
    pub source: Source,
}

/// One row of a set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Row {
    /// It is a pair.
    Pair(PreferencePair),
    /// It gives none.
    Dropped(Dropped),
}

impl Row {
    /// Bytes of its images.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::Pair(pair) => pair.winner.len() + pair.loser.len(),
            Self::Dropped(_) => 0,
        }
    }

    /// One row that gives none.
    pub(crate) fn dropped(reason: Reason, source: Source, detail: impl Into<String>) -> Self {
        Self::Dropped(Dropped { reason, source, rows: 1, detail: detail.into() })
    }
}
