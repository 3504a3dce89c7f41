//! One data set, and its pairs as a page of a list.

use crate::disputed::is_disputed;
use bytes::Bytes;
use datasets::listing::{rows_of, spec_of_folder};
use datasets::pair::{PreferencePair, Row};
use datasets::rows::Pairs;
use datasets::votes::JudgedPair;
use domain::api::DatasetSummary;
use domain::data::{DataSpec, ShapesSet};
use domain::dataset::{Dropped, ReadReport, Reason, Source};
use domain::prepare::Manifest;
use shapes::set::{Set, caption, entry};
use std::path::Path;
use store::Artifacts;

/// Pairs listed of a set that is generated on request.
const GENERATED_PAIRS: u32 = 1000;
/// The largest number of pairs that are read for one page.
const MAX_READ: u64 = 5000;
/// The largest number of bytes of images that are read for one page: pairs of files are read with their images.
const MAX_READ_BYTES: usize = 1 << 30;
/// What a reader returns once nobody waits for its result.
const ABANDONED: &str = "nobody waits for these pairs any more";

/// A data set that can be browsed.
#[derive(Clone, Debug)]
pub enum Dataset {
    /// A set of the bundled world.
    Shapes(Set),
    /// Files in a folder.
    Files(DataSpec),
    /// An encoded set. Its pairs are read from the set that was encoded.
    Prepared(Box<Manifest>),
    /// The team's votes.
    Votes(Vec<JudgedPair>),
    /// The same in a list of sets, which does not read the votes: their number.
    CountedVotes(u64),
    /// A folder that cannot be read, and the reason.
    Unreadable(String),
}

/// Which pairs of a set to return.
#[derive(Clone, Debug, Default)]
pub struct PairQuery {
    /// Index of the first pair.
    pub from: u64,
    /// The largest number of pairs.
    pub at_most: usize,
    /// Text that the prompt contains, ignoring case.
    pub prompt: Option<String>,
    /// Text that the name of one of the two models contains, ignoring case.
    pub model: Option<String>,
    /// Only pairs of which the bundled world's rule prefers the loser. The artifacts hold the images of votes.
    pub disputed: Option<Artifacts>,
}

/// Pairs with their indices, the index at which the next page starts, and a report of the rows that were read.
pub type PairPage = (Vec<(u64, PreferencePair)>, Option<u64>, ReadReport);

impl Dataset {
    /// The set in a folder; the files in it tell its format.
    pub(crate) fn of_folder(folder: &Path) -> Self {
        let manifest = folder.join("manifest.json");
        if manifest.is_file() {
            let read = std::fs::read(&manifest).map_err(|error| error.to_string());
            return match read.and_then(|text| serde_json::from_slice(&text).map_err(|e| e.to_string())) {
                Ok(manifest) => Self::Prepared(Box::new(manifest)),
                Err(problem) => Self::Unreadable(format!("manifest.json: {problem}")),
            };
        }
        Self::Files(spec_of_folder(folder))
    }

    /// The set's entry in the list of sets.
    #[must_use]
    pub fn summary(&self, name: &str) -> DatasetSummary {
        let (description, rows, problem) = match self {
            Self::Shapes(_) => ("The bundled world, generated on request".to_owned(), None, None),
            Self::Votes(pairs) => ("The team's votes".to_owned(), Some(pairs.len() as u64), None),
            Self::CountedVotes(votes) => (format!("The team's votes: {votes} so far"), None, None),
            Self::Prepared(manifest) => {
                let parts = manifest.parts.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
                let [width, height] = manifest.size;
                let source = manifest.data.source();
                let description = format!("Prepared from {source} at {width} x {height}: {parts}");
                (description, Some(manifest.report.rows), None)
            }
            Self::Files(spec) => {
                let what = match spec {
                    DataSpec::PickAPic(_) => "Parquet in the columns of Pick-a-Pic",
                    DataSpec::WebDataset(_) => "WebDataset shards",
                    DataSpec::Images(_) => "Captioned images",
                    DataSpec::Likes(_) => "Liked and disliked images",
                    _ => "A folder of pairs",
                };
                let problem = Pairs::open(spec).err().map(|error| error.to_string());
                (what.to_owned(), rows_of(spec), problem)
            }
            Self::Unreadable(problem) => ("Prepared".to_owned(), None, Some(problem.clone())),
        };
        DatasetSummary { name: name.to_owned(), description, rows, problem, examples: Vec::new() }
    }

