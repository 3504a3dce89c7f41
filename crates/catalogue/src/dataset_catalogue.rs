//! Data sets that can be browsed: the bundled world's, the team's votes, and the sub-folders of the datasets folder.

use bytes::Bytes;
use datasets::listing::rows_of;
use datasets::pair::{PreferencePair, Row};
use datasets::rows::Pairs;
use datasets::votes::{JudgedPair, judged_pairs};
use domain::api::DatasetSummary;
use domain::data::{DataSpec, FolderSpec, PickAPicSpec, VotesSpec};
use domain::dataset::{Dropped, ReadReport, Reason, Source};
use domain::prepare::Manifest;
use shapes::set::{Set, entry};
use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use store::{Store, StoreError};

/// Pairs shown of a set that is generated on request.
const DRAWN: u64 = 1000;
/// Pairs read for one answer, at most.
const READ_THROUGH: u64 = 5000;
/// Bytes of images cached for the requests that follow a list.
const CACHE_BYTES: usize = 64 << 20;

/// The data sets of a server.
#[derive(Debug)]
pub struct DatasetCatalogue {
    folder: PathBuf,
    cache: Mutex<VecDeque<CachedPair>>,
}

/// A pair that was listed: a browser requests its images next.
#[derive(Debug)]
struct CachedPair {
    name: String,
    index: u64,
    pair: PreferencePair,
}

/// A data set that can be browsed.
#[derive(Clone, Debug)]
pub enum Dataset {
    /// A set of the bundled world.
    Shapes(Set),
    /// Files in a folder.
    Files(DataSpec),
    /// An encoded set; its pairs are read from its source.
    Prepared(Box<Manifest>),
    /// The team's votes.
    Votes(Vec<JudgedPair>),
    /// A folder that cannot be read, with the reason.
    Unreadable(String),
}

/// Which pairs of a set to return.
#[derive(Clone, Debug, Default)]
pub struct PairQuery {
    /// The first index.
    pub from: u64,
    /// The largest number of pairs.
    pub at_most: usize,
    /// Text that the prompt contains, whatever its case.
    pub prompt: Option<String>,
    /// Text that the name of one of the two models contains, whatever its case.
    pub model: Option<String>,
}

/// Pairs with their indices, the index of the next page, and the account of the rows that were read.
pub type PairPage = (Vec<(u64, PreferencePair)>, Option<u64>, ReadReport);

impl DatasetCatalogue {
    /// The sets of a datasets folder, which may be absent.
    #[must_use]
    pub fn new(folder: &Path) -> Self {
        Self { folder: folder.to_owned(), cache: Mutex::default() }
    }

    /// All sets by name.
    ///
    /// # Errors
    /// Fails if the votes cannot be read from the database.
    pub async fn all(&self, store: &Store) -> Result<Vec<(String, Dataset)>, StoreError> {
        let mut all: Vec<_> =
            Set::ALL.iter().map(|&(set, name)| (format!("shapes-{name}"), Dataset::Shapes(set))).collect();
        all.push(("votes".to_owned(), votes(store).await?));
        let entries = std::fs::read_dir(&self.folder).into_iter().flatten().flatten();
        let mut folders: Vec<_> = entries.map(|entry| entry.path()).filter(|path| path.is_dir()).collect();
        folders.sort_unstable();
        for folder in folders {
            let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if !name.starts_with('.') && all.iter().all(|(known, _)| *known != name) {
                all.push((name, dataset_of(&folder)));
            }
        }
        Ok(all)
    }

    /// The set of a name.
    ///
    /// # Errors
    /// Fails if the votes cannot be read from the database.
    pub async fn find(&self, store: &Store, name: &str) -> Result<Option<Dataset>, StoreError> {
        Ok(self.all(store).await?.into_iter().find(|(known, _)| known == name).map(|(_, set)| set))
    }

