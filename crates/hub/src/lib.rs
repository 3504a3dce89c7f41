//! Repositories of the Hugging Face hub, downloaded by `hf-hub` into the cache that Python's tools share. Added here:
//! the token and offline mode from the environment, timeouts, and the check of downloads against their SHA-256.

mod stall;

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use files::sha256;
pub use hf_hub::RepoType;
use hf_hub::api::sync::{Api, ApiBuilder, ApiError};
use hf_hub::{Cache, Repo};
use process::progress::Progress;
use stall::{Event, unless_stalled};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Times that a broken download resumes.
const RETRIES: usize = 5;
/// Depth of folders that are searched for a repository's files.
const LEVELS: usize = 4;
/// Default timeout in seconds: a loaded mirror may take this long to start.
const TIMEOUT: u64 = 60;
/// The unit of progress.
const MEBIBYTE: usize = 1 << 20;

/// The hub's usual environment variables, each also a flag.
#[derive(Clone, Debug, Args)]
pub struct HubSettings {
    /// Folder of the hub's token and cache.
    #[arg(long, env = "HF_HOME", help_heading = "The hub")]
    hf_home: Option<PathBuf>,
    /// Folder of the cache; `hub` in HF_HOME when absent.
    #[arg(long, env = "HF_HUB_CACHE", help_heading = "The hub")]
    hf_hub_cache: Option<PathBuf>,
    /// Address of a mirror.
    #[arg(long, env = "HF_ENDPOINT", help_heading = "The hub")]
    hf_endpoint: Option<String>,
    /// Token for gated and private repositories; the one of `huggingface-cli login` when absent.
    #[arg(long, env = "HF_TOKEN", hide_env_values = true, help_heading = "The hub")]
    hf_token: Option<String>,
    /// Use the cache only, without network (1, true, yes, on).
    #[arg(long, env = "HF_HUB_OFFLINE", num_args = 0..=1, default_missing_value = "1", help_heading = "The hub")]
    hf_hub_offline: Option<String>,
    /// Seconds without data after which a download times out.
    #[arg(
        long,
        env = "HF_HUB_DOWNLOAD_TIMEOUT",
        default_value_t = TIMEOUT,
        value_parser = clap::value_parser!(u64).range(1..=3600),
        help_heading = "The hub"
    )]
    hf_hub_download_timeout: u64,
}

impl HubSettings {
    fn is_offline(&self) -> bool {
        let value = self.hf_hub_offline.as_deref().unwrap_or_default().to_ascii_lowercase();
        ["1", "true", "yes", "on"].contains(&value.as_str())
    }

    fn cache(&self) -> Cache {
        match (&self.hf_hub_cache, &self.hf_home) {
            (Some(cache), _) if !cache.as_os_str().is_empty() => Cache::new(cache.clone()),
            (_, Some(home)) if !home.as_os_str().is_empty() => Cache::new(home.join("hub")),
            _ => Cache::default(),
        }
    }
}

/// A connection to the hub, or its cache alone.
pub struct Hub {
    /// `None` when offline.
    api: Option<Api>,
    cache: Cache,
    timeout: Duration,
}

/// A repository at one commit.
pub struct Snapshot {
    name: String,
    /// The commit.
    pub commit: String,
    /// Paths of its files.
    pub names: BTreeSet<String>,
    remote: Option<(Api, Repo)>,
    /// The folder into which they are downloaded.
    pub folder: PathBuf,
    timeout: Duration,
}

impl Hub {
    /// Opens the cache and, unless offline, a connection.
    ///
    /// # Errors
    /// Fails if `HF_ENDPOINT` is no address.
    pub fn new(settings: &HubSettings) -> Result<Self> {
        let cache = settings.cache();
        let api = if settings.is_offline() { None } else { Some(api(settings, &cache)?) };
        Ok(Self { api, cache, timeout: Duration::from_secs(settings.hf_hub_download_timeout) })
    }

