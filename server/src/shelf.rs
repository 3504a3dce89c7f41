//! The sets that can be looked at: the bundled world's, the team's votes, and the folders of the datasets folder.

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

/// Entries of a drawn set that are shown: there is no end of them.
const DRAWN: u64 = 1000;
/// Pairs read through for one answer, at most.
const READ_THROUGH: u64 = 5000;
/// Bytes of images kept for the requests that follow a list.
const KEPT: usize = 64 << 20;

/// It.
#[derive(Debug)]
pub(crate) struct Shelf {
    folder: PathBuf,
    kept: Mutex<VecDeque<Kept>>,
}

/// A pair that was listed: its images are asked for next.
#[derive(Debug)]
struct Kept {
    name: String,
    index: u64,
    pair: PreferencePair,
}

/// A set.
#[derive(Clone, Debug)]
pub(crate) enum Shelved {
    Drawn(Set),
    Files(DataSpec),
    Prepared(Box<Manifest>),
    Votes(Vec<JudgedPair>),
    Unreadable(String),
}

/// Which pairs of a set.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wanted {
    pub(crate) from: u64,
    pub(crate) at_most: usize,
    pub(crate) prompt: Option<String>,
    pub(crate) model: Option<String>,
}

/// Pairs with their places, where to go on, and what was read for them.
pub(crate) type Found = (Vec<(u64, PreferencePair)>, Option<u64>, ReadReport);

impl Shelf {
    pub(crate) fn new(folder: &Path) -> Self {
        Self { folder: folder.to_owned(), kept: Mutex::default() }
    }

    /// All sets by name.
    pub(crate) async fn all(&self, store: &Store) -> Result<Vec<(String, Shelved)>, StoreError> {
        let mut all: Vec<_> =
            Set::ALL.iter().map(|&(set, name)| (format!("shapes-{name}"), Shelved::Drawn(set))).collect();
        all.push(("votes".to_owned(), votes(store).await?));
        let entries = std::fs::read_dir(&self.folder).into_iter().flatten().flatten();
        let mut folders: Vec<_> = entries.map(|entry| entry.path()).filter(|path| path.is_dir()).collect();
        folders.sort_unstable();
        for folder in folders {
            let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if !name.starts_with('.') && all.iter().all(|(known, _)| *known != name) {
                all.push((name, shelved(&folder)));
            }
        }
        Ok(all)
    }

    /// The set of a name.
    pub(crate) async fn find(&self, store: &Store, name: &str) -> Result<Option<Shelved>, StoreError> {
        Ok(self.all(store).await?.into_iter().find(|(known, _)| known == name).map(|(_, set)| set))
    }

    /// Keeps pairs for those who ask for their images.
    pub(crate) fn keep(&self, name: &str, pairs: &[(u64, PreferencePair)]) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        for (index, pair) in pairs {
            kept.retain(|k| k.index != *index || k.name != name);
            kept.push_back(Kept { name: name.to_owned(), index: *index, pair: pair.clone() });
        }
        let mut bytes: usize = kept.iter().map(|k| k.pair.winner.len() + k.pair.loser.len()).sum();
        while bytes > KEPT {
            let Some(oldest) = kept.pop_front() else { break };
            bytes -= oldest.pair.winner.len() + oldest.pair.loser.len();
        }
    }

    /// A pair that was kept.
    pub(crate) fn kept(&self, name: &str, index: u64) -> Option<PreferencePair> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.iter().find(|k| k.index == index && k.name == name).map(|k| k.pair.clone())
    }
}

async fn votes(store: &Store) -> Result<Shelved, StoreError> {
    let spec = VotesSpec::default();
    Ok(Shelved::Votes(judged_pairs(&store.judged_votes(spec.question).await?, &spec)))
}

/// What a folder is, by what lies in it.
fn shelved(folder: &Path) -> Shelved {
    let path = folder.to_string_lossy().into_owned();
    let manifest = folder.join("manifest.json");
    if manifest.is_file() {
        let read = std::fs::read(&manifest).map_err(|error| error.to_string());
        return match read.and_then(|text| serde_json::from_slice(&text).map_err(|e| e.to_string())) {
            Ok(manifest) => Shelved::Prepared(Box::new(manifest)),
            Err(problem) => Shelved::Unreadable(format!("manifest.json: {problem}")),
        };
    }
    let has = |ending: &str| {
        [folder.to_owned(), folder.join("data")].iter().any(|folder| {
            let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
            entries.map(|entry| entry.path()).any(|path| path.extension().is_some_and(|e| e == ending))
        })
    };
    if has("parquet") {
        Shelved::Files(DataSpec::PickAPic(PickAPicSpec { folder: path, ..PickAPicSpec::default() }))
    } else if has("tar") {
        Shelved::Files(DataSpec::WebDataset(FolderSpec { folder: path, ..FolderSpec::default() }))
    } else {
        Shelved::Files(DataSpec::Folder(FolderSpec { folder: path, ..FolderSpec::default() }))
    }
}