    /// The spec that reads the set; none for votes, and for a folder that cannot be read.
    #[must_use]
    pub fn spec(&self) -> Option<DataSpec> {
        match self {
            Self::Shapes(set) => {
                let set = match set {
                    Set::Images => ShapesSet::Images,
                    Set::Centred => ShapesSet::Centred,
                    Set::VanGogh => ShapesSet::VanGogh,
                    Set::Sketch => ShapesSet::Sketch,
                    Set::Winter => ShapesSet::Winter,
                    Set::Quality => ShapesSet::Quality,
                };
                Some(DataSpec::Shapes { set, count: GENERATED_PAIRS, seed: 0 })
            }
            Self::Files(spec) => Some(spec.clone()),
            Self::Prepared(manifest) => Some(manifest.data.clone()),
            Self::Votes(_) | Self::CountedVotes(_) | Self::Unreadable(_) => None,
        }
    }

    /// Pairs in the order of the set. Reads files and blocks: call it on a thread for blocking work. `wanted` is asked
    /// before each pair whether someone still waits for the result.
    ///
    /// # Errors
    /// Fails with the reason if the set cannot be read, or if nobody waits.
    pub fn pairs(&self, query: &PairQuery, wanted: &dyn Fn() -> bool) -> Result<PairPage, String> {
        match self {
            Self::Shapes(set) => generated_pairs(*set, query, wanted),
            Self::Files(spec) => read(spec, query, wanted, |_| false),
            Self::Prepared(manifest) => match &manifest.data {
                DataSpec::Shapes { set, .. } => {
                    let (pairs, next, _) = Self::Shapes(shapes_set(*set)).pairs(query, wanted)?;
                    Ok((pairs, next, manifest.report.clone()))
                }
                spec => {
                    let left_out = |source: &Source| {
                        manifest.left_out.get(&source.file).is_some_and(|rows| rows.contains(&source.row))
                    };
                    let (pairs, next, _) = read(spec, query, wanted, left_out)?;
                    Ok((pairs, next, manifest.report.clone()))
                }
            },
            Self::Votes(pairs) => {
                let rows: Vec<_> = pairs.iter().enumerate().map(|(row, pair)| Ok(vote(row, pair))).collect();
                collect(Pairs::new(rows.into_iter(), None, None), query, wanted, true, |_| false)
            }
            Self::CountedVotes(_) => Err("the votes were not read".to_owned()),
            Self::Unreadable(problem) => Err(problem.clone()),
        }
    }
}

fn read(
    spec: &DataSpec,
    query: &PairQuery,
    wanted: &dyn Fn() -> bool,
    left_out: impl Fn(&Source) -> bool,
) -> Result<PairPage, String> {
    match Pairs::open(spec).map_err(|error| error.to_string())? {
        Some(pairs) => collect(pairs, query, wanted, false, left_out),
        None => Err(format!("the images of {} are not in files here", spec.source())),
    }
}

/// What a page has of the pairs that are read one after the other.
struct Search<'a> {
    query: &'a PairQuery,
    wanted: &'a dyn Fn() -> bool,
    /// In lower case.
    text: String,
    /// In lower case.
    model: String,
    found: Vec<(u64, PreferencePair)>,
    report: ReadReport,
    bytes: usize,
}

impl<'a> Search<'a> {
    fn new(query: &'a PairQuery, wanted: &'a dyn Fn() -> bool) -> Self {
        let text = query.prompt.as_deref().unwrap_or_default().to_lowercase();
        let model = query.model.as_deref().unwrap_or_default().to_lowercase();
        Self { query, wanted, text, model, found: Vec::new(), report: ReadReport::default(), bytes: 0 }
    }

