//! Preference pairs and rows as the readers of this crate return them.

use crate::error::ReadError;
use bytes::Bytes;
use domain::dataset::{Dropped, Reason, Source};
use std::path::Path;

/// The rows of a set, in order.
pub(crate) type Rows = Box<dyn Iterator<Item = Result<Row, ReadError>> + Send>;

/// A prompt with a winner and a loser, or a caption with its image; all images are still encoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PreferencePair {
    /// The prompt of both images.
    pub prompt: String,
    /// The preferred image: the bytes of an image file ([`crate::decode::decode`]).
    pub winner: Bytes,
    /// The rejected image, likewise; none in a set of captioned images.
    pub loser: Option<Bytes>,
    /// Names of the models that made winner and loser, if the set states them.
    pub models: [Option<String>; 2],
    /// The file and row that the pair was read from.
    pub source: Source,
    /// The ranked list that both images belong to, if they do.
    pub list: Option<ListPlace>,
}

/// The place of a pair in a ranked list of images, which is kept as pairs that hold each image once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListPlace {
    /// Number of the list, the same for all its pairs and no others.
    pub list: u32,
    /// Pairs of the list.
    pub pairs: u32,
    /// Ranks of winner and loser; 0 is the best. Equal ranks mean that neither is better.
    pub ranks: [u32; 2],
}

impl PreferencePair {
    /// Bytes of the encoded images.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.winner.len() + self.loser.as_ref().map_or(0, Bytes::len)
    }
}

/// One row of a set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Row {
    /// A usable pair.
    Pair(PreferencePair),
    /// One or several rows that are no usable pair, with the reason.
    Dropped(Dropped),
    /// A file that is not part of the set, with the reason.
    LeftOut(FileLeftOut),
}

/// A file that is not part of a set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileLeftOut {
    /// The file, relative to the set's folder.
    pub file: String,
    /// Why it was left out, for people.
    pub reason: String,
}

impl FileLeftOut {
    pub(crate) fn new(folder: &Path, file: &Path, reason: impl Into<String>) -> Self {
        let file = file.strip_prefix(folder).unwrap_or(file).to_string_lossy().into_owned();
        Self { file, reason: reason.into() }
    }
}

impl Row {
    /// Bytes of both encoded images.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::Pair(pair) => pair.bytes(),
            Self::Dropped(_) | Self::LeftOut(_) => 0,
        }
    }

    /// A single dropped row.
    pub(crate) fn dropped(reason: Reason, source: Source, detail: impl Into<String>) -> Self {
        Self::Dropped(Dropped { reason, source, rows: 1, detail: detail.into() })
    }
}