    /// Commit and file names of a repository at a revision.
    ///
    /// # Errors
    /// Fails if the hub does not know it, does not answer in time, or offline mode finds no copy in the cache.
    pub fn snapshot(&self, kind: RepoType, name: &str, revision: &str) -> Result<Snapshot> {
        let repository = Repo::with_revision(name.to_owned(), kind, revision.to_owned());
        let root = self.cache.path().join(repository.folder_name());
        let place = |commit: &str| root.join("snapshots").join(commit);
        let Some(api) = &self.api else {
            // The cache notes the commit of a branch; a revision that is not noted is a commit itself.
            let noted = fs::read_to_string(root.join("refs").join(revision));
            let commit = noted.map_or_else(|_| revision.to_owned(), |commit| commit.trim().to_owned());
            let folder = place(&commit);
            ensure!(
                folder.is_dir(),
                "{name} at {revision} is not in the cache ({}) and HF_HUB_OFFLINE is set: download it once without",
                self.cache.path().display()
            );
            let names = names(&folder, LEVELS)?;
            let (name, timeout) = (name.to_owned(), self.timeout);
            return Ok(Snapshot { name, commit, names, remote: None, folder, timeout });
        };
        let remote = api.repo(repository.clone());
        let info = unless_stalled(self.timeout, move |_| remote.info(), |_| {})
            .map_err(|_| stalled(name, self.timeout))?
            .map_err(|error| explain(&error, name, revision))?;
        ensure!(
            info.sha.len() >= 7 && info.sha.chars().all(|c| c.is_ascii_alphanumeric()),
            "{name}: the hub answered with the commit {:?}, which is not a commit id",
            info.sha
        );
        self.cache.repo(repository).create_ref(&info.sha).context("cannot write the hub's cache")?;
        let names: BTreeSet<String> = info.siblings.into_iter().map(|file| file.rfilename).collect();
        if let Some(strange) = names.iter().find(|name| !is_inside(name)) {
            bail!(
                "{name}: the hub lists a file {strange:?}, which would lie outside the repository's folder"
            );
        }
        // Files of one commit, also if others are pushed during the download.
        let remote = Repo::with_revision(name.to_owned(), kind, info.sha.clone());
        let remote = Some((api.clone(), remote));
        let (name, folder) = (name.to_owned(), place(&info.sha));
        Ok(Snapshot { name, commit: info.sha, names, remote, folder, timeout: self.timeout })
    }
}

fn api(settings: &HubSettings, cache: &Cache) -> Result<Api> {
    let mut builder = ApiBuilder::from_cache(cache.clone()).with_retries(RETRIES).with_progress(false);
    if let Some(endpoint) = settings.hf_endpoint.as_deref().filter(|endpoint| !endpoint.is_empty()) {
        ensure!(
            endpoint.starts_with("http://") || endpoint.starts_with("https://"),
            "HF_ENDPOINT {endpoint:?}: use an address that begins with https://"
        );
        builder = builder.with_endpoint(endpoint.trim_end_matches('/').to_owned());
    }
    let home = settings.hf_home.as_deref().filter(|home| !home.as_os_str().is_empty());
    let given =
        settings.hf_token.as_deref().map(str::trim).filter(|token| !token.is_empty()).map(str::to_owned);
    let logged_in =
        home.and_then(|home| fs::read_to_string(home.join("token")).ok()).map(|t| t.trim().to_owned());
    if let Some(token) = given.or(logged_in).filter(|token| !token.is_empty()) {
        builder = builder.with_token(Some(token));
    }
    builder.build().context("cannot set up the connection to the hub")
}

impl Snapshot {
    /// The path of a file, downloaded unless it is cached. A file whose SHA-256 the hub states is checked.
    ///
    /// # Errors
    /// Fails if the download fails or stalls, the content differs from its SHA-256, or offline mode lacks the file.
    pub fn fetch(&self, file: &str) -> Result<PathBuf> {
        let path = self.folder.join(file);
        if path.is_file() {
            return Ok(path);
        }
        let Some((api, repository)) = &self.remote else {
            bail!(
                "{}: {file} is not in the cache and HF_HUB_OFFLINE is set: download it once without",
                self.name
            );
        };
        let what = format!("{}/{file}", self.name);
        let (remote, name, mut bar) = (api.repo(repository.clone()), file.to_owned(), DownloadBar::new(file));
        let download = move |reporter| remote.download_with_progress(&name, reporter);
        let path = unless_stalled(self.timeout, download, |event| bar.update(event))
            .map_err(|_| stalled(&what, self.timeout))?
            .map_err(|error| explain(&error, &what, &self.commit))?;
        check(&path, file)?;
        Ok(path)
    }
}

