//! What was read of a set, and what was left out and why.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// Where a row lies in its set.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// The file, below the set's folder.
    pub file: String,
    /// The row of the file, counted from 0; of a list, the line.
    pub row: u64,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} row {}", self.file, self.row)
    }
}

/// Why a row gives no pair.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// Neither image was preferred.
    Tie,
    /// Nobody said which is better.
    NoLabel,
    /// What was said contradicts itself, as two winners.
    BadLabel,
    /// The prompt is missing, empty or no text.
    NoPrompt,
    /// An image is missing.
    MissingImage,
    /// An image cannot be decoded, or is too large to be.
    DamagedImage,
    /// The safety checker flags an image.
    FlaggedImage,
    /// An image is not by one of the models asked for.
    OtherModel,
    /// The prompt filter refuses it.
    FilteredPrompt,
    /// A column has another type than the format says.
    WrongType,
    /// That part of the file cannot be read.
    Unreadable,
}

impl Reason {
    /// All reasons.
    pub const ALL: [Self; 11] = [
        Self::Tie,
        Self::NoLabel,
        Self::BadLabel,
        Self::NoPrompt,
        Self::MissingImage,
        Self::DamagedImage,
        Self::FlaggedImage,
        Self::OtherModel,
        Self::FilteredPrompt,
        Self::WrongType,
        Self::Unreadable,
    ];

    /// For people.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Tie => "tie",
            Self::NoLabel => "no label",
            Self::BadLabel => "contradictory label",
            Self::NoPrompt => "no prompt",
            Self::MissingImage => "missing image",
            Self::DamagedImage => "damaged image",
            Self::FlaggedImage => "flagged image",
            Self::OtherModel => "other model",
            Self::FilteredPrompt => "filtered prompt",
            Self::WrongType => "wrong type",
            Self::Unreadable => "unreadable",
        }
    }
}

/// Rows that give no pair: one, or several in a row for one reason.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dropped {
    /// Why.
    pub reason: Reason,
    /// The first of them.
    pub source: Source,
    /// How many.
    pub rows: u64,
    /// What exactly is wrong.
    pub detail: String,
}

impl fmt::Display for Dropped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.source, self.reason.label(), self.detail)
    }
}

/// How many dropped rows are named for each reason; the others are only counted.
pub const NAMED_PER_REASON: usize = 25;

/// What was read of a set.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadReport {
    /// Rows seen.
    pub rows: u64,
    /// Pairs they gave.
    pub pairs: u64,
    /// Rows dropped for each reason.
    pub dropped: BTreeMap<Reason, u64>,
    /// The first of each reason, by name.
    pub named: Vec<Dropped>,
}

impl ReadReport {
    /// One row gave a pair.
    pub fn keep(&mut self) {
        self.rows += 1;
        self.pairs += 1;
    }

    /// Rows gave none.
    pub fn drop_rows(&mut self, dropped: Dropped) {
        self.rows += dropped.rows;
        self.name(dropped);
    }

    /// A row that was taken for a pair turned out to be none.
    pub fn take_back(&mut self, dropped: Dropped) {
        self.pairs -= 1;
        self.name(dropped);
    }

    fn name(&mut self, dropped: Dropped) {
        *self.dropped.entry(dropped.reason).or_default() += dropped.rows;
        if self.named.iter().filter(|known| known.reason == dropped.reason).count() < NAMED_PER_REASON {
            self.named.push(dropped);
        }
    }
}

impl fmt::Display for ReadReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} pairs of {} rows", self.pairs, self.rows)?;
        for (reason, count) in &self.dropped {
            write!(f, ", {count} {}", reason.label())?;
        }
        Ok(())
    }
}