    /// Fails if nobody waits for the page.
    fn go_on(&self) -> Result<(), String> {
        if (self.wanted)() { Ok(()) } else { Err(ABANDONED.to_owned()) }
    }

    /// Whether the page ends before the next pair.
    fn is_full(&self) -> bool {
        let read = self.report.rows == MAX_READ || self.bytes > MAX_READ_BYTES;
        self.found.len() == self.query.at_most || read
    }

    /// Whether a pair is one that the query asks for.
    fn matches(&self, prompt: &str, models: &[Option<String>; 2]) -> bool {
        let by =
            |name: &Option<String>| name.as_deref().is_some_and(|n| n.to_lowercase().contains(&self.model));
        prompt.to_lowercase().contains(&self.text) && (self.model.is_empty() || models.iter().any(by))
    }

    /// Adds a pair whose prompt and models match, if its label is as the query asks.
    fn add(&mut self, index: u64, pair: PreferencePair, are_votes: bool) {
        let wanted = match &self.query.disputed {
            Some(artifacts) => is_disputed(&pair, are_votes.then_some(artifacts)),
            None => true,
        };
        if wanted {
            self.found.push((index, pair));
        }
    }
}

/// One page of a set of the bundled world. Captions are searched, and the found pairs alone are drawn.
fn generated_pairs(set: Set, query: &PairQuery, wanted: &dyn Fn() -> bool) -> Result<PairPage, String> {
    let mut search = Search::new(query, wanted);
    for index in query.from..u64::from(GENERATED_PAIRS) {
        search.go_on()?;
        if search.is_full() {
            return Ok((search.found, Some(index), search.report));
        }
        search.report.count_pair();
        if search.matches(&caption(set, 0, index), &[None, None]) {
            search.add(index, generated(set, 0, index)?, false);
        }
    }
    Ok((search.found, None, search.report))
}

/// One page of pairs. Indices count all pairs of the source, also those that were left out.
fn collect(
    mut pairs: Pairs,
    query: &PairQuery,
    wanted: &dyn Fn() -> bool,
    are_votes: bool,
    left_out: impl Fn(&Source) -> bool,
) -> Result<PairPage, String> {
    let mut search = Search::new(query, wanted);
    let mut next = None;
    for (index, pair) in (0u64..).zip(pairs.by_ref()) {
        search.go_on()?;
        if index < query.from {
            continue;
        }
        let pair = pair.map_err(|error| error.to_string())?;
        if left_out(&pair.source) {
            continue;
        }
        if search.is_full() {
            next = Some(index);
            break;
        }
        search.report.count_pair();
        search.bytes += pair.bytes();
        if search.matches(&pair.prompt, &pair.models) {
            search.add(index, pair, are_votes);
        }
    }
    Ok((search.found, next, pairs.report().clone()))
}

/// The set of the bundled world that a spec names.
#[must_use]
pub fn shapes_set(set: ShapesSet) -> Set {
    match set {
        ShapesSet::Images => Set::Images,
        ShapesSet::Centred => Set::Centred,
        ShapesSet::VanGogh => Set::VanGogh,
        ShapesSet::Sketch => Set::Sketch,
        ShapesSet::Winter => Set::Winter,
        ShapesSet::Quality => Set::Quality,
    }
}

/// An entry of the bundled world as a row of files.
pub(crate) fn generated(set: Set, seed: u64, index: u64) -> Result<PreferencePair, String> {
    let entry = entry(set, seed, index);
    let png = |image: &shapes::Image| image.to_png().map(Bytes::from).map_err(|e| e.to_string());
    Ok(PreferencePair {
        winner: png(&entry.winner)?,
        loser: entry.loser.as_ref().map(png).transpose()?,
        prompt: entry.caption,
        models: [None, None],
        source: Source { file: format!("seed {seed}"), row: index },
        list: None,
    })
}

