//! The examples of a set in portions: drawn, or read from files and decoded.

use super::sets;
use anyhow::{Result, bail};
use datasets::decode::{decode, decoded_bytes};
use datasets::pair::PreferencePair;
use datasets::rows::Pairs;
use domain::data::{DataSpec, ShapesSet};
use domain::dataset::{Dropped, ReadReport, Reason, Source};
use image::RgbImage;
use rayon::prelude::*;

/// Images of a portion, in bytes of their pixels: what is decoded at a time, whatever their size. Far above a shard of
/// the bundled world.
const PORTION: u64 = 64 << 20;

/// A captioned image, and the worse image of the pair where there is one.
#[derive(Clone, Debug)]
pub struct Example {
    /// Its place in the set, damaged rows counted.
    pub row: u64,
    /// What the image shows.
    pub caption: String,
    /// The image, or the winner of the pair.
    pub winner: RgbImage,
    /// The loser.
    pub loser: Option<RgbImage>,
    /// Where it comes from.
    pub source: Source,
}

/// A set, from its first example on.
#[derive(Debug)]
pub enum Examples {
    /// The bundled world.
    Drawn {
        /// Which set.
        set: ShapesSet,
        /// Of the drawing.
        seed: u64,
        /// Examples.
        count: u64,
        /// The next one.
        next: u64,
    },
    /// Pairs in files.
    Read {
        /// Those to come.
        pairs: Box<Pairs>,
        /// The place of the next one.
        next: u64,
    },
}

/// Some examples, one after the other.
#[derive(Debug, Default)]
pub struct Portion {
    /// Rows that were taken, sound or not; none at the set's end.
    pub taken: usize,
    /// Those that can be used.
    pub examples: Vec<Example>,
    /// The others.
    pub dropped: Vec<Dropped>,
}

impl Examples {
    /// Opens a set.
    ///
    /// # Errors
    /// There is none where the spec says, or it cannot be read here.
    pub fn open(spec: &DataSpec) -> Result<Self> {
        if let DataSpec::Shapes { set, count, seed } = *spec {
            return Ok(Self::Drawn { set, seed, count: u64::from(count), next: 0 });
        }
        match Pairs::open(spec)? {
            Some(pairs) => Ok(Self::Read { pairs: Box::new(pairs), next: 0 }),
            None => bail!(
                "data.source: {} holds no images to encode; votes lie in the database: submit the run as a job, or \
                 write them to a file with export-votes",
                spec.source()
            ),
        }
    }

    /// The next examples, decoded in parallel: at most `count`, and fewer where their images are large.
    ///
    /// # Errors
    /// The set cannot be read any further.
    pub fn take(&mut self, count: usize) -> Result<Portion> {
        match self {
            Self::Drawn { set, seed, count: all, next } => {
                let end = (*next + count as u64).min(*all);
                let examples = sets::draw(*set, *seed, *next..end);
                *next = end;
                Ok(Portion { taken: examples.len(), examples, dropped: Vec::new() })
            }
            Self::Read { pairs, next } => {
                let (mut read, mut bytes) = (Vec::new(), 0);
                for pair in pairs.by_ref().take(count) {
                    let pair = pair?;
                    bytes += decoded_bytes(&pair.winner) + decoded_bytes(&pair.loser);
                    read.push(pair);
                    if bytes >= PORTION {
                        break;
                    }
                }
                let (first, taken) = (*next, read.len());
                *next += taken as u64;
                let decode = |(i, pair)| example(first + i as u64, pair);
                let decoded: Vec<Result<Example, Dropped>> =
                    read.into_par_iter().enumerate().map(decode).collect();
                let mut portion = Portion { taken, ..Portion::default() };
                for outcome in decoded {
                    match outcome {
                        Ok(example) => portion.examples.push(example),
                        Err(dropped) => portion.dropped.push(dropped),
                    }
                }
                Ok(portion)
            }
        }
    }

    /// Passes over the next `count` examples and says how many there were.
    ///
    /// # Errors
    /// The set cannot be read any further.
    pub fn skip(&mut self, count: usize) -> Result<usize> {
        match self {
            Self::Drawn { count: all, next, .. } => {
                let end = (*next + count as u64).min(*all);
                let skipped = (end - *next) as usize;
                *next = end;
                Ok(skipped)
            }
            Self::Read { pairs, next } => {
                let mut skipped = 0;
                for pair in pairs.by_ref().take(count) {
                    pair?;
                    skipped += 1;
                }
                *next += skipped as u64;
                Ok(skipped)
            }
        }
    }

    /// What was read so far.
    #[must_use]
    pub fn report(&self) -> ReadReport {
        match self {
            Self::Drawn { next, .. } => ReadReport { rows: *next, pairs: *next, ..ReadReport::default() },
            Self::Read { pairs, .. } => pairs.report().clone(),
        }
    }
}

fn example(row: u64, pair: PreferencePair) -> Result<Example, Dropped> {
    let image = |name: &str, bytes: &[u8]| {
        decode(bytes).map_err(|problem| Dropped {
            reason: Reason::DamagedImage,
            source: pair.source.clone(),
            rows: 1,
            detail: format!("the {name} {problem}"),
        })
    };
    let winner = image("winner", &pair.winner)?;
    let loser = image("loser", &pair.loser)?;
    Ok(Example { row, caption: pair.prompt, winner, loser: Some(loser), source: pair.source })
}