/// Compares a downloaded file with the SHA-256 that is its name in the cache. Only large files are named so.
fn check(path: &Path, name: &str) -> Result<()> {
    let blob = fs::canonicalize(path).with_context(|| format!("cannot read {}", path.display()))?;
    let expected = blob.file_name().unwrap_or_default().to_string_lossy().into_owned();
    if expected.len() != 64 || !expected.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Ok(());
    }
    if sha256::of_file(&blob)? != expected {
        fs::remove_file(path).and_then(|()| fs::remove_file(&blob))?;
        bail!("{name} is damaged: its SHA-256 differs from the hub's. The copy was removed; try again");
    }
    Ok(())
}

fn is_inside(name: &str) -> bool {
    Path::new(name).components().all(|part| matches!(part, std::path::Component::Normal(_)))
}

/// An error with its cause and remedy.
fn explain(error: &ApiError, what: &str, revision: &str) -> anyhow::Error {
    let status = match error {
        ApiError::RequestError(error) => match **error {
            ureq::Error::StatusCode(status) => Some(status),
            _ => None,
        },
        _ => None,
    };
    match status {
        Some(401 | 403) => anyhow::anyhow!(
            "{what}: the hub denies access ({error}): set HF_TOKEN to a token that may read it, accept its terms on its \
             page, or check the name"
        ),
        Some(404) => anyhow::anyhow!(
            "{what}: the hub has no such repository or file at revision {revision}: check the name and the revision"
        ),
        Some(416) => anyhow::anyhow!(
            "{what}: the partial download in the cache (*.part) belongs to another version: remove that file"
        ),
        _ => anyhow::anyhow!(
            "{what}: {error}. The partial download is kept; HF_HUB_OFFLINE=1 uses the cache alone"
        ),
    }
}

/// Relative paths of all files below a folder, down to a depth of `levels` folders.
///
/// # Errors
/// Fails if a folder cannot be read.
pub fn names(folder: &Path, levels: usize) -> Result<BTreeSet<String>> {
    let mut names = BTreeSet::new();
    let mut folders = vec![(folder.to_owned(), 1)];
    while let Some((within, level)) = folders.pop() {
        let entries = fs::read_dir(&within).with_context(|| format!("cannot read {}", within.display()))?;
        for entry in entries {
            let path = entry?.path();
            if path.is_dir() {
                folders.extend((level < levels).then_some((path, level + 1)));
            } else {
                names.extend(path.strip_prefix(folder).ok().and_then(Path::to_str).map(str::to_owned));
            }
        }
    }
    Ok(names)
}

fn stalled(what: &str, timeout: Duration) -> anyhow::Error {
    anyhow::anyhow!(
        "{what}: the download stalled: no data for {} s. Rerun the command to resume; HF_HUB_DOWNLOAD_TIMEOUT sets the \
         timeout, HF_ENDPOINT names a mirror, and HF_HUB_OFFLINE=1 uses the cache alone",
        timeout.as_secs()
    )
}

/// The progress bar of a download.
struct DownloadBar {
    name: String,
    bar: Option<Progress>,
    done: usize,
}

impl DownloadBar {
    fn new(name: &str) -> Self {
        Self { name: name.to_owned(), bar: None, done: 0 }
    }

    fn update(&mut self, event: Event) {
        match event {
            Event::Started(size) => {
                self.done = 0;
                let name = format!("{} (MiB)", self.name);
                self.bar.get_or_insert_with(|| Progress::new(&name, (size / MEBIBYTE) as u64));
            }
            Event::Received(size) => {
                self.done += size;
                if let Some(bar) = &mut self.bar {
                    bar.reach((self.done / MEBIBYTE) as u64);
                }
            }
            Event::Finished => self.bar.iter().for_each(Progress::finish),
        }
    }
}
