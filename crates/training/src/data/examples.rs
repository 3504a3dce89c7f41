//! The examples of a set, portion by portion: drawn, or read from files and decoded.

use super::example::Example;
use super::sets;
use anyhow::{Result, bail};
use datasets::decode::{decode_pair, decoded_bytes};
use datasets::pair::PreferencePair;
use datasets::rows::Pairs;
use domain::data::{DataSpec, ShapesSet};
use domain::dataset::{Dropped, ReadReport};
use rayon::prelude::*;

/// Size of the decoded images after which a portion ends, in bytes. It bounds the memory of large images; a shard of
/// the bundled world is far smaller.
const PORTION_BYTES: u64 = 64 << 20;

/// A reader of a set's examples, in order.
#[derive(Debug)]
pub struct Examples(Reader);

#[derive(Debug)]
enum Reader {
    /// Draws the examples `next..count` of the bundled world.
    Drawn { set: ShapesSet, seed: u64, count: u64, next: u64 },
    /// Reads pairs from files; the next one has row `next`.
    Files { pairs: Box<Pairs>, next: u64 },
}

/// Consecutive rows of a set.
#[derive(Debug, Default)]
pub struct Portion {
    /// Number of rows, dropped ones included; 0 at the end of the set.
    pub taken: usize,
    /// The rows that can be used.
    pub examples: Vec<Example>,
    /// The others.
    pub dropped: Vec<Dropped>,
}

impl Examples {
    /// Opens a set at its first example.
    ///
    /// # Errors
    /// Fails if the files of the set cannot be read, or if the source has no images in files.
    pub fn open(spec: &DataSpec) -> Result<Self> {
        if let DataSpec::Shapes { set, count, seed } = *spec {
            return Ok(Self(Reader::Drawn { set, seed, count: u64::from(count), next: 0 }));
        }
        match Pairs::open(spec)? {
            Some(pairs) => Ok(Self(Reader::Files { pairs: Box::new(pairs), next: 0 })),
            None => bail!(
                "data.source: {} has no image files to encode. Votes are in the database: submit the run as a job, or \
                 write the votes to a file with export-votes",
                spec.source()
            ),
        }
    }

    /// The next rows, decoded in parallel: at most `count`, and fewer if their images are large.
    ///
    /// # Errors
    /// Fails if a file of the set cannot be read.
    pub fn take(&mut self, count: usize) -> Result<Portion> {
        match &mut self.0 {
            Reader::Drawn { set, seed, count: all, next } => {
                let end = (*next + count as u64).min(*all);
                let examples = sets::draw(*set, *seed, *next..end);
                *next = end;
                Ok(Portion { taken: examples.len(), examples, dropped: Vec::new() })
            }
            Reader::Files { pairs, next } => {
                let (mut read, mut bytes) = (Vec::new(), 0);
                for pair in pairs.by_ref().take(count) {
                    let pair = pair?;
                    bytes += decoded_bytes(&pair.winner) + pair.loser.as_deref().map_or(0, decoded_bytes);
                    read.push(pair);
                    if bytes >= PORTION_BYTES {
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

    /// Skips at most `count` rows. Returns how many there were.
    ///
    /// # Errors
    /// Fails if a file of the set cannot be read.
    pub(super) fn skip(&mut self, count: usize) -> Result<usize> {
        match &mut self.0 {
            Reader::Drawn { count: all, next, .. } => {
                let end = (*next + count as u64).min(*all);
                let skipped = (end - *next) as usize;
                *next = end;
                Ok(skipped)
            }
            Reader::Files { pairs, next } => {
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

    /// Counts of the rows read so far. Rows with damaged images count as pairs: they are dropped after reading.
    pub(crate) fn report(&self) -> ReadReport {
        match &self.0 {
            Reader::Drawn { next, .. } => ReadReport { rows: *next, pairs: *next, ..ReadReport::default() },
            Reader::Files { pairs, .. } => pairs.report().clone(),
        }
    }
}

/// Decodes a pair.
fn example(row: u64, pair: PreferencePair) -> Result<Example, Dropped> {
    let (winner, loser) = decode_pair(&pair)?;
    Ok(Example { row, caption: pair.prompt, winner, loser, source: pair.source, list: pair.list })
}