    /// Caches pairs for the requests of their images that follow.
    pub fn cache(&self, name: &str, pairs: &[(u64, PreferencePair)]) {
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        for (index, pair) in pairs {
            cache.retain(|k| k.index != *index || k.name != name);
            cache.push_back(CachedPair { name: name.to_owned(), index: *index, pair: pair.clone() });
        }
        let mut bytes: usize = cache.iter().map(|k| k.pair.winner.len() + k.pair.loser.len()).sum();
        while bytes > CACHE_BYTES {
            let Some(oldest) = cache.pop_front() else { break };
            bytes -= oldest.pair.winner.len() + oldest.pair.loser.len();
        }
    }

    /// A cached pair.
    #[must_use]
    pub fn cached(&self, name: &str, index: u64) -> Option<PreferencePair> {
        let cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        cache.iter().find(|k| k.index == index && k.name == name).map(|k| k.pair.clone())
    }
}

async fn votes(store: &Store) -> Result<Dataset, StoreError> {
    let spec = VotesSpec::default();
    Ok(Dataset::Votes(judged_pairs(&store.judged_votes(spec.question).await?, &spec)))
}

/// The kind of a folder, by the files in it.
fn dataset_of(folder: &Path) -> Dataset {
    let path = folder.to_string_lossy().into_owned();
    let manifest = folder.join("manifest.json");
    if manifest.is_file() {
        let read = std::fs::read(&manifest).map_err(|error| error.to_string());
        return match read.and_then(|text| serde_json::from_slice(&text).map_err(|e| e.to_string())) {
            Ok(manifest) => Dataset::Prepared(Box::new(manifest)),
            Err(problem) => Dataset::Unreadable(format!("manifest.json: {problem}")),
        };
    }
    let has = |ending: &str| {
        [folder.to_owned(), folder.join("data")].iter().any(|folder| {
            let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
            entries.map(|entry| entry.path()).any(|path| path.extension().is_some_and(|e| e == ending))
        })
    };
    if has("parquet") {
        Dataset::Files(DataSpec::PickAPic(PickAPicSpec { folder: path, ..PickAPicSpec::default() }))
    } else if has("tar") {
        Dataset::Files(DataSpec::WebDataset(FolderSpec { folder: path, ..FolderSpec::default() }))
    } else {
        Dataset::Files(DataSpec::Folder(FolderSpec { folder: path, ..FolderSpec::default() }))
    }
}

impl Dataset {
    /// The entry of the list of sets.
    #[must_use]
    pub fn summary(&self, name: &str) -> DatasetSummary {
        let (description, rows, problem) = match self {
            Self::Shapes(_) => ("The bundled world, generated on request".to_owned(), None, None),
            Self::Votes(pairs) => ("The team's votes".to_owned(), Some(pairs.len() as u64), None),
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
                    _ => "A folder of pairs",
                };
                let problem = Pairs::open(spec).err().map(|error| error.to_string());
                (what.to_owned(), rows_of(spec), problem)
            }
            Self::Unreadable(problem) => ("Prepared".to_owned(), None, Some(problem.clone())),
        };
        DatasetSummary { name: name.to_owned(), description, rows, problem }
    }

    /// Pairs in the order of training. Reads files: call it off the async threads.
    ///
    /// # Errors
    /// Fails with a sentence for people if the set cannot be read.
    pub fn pairs(&self, query: &PairQuery) -> Result<PairPage, String> {
        match self {
            Self::Shapes(set) => {
                let pairs = (0..DRAWN).skip(usize::try_from(query.from).unwrap_or(usize::MAX));
                let set = *set;
                Ok(search(pairs.map(|index| Ok((index, generated(set, index)?))), query)?)
            }
            Self::Files(spec) => read(spec, query, |_| false),
            Self::Prepared(manifest) => match &manifest.data {
                DataSpec::Shapes { set, .. } => {
                    let name = serde_json::to_value(set).map_err(|error| error.to_string())?;
                    let set = Set::ALL.iter().find(|(_, known)| name == *known);
                    let (set, _) =
                        set.ok_or_else(|| "is of an unknown set of the bundled world".to_owned())?;
                    let (pairs, next, _) = Self::Shapes(*set).pairs(query)?;
                    Ok((pairs, next, manifest.report.clone()))
                }
                spec => {
                    let left_out = |source: &Source| {
                        manifest.left_out.get(&source.file).is_some_and(|rows| rows.contains(&source.row))
                    };
                    let (pairs, next, _) = read(spec, query, left_out)?;
                    Ok((pairs, next, manifest.report.clone()))
                }
            },
            Self::Votes(pairs) => {
                let rows: Vec<_> = pairs.iter().enumerate().map(|(row, pair)| Ok(vote(row, pair))).collect();
                collect(Pairs::new(rows.into_iter(), None, None), query, |_| false)
            }
            Self::Unreadable(problem) => Err(problem.clone()),
        }
    }
}