/// A judged pair as a row, which holds the images' artifact keys in place of their bytes.
fn vote(row: usize, pair: &JudgedPair) -> Row {
    let source = Source { file: "votes".to_owned(), row: row as u64 };
    if pair.is_tie() {
        let detail = "both images are preferred by equally many raters".to_owned();
        return Row::Dropped(Dropped { reason: Reason::Tie, source, rows: 1, detail });
    }
    let winner = usize::from(pair.labels[1] > pair.labels[0]);
    let [winner, loser] = [&pair.images[winner], &pair.images[1 - winner]];
    Row::Pair(PreferencePair {
        prompt: pair.prompt.clone(),
        winner: winner.artifact.clone().into(),
        loser: Some(loser.artifact.clone().into()),
        models: [Some(winner.model.clone()), Some(loser.model.clone())],
        source,
        list: None,
    })
}

#[cfg(test)]
mod tests {
    use super::{ABANDONED, Dataset, PairQuery};
    use datasets::listing::spec_of_folder;
    use shapes::set::{Set, caption};
    use std::cell::Cell;

    /// Reads with `wanted` true for the first `pairs` questions; returns the result and the number of questions.
    fn abandoned_after(dataset: &Dataset, query: &PairQuery, pairs: u32) -> (Result<usize, String>, u32) {
        let asked = Cell::new(0);
        let wanted = || {
            asked.set(asked.get() + 1);
            asked.get() <= pairs
        };
        let found = dataset.pairs(query, &wanted).map(|(found, ..)| found.len());
        (found, asked.get())
    }

    #[test]
    fn reading_stops_once_nobody_waits() {
        let all = PairQuery { at_most: 500, ..PairQuery::default() };
        let drawn = abandoned_after(&Dataset::Shapes(Set::VanGogh), &all, 3);
        assert_eq!(drawn, (Err(ABANDONED.to_owned()), 4));

        let folder = tempfile::tempdir().expect("a folder");
        let image = shapes::set::entry(Set::Images, 0, 0).winner.to_png().expect("a PNG");
        std::fs::write(folder.path().join("a.png"), image).expect("written");
        let line = serde_json::json!({ "prompt": "a", "winner": "a.png", "loser": "a.png" }).to_string();
        std::fs::write(folder.path().join("pairs.jsonl"), format!("{line}\n").repeat(20)).expect("written");
        let files = Dataset::Files(spec_of_folder(folder.path()));
        assert_eq!(abandoned_after(&files, &all, u32::MAX).0, Ok(20));
        assert_eq!(abandoned_after(&files, &all, 3), (Err(ABANDONED.to_owned()), 4));
        // Also while it passes over the pairs before the page.
        let last = PairQuery { from: 19, ..all };
        assert_eq!(abandoned_after(&files, &last, 3), (Err(ABANDONED.to_owned()), 4));
    }

    #[test]
    fn a_page_of_the_bundled_world_has_the_pairs_whose_captions_match() {
        let set = Dataset::Shapes(Set::Quality);
        let query = PairQuery { from: 5, at_most: 3, prompt: Some("RED".to_owned()), ..PairQuery::default() };
        let (found, next, report) = set.pairs(&query, &|| true).expect("a page");
        let expected: Vec<u64> =
            (5..1000).filter(|&index| caption(Set::Quality, 0, index).contains("red")).collect();
        assert_eq!(found.iter().map(|(index, _)| *index).collect::<Vec<_>>(), expected[..3]);
        assert_eq!(next, Some(expected[2] + 1));
        assert_eq!(report.rows, expected[2] - 4);
        let entry = shapes::set::entry(Set::Quality, 0, expected[0]);
        assert_eq!(
            (&found[0].1.prompt, &found[0].1.winner[..]),
            (&entry.caption, &entry.winner.to_png().expect("a PNG")[..])
        );
        let far = PairQuery { from: 2000, at_most: 3, ..PairQuery::default() };
        assert_eq!(set.pairs(&far, &|| true).map(|(found, next, _)| (found.len(), next)), Ok((0, None)));
    }
}
