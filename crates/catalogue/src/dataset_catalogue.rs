//! The data sets that can be browsed: the bundled world's, the team's votes, and the sub-folders of the datasets
//! folder.

use crate::dataset::Dataset;
use datasets::pair::PreferencePair;
use datasets::votes::judged_pairs;
use domain::data::VotesSpec;
use shapes::set::Set;
use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use store::{Store, StoreError};

/// The name of the set of the team's votes.
pub const VOTES: &str = "votes";

/// The votes that can be browsed: the newest. Runs and exports have all.
const BROWSED_VOTES: u32 = 1000;

/// Bytes of images cached for the requests that follow a list.
const CACHE_BYTES: usize = 64 << 20;

/// The data sets of a server.
#[derive(Debug)]
pub struct DatasetCatalogue {
    folder: PathBuf,
    cache: Mutex<VecDeque<CachedPair>>,
}

/// A listed pair. A browser requests its images next.
#[derive(Debug)]
struct CachedPair {
    name: String,
    index: u64,
    pair: PreferencePair,
}

impl DatasetCatalogue {
    /// The sets of a datasets folder; the folder may be absent.
    #[must_use]
    pub fn new(folder: &Path) -> Self {
        Self { folder: folder.to_owned(), cache: Mutex::default() }
    }

    /// All sets with their names. The votes are counted, not read.
    ///
    /// # Errors
    /// Fails if the votes cannot be counted.
    pub async fn all(&self, store: &Store) -> Result<Vec<(String, Dataset)>, StoreError> {
        let mut all = self.files_and_shapes();
        let tallies = store.tallies(VotesSpec::default().question).await?;
        let votes = tallies.iter().map(|tally| tally.total().unsigned_abs()).sum();
        let place = Set::ALL.len();
        all.insert(place, (VOTES.to_owned(), Dataset::CountedVotes(votes)));
        Ok(all)
    }

    fn files_and_shapes(&self) -> Vec<(String, Dataset)> {
        let mut all: Vec<_> =
            Set::ALL.iter().map(|&(set, name)| (format!("shapes-{name}"), Dataset::Shapes(set))).collect();
        let entries = std::fs::read_dir(&self.folder).into_iter().flatten().flatten();
        let mut folders: Vec<_> = entries.map(|entry| entry.path()).filter(|path| path.is_dir()).collect();
        folders.sort_unstable();
        for folder in folders {
            let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if !name.starts_with('.') && name != VOTES && all.iter().all(|(known, _)| *known != name) {
                all.push((name, Dataset::of_folder(&folder)));
            }
        }
        all
    }

    /// The set with this name.
    ///
    /// # Errors
    /// Fails if the votes cannot be read from the database.
    pub async fn find(&self, store: &Store, name: &str) -> Result<Option<Dataset>, StoreError> {
        if name == VOTES {
            return votes(store).await.map(Some);
        }
        Ok(self.files_and_shapes().into_iter().find(|(known, _)| known == name).map(|(_, set)| set))
    }

    /// Caches pairs for the requests of their images that follow. Pairs of votes are not cached: the next vote may change
    /// their winners and their order.
    pub fn cache(&self, name: &str, pairs: &[(u64, PreferencePair)]) {
        if name == VOTES {
            return;
        }
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        for (index, pair) in pairs {
            cache.retain(|k| k.index != *index || k.name != name);
            cache.push_back(CachedPair { name: name.to_owned(), index: *index, pair: pair.clone() });
        }
        let mut bytes: usize = cache.iter().map(|k| k.pair.bytes()).sum();
        while bytes > CACHE_BYTES {
            let Some(oldest) = cache.pop_front() else { break };
            bytes -= oldest.pair.bytes();
        }
    }

    /// A cached pair.
    #[must_use]
    pub fn cached(&self, name: &str, index: u64) -> Option<PreferencePair> {
        let cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        cache.iter().find(|k| k.index == index && k.name == name).map(|k| k.pair.clone())
    }
}

/// The pairs of the newest votes: a page does not wait for a million of them.
async fn votes(store: &Store) -> Result<Dataset, StoreError> {
    let spec = VotesSpec::default();
    Ok(Dataset::Votes(judged_pairs(&store.newest_judged_votes(spec.question, BROWSED_VOTES).await?, &spec)))
}