impl Shelved {
    pub(crate) fn summary(&self, name: &str) -> DatasetSummary {
        let (description, rows, problem) = match self {
            Self::Drawn(_) => ("The bundled world, drawn as many as asked for".to_owned(), None, None),
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

    /// Pairs in the order of training. Takes as long as reading them: not for the async threads.
    pub(crate) fn pairs(&self, wanted: &Wanted) -> Result<Found, String> {
        match self {
            Self::Drawn(set) => {
                let pairs = (0..DRAWN).skip(usize::try_from(wanted.from).unwrap_or(usize::MAX));
                let set = *set;
                Ok(search(pairs.map(|index| Ok((index, drawn(set, index)?))), wanted)?)
            }
            Self::Files(spec) => read(spec, wanted, |_| false),
            Self::Prepared(manifest) => match &manifest.data {
                DataSpec::Shapes { set, .. } => {
                    let name = serde_json::to_value(set).map_err(|error| error.to_string())?;
                    let set = Set::ALL.iter().find(|(_, known)| name == *known);
                    let (set, _) =
                        set.ok_or_else(|| "is of an unknown set of the bundled world".to_owned())?;
                    let (pairs, next, _) = Self::Drawn(*set).pairs(wanted)?;
                    Ok((pairs, next, manifest.report.clone()))
                }
                spec => {
                    let left_out = |source: &Source| {
                        manifest.left_out.get(&source.file).is_some_and(|rows| rows.contains(&source.row))
                    };
                    let (pairs, next, _) = read(spec, wanted, left_out)?;
                    Ok((pairs, next, manifest.report.clone()))
                }
            },
            Self::Votes(pairs) => {
                let rows: Vec<_> = pairs.iter().enumerate().map(|(row, pair)| Ok(vote(row, pair))).collect();
                collect(Pairs::new(rows.into_iter(), None, None), wanted, |_| false)
            }
            Self::Unreadable(problem) => Err(problem.clone()),
        }
    }
}

fn read(spec: &DataSpec, wanted: &Wanted, left_out: impl Fn(&Source) -> bool) -> Result<Found, String> {
    match Pairs::open(spec).map_err(|error| error.to_string())? {
        Some(pairs) => collect(pairs, wanted, left_out),
        None => Err(format!("the images of {} lie elsewhere", spec.source())),
    }
}

/// Places are those of the source, pairs that were left out counted.
fn collect(mut pairs: Pairs, wanted: &Wanted, left_out: impl Fn(&Source) -> bool) -> Result<Found, String> {
    let indexed = (0u64..).zip(pairs.by_ref());
    let after = indexed.skip(usize::try_from(wanted.from).unwrap_or(usize::MAX));
    let after = after.filter(|(_, pair)| !pair.as_ref().is_ok_and(|pair| left_out(&pair.source)));
    let (found, next, _) =
        search(after.map(|(index, pair)| Ok((index, pair.map_err(|e| e.to_string())?))), wanted)?;
    Ok((found, next, pairs.report().clone()))
}

fn search(
    pairs: impl Iterator<Item = Result<(u64, PreferencePair), String>>,
    wanted: &Wanted,
) -> Result<Found, String> {
    let text = wanted.prompt.as_deref().unwrap_or_default().to_lowercase();
    let model = wanted.model.as_deref().unwrap_or_default().to_lowercase();
    let mut report = ReadReport::default();
    let mut found = Vec::new();
    for pair in pairs {
        let (index, pair) = pair?;
        if found.len() == wanted.at_most || report.rows == READ_THROUGH {
            return Ok((found, Some(index), report));
        }
        report.keep();
        let by = |name: &Option<String>| name.as_deref().is_some_and(|n| n.to_lowercase().contains(&model));
        if pair.prompt.to_lowercase().contains(&text) && (model.is_empty() || pair.models.iter().any(by)) {
            found.push((index, pair));
        }
    }
    Ok((found, None, report))
}

fn drawn(set: Set, index: u64) -> Result<PreferencePair, String> {
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

/// A vote as a row. The bytes stand for the images: their artifacts.
fn vote(row: usize, pair: &JudgedPair) -> Row {
    let source = Source { file: "votes".to_owned(), row: row as u64 };
    if pair.is_tie() {
        let detail = "as many raters prefer either image".to_owned();
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