fn read(spec: &DataSpec, query: &PairQuery, left_out: impl Fn(&Source) -> bool) -> Result<PairPage, String> {
    match Pairs::open(spec).map_err(|error| error.to_string())? {
        Some(pairs) => collect(pairs, query, left_out),
        None => Err(format!("the images of {} lie elsewhere", spec.source())),
    }
}

/// Indices count the source's pairs, those that were left out included.
fn collect(
    mut pairs: Pairs,
    query: &PairQuery,
    left_out: impl Fn(&Source) -> bool,
) -> Result<PairPage, String> {
    let indexed = (0u64..).zip(pairs.by_ref());
    let after = indexed.skip(usize::try_from(query.from).unwrap_or(usize::MAX));
    let after = after.filter(|(_, pair)| !pair.as_ref().is_ok_and(|pair| left_out(&pair.source)));
    let (found, next, _) =
        search(after.map(|(index, pair)| Ok((index, pair.map_err(|e| e.to_string())?))), query)?;
    Ok((found, next, pairs.report().clone()))
}

fn search(
    pairs: impl Iterator<Item = Result<(u64, PreferencePair), String>>,
    query: &PairQuery,
) -> Result<PairPage, String> {
    let text = query.prompt.as_deref().unwrap_or_default().to_lowercase();
    let model = query.model.as_deref().unwrap_or_default().to_lowercase();
    let mut report = ReadReport::default();
    let mut found = Vec::new();
    for pair in pairs {
        let (index, pair) = pair?;
        if found.len() == query.at_most || report.rows == READ_THROUGH {
            return Ok((found, Some(index), report));
        }
        report.count_pair();
        let by = |name: &Option<String>| name.as_deref().is_some_and(|n| n.to_lowercase().contains(&model));
        if pair.prompt.to_lowercase().contains(&text) && (model.is_empty() || pair.models.iter().any(by)) {
            found.push((index, pair));
        }
    }
    Ok((found, None, report))
}

fn generated(set: Set, index: u64) -> Result<PreferencePair, String> {
    let entry = entry(set, 0, index);
    let png = |image: &shapes::Image| image.to_png().map(Bytes::from).map_err(|e| e.to_string());
    Ok(PreferencePair {
        winner: png(&entry.winner)?,
        loser: entry.loser.as_ref().map(png).transpose()?.unwrap_or_default(),
        prompt: entry.caption,
        models: [None, None],
        source: Source { file: "seed 0".to_owned(), row: index },
    })
}

/// A judged pair as a row. In place of the images' bytes it holds their artifact keys.
fn vote(row: usize, pair: &JudgedPair) -> Row {
    let source = Source { file: "votes".to_owned(), row: row as u64 };
    if pair.is_tie() {
        let detail = "each image is preferred by as many raters".to_owned();
        return Row::Dropped(Dropped { reason: Reason::Tie, source, rows: 1, detail });
    }
    let winner = usize::from(pair.labels[1] > pair.labels[0]);
    let [winner, loser] = [&pair.images[winner], &pair.images[1 - winner]];
    Row::Pair(PreferencePair {
        prompt: pair.prompt.clone(),
        winner: winner.artifact.clone().into(),
        loser: loser.artifact.clone().into(),
        models: [Some(winner.model.clone()), Some(loser.model.clone())],
        source,
    })
}
