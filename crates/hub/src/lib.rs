//! Repositories of the Hugging Face hub, downloaded by `hf-hub` into the cache that Python's tools share. Added here:
//! the token and offline mode from the environment, timeouts, and the check of downloads against their SHA-256.

mod failure;
mod file_names;
mod settings;
mod snapshot;
mod stall;

pub use file_names::file_names;
pub use hf_hub::RepoType;
pub use settings::HubSettings;
pub use snapshot::Snapshot;

use anyhow::{Context, Result, bail, ensure};
use failure::{request_failed, timed_out};
use file_names::is_inside;
use hf_hub::api::sync::Api;
use hf_hub::{Cache, Repo};
use stall::unless_stalled;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Levels of folders that are searched for a repository's files.
const LEVELS: usize = 4;

/// A connection to the hub, or its cache alone.
pub struct Hub {
    /// `None` when offline.
    api: Option<Api>,
    cache: Cache,
    timeout: Duration,
}

impl Hub {
    /// Opens the cache and, unless offline, a connection.
    ///
    /// # Errors
    /// Fails if `HF_ENDPOINT` is not an HTTP address.
    pub fn new(settings: &HubSettings) -> Result<Self> {
        let cache = settings.cache();
        let api = if settings.is_offline() { None } else { Some(settings.api(&cache)?) };
        Ok(Self { api, cache, timeout: settings.timeout() })
    }

    /// A repository at the commit of a revision, with the names of its files.
    ///
    /// # Errors
    /// Fails if the hub has no such repository or revision or does not answer in time, or, when offline, if the cache
    /// has no copy.
    pub fn snapshot(&self, kind: RepoType, name: &str, revision: &str) -> Result<Snapshot> {
        let repository = Repo::with_revision(name.to_owned(), kind, revision.to_owned());
        let root = self.cache.path().join(repository.folder_name());
        match &self.api {
            Some(api) => self.remote_snapshot(api, repository, kind, name, &root),
            None => self.cached_snapshot(name, revision, &root),
        }
    }

    fn cached_snapshot(&self, name: &str, revision: &str, root: &Path) -> Result<Snapshot> {
        // The cache notes the commit of each branch and tag; a revision without a note is a commit.
        let noted = fs::read_to_string(root.join("refs").join(revision));
        let commit = noted.map_or_else(|_| revision.to_owned(), |commit| commit.trim().to_owned());
        let folder = snapshot_folder(root, &commit);
        ensure!(
            folder.is_dir(),
            "{name} at {revision} is not in the cache ({}) and HF_HUB_OFFLINE is set: download it once without",
            self.cache.path().display()
        );
        let names = file_names(&folder, LEVELS)?;
        let (name, timeout) = (name.to_owned(), self.timeout);
        Ok(Snapshot { name, commit, names, remote: None, folder, timeout })
    }

    fn remote_snapshot(
        &self,
        api: &Api,
        repository: Repo,
        kind: RepoType,
        name: &str,
        root: &Path,
    ) -> Result<Snapshot> {
        let remote = api.repo(repository.clone());
        let info = unless_stalled(self.timeout, move |_| remote.info(), |_| {})
            .map_err(|stalled| timed_out(stalled, name, self.timeout))?
            .map_err(|error| request_failed(&error, name, repository.revision()))?;
        ensure!(
            info.sha.len() >= 7 && info.sha.chars().all(|c| c.is_ascii_alphanumeric()),
            "{name}: the hub answered with the commit {:?}, which is not a commit id",
            info.sha
        );
        self.cache.repo(repository).create_ref(&info.sha).context("cannot write the hub's cache")?;
        let names: BTreeSet<String> = info.siblings.into_iter().map(|file| file.rfilename).collect();
        if let Some(name_outside) = names.iter().find(|name| !is_inside(name)) {
            bail!("{name}: the hub lists a file {name_outside:?}, which is outside the repository's folder");
        }
        // All files come from one commit, also if others are pushed during the download.
        let remote = Repo::with_revision(name.to_owned(), kind, info.sha.clone());
        let remote = Some((api.clone(), remote));
        let (name, folder) = (name.to_owned(), snapshot_folder(root, &info.sha));
        Ok(Snapshot { name, commit: info.sha, names, remote, folder, timeout: self.timeout })
    }
}

fn snapshot_folder(root: &Path, commit: &str) -> PathBuf {
    root.join("snapshots").join(commit)
}
