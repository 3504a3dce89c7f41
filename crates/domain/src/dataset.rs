//! The account of reading a set: how many rows gave pairs, and which rows were dropped and why.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// The position of a row in its set.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// The file, relative to the set's folder.
    pub file: String,
    /// The row of the file (the line of a list), counted from 0. [`fmt::Display`] counts from 1, as people do.
    pub row: u64,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} row {}", self.file, self.row.saturating_add(1))
    }
}

/// Why a row gives no pair.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// Neither image was preferred.
    Tie,
    /// The row has no label.
    NoLabel,
    /// The label contradicts itself, for example with two winners.
    BadLabel,
    /// The prompt is missing, empty or not text.
    NoPrompt,
    /// An image is liked, and no other image of its prompt is disliked, or the reverse.
    NoPartner,
    /// An image is missing.
    MissingImage,
    /// An image cannot be decoded, or is too large to decode.
    DamagedImage,
    /// The safety checker flags an image.
    FlaggedImage,
    /// An image is not by one of the requested models.
    OtherModel,
    /// The prompt filter refuses the prompt.
    FilteredPrompt,
    /// A column does not have the type of the format.
    WrongType,
    /// This part of the file cannot be read.
    Unreadable,
}

impl Reason {
    /// All reasons, in the order of their declaration.
    pub const ALL: [Self; 12] = [
        Self::Tie,
        Self::NoLabel,
        Self::BadLabel,
        Self::NoPrompt,
        Self::NoPartner,
        Self::MissingImage,
        Self::DamagedImage,
        Self::FlaggedImage,
        Self::OtherModel,
        Self::FilteredPrompt,
        Self::WrongType,
        Self::Unreadable,
    ];

    /// The text on pages and in messages.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Tie => "tie",
            Self::NoLabel => "no label",
            Self::BadLabel => "contradictory label",
            Self::NoPrompt => "no prompt",
            Self::NoPartner => "no partner",
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

/// A dropped row, or several consecutive ones dropped for the same reason.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dropped {
    /// Why they were dropped.
    pub reason: Reason,
    /// Position of the first row.
    pub source: Source,
    /// Number of rows.
    pub rows: u64,
    /// What exactly is wrong, for people.
    pub detail: String,
}

impl fmt::Display for Dropped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.source, self.reason.label(), self.detail)
    }
}

/// How many drops of each reason a report lists in detail; the others are only counted.
pub const LISTED_PER_REASON: usize = 25;

/// Files that are no part of a set, for one reason: a copy of attributes by macOS, files of another split, ...
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftOut {
    /// Why they were left out, for people.
    pub reason: String,
    /// Number of files.
    pub files: u64,
    /// The first of them, relative to the set's folder.
    pub first: String,
}

impl fmt::Display for LeftOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.files {
            1 => write!(f, "{}: left out: {}", self.first, self.reason),
            files => write!(f, "{files} files (first: {}): left out: {}", self.first, self.reason),
        }
    }
}

/// How many rows of a set were read, gave pairs and were dropped.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadReport {
    /// Rows read.
    pub rows: u64,
    /// Pairs they gave.
    pub pairs: u64,
    /// Dropped rows for each reason.
    pub dropped: BTreeMap<Reason, u64>,
    /// Details of the first 25 drops of each reason.
    pub named: Vec<Dropped>,
    /// Files that are not part of the set, by reason. They are not rows.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<LeftOut>,
}

impl ReadReport {
    /// Counts a row that gave a pair.
    pub fn count_pair(&mut self) {
        self.rows += 1;
        self.pairs += 1;
    }

    /// Counts rows that gave no pair.
    pub fn count_dropped(&mut self, dropped: Dropped) {
        self.rows += dropped.rows;
        self.list(dropped);
    }

    /// Drops a row that was counted as a pair before, for example because its image turned out damaged.
    pub fn drop_pair(&mut self, dropped: Dropped) {
        self.pairs -= 1;
        self.list(dropped);
    }

    /// Counts a file that is not part of the set.
    pub fn leave_out(&mut self, file: &str, reason: &str) {
        match self.left_out.iter_mut().find(|of| of.reason == reason) {
            Some(of) => of.files += 1,
            None => {
                let (reason, first) = (reason.to_owned(), file.to_owned());
                self.left_out.push(LeftOut { reason, files: 1, first });
            }
        }
    }

    /// The account with the first detail of each reason: what a person needs to know about a set without pairs.
    #[must_use]
    pub fn explained(&self) -> String {
        let mut seen = Vec::new();
        let firsts = self.named.iter().filter(|dropped| {
            let is_first = !seen.contains(&dropped.reason);
            seen.push(dropped.reason);
            is_first
        });
        let details = firsts.map(ToString::to_string).chain(self.left_out.iter().map(ToString::to_string));
        let details = details.collect::<Vec<_>>().join("; ");
        if details.is_empty() { self.to_string() } else { format!("{self} ({details})") }
    }

    fn list(&mut self, dropped: Dropped) {
        *self.dropped.entry(dropped.reason).or_default() += dropped.rows;
        if self.named.iter().filter(|listed| listed.reason == dropped.reason).count() < LISTED_PER_REASON {
            self.named.push(dropped);
        }
    }
}

impl fmt::Display for ReadReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} examples of {} rows", self.pairs, self.rows)?;
        for (reason, count) in &self.dropped {
            write!(f, ", {count} {}", reason.label())?;
        }
        match self.left_out.iter().map(|of| of.files).sum() {
            0 => Ok(()),
            1 => f.write_str(", 1 file left out"),
            files => write!(f, ", {files} files left out"),
        }
    }
}
