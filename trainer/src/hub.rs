//! Repositories of the hub, by the crate `hf-hub`, in the cache that Python's tools share. The crate reads no token and
//! no wish to stay offline from the environment, and believes every download: that is done here.

mod silence;

use crate::report::Progress;
use anyhow::{Context, Result, bail, ensure};
use clap::Args;
pub(crate) use hf_hub::RepoType;
use hf_hub::api::sync::{Api, ApiBuilder, ApiError};
use hf_hub::{Cache, Repo};
use sha2::{Digest, Sha256};
use silence::{Event, unless_silent};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A connection that breaks is taken up again so often, where it broke.
const RETRIES: usize = 5;
/// Folders in folders that are looked through for a repository's files.
const LEVELS: usize = 4;
/// Seconds without a byte that are borne unless told otherwise: as long as a loaded mirror may take to begin.
const PATIENCE: u64 = 60;
/// Progress is told in these.
const MEBIBYTE: usize = 1 << 20;

/// The variables by which tools of the hub are set, each also a flag.
#[derive(Clone, Debug, Args)]
pub(crate) struct HubSettings {
    /// Folder of the hub's token and cache.
    #[arg(long, env = "HF_HOME", help_heading = "The hub")]
    hf_home: Option<PathBuf>,
    /// Folder of the cache, where it is not `hub` in HF_HOME.
    #[arg(long, env = "HF_HUB_CACHE", help_heading = "The hub")]
    hf_hub_cache: Option<PathBuf>,
    /// The hub's address, for a mirror.
    #[arg(long, env = "HF_ENDPOINT", help_heading = "The hub")]
    hf_endpoint: Option<String>,
    /// The token for what is not for everybody; else the one of `huggingface-cli login`.
    #[arg(long, env = "HF_TOKEN", hide_env_values = true, help_heading = "The hub")]
    hf_token: Option<String>,
    /// Ask nothing of the network: use what is in the cache (1, true, yes, on).
    #[arg(long, env = "HF_HUB_OFFLINE", num_args = 0..=1, default_missing_value = "1", help_heading = "The hub")]
    hf_hub_offline: Option<String>,
    /// Seconds without a byte after which a download is given up.
    #[arg(
        long,
        env = "HF_HUB_DOWNLOAD_TIMEOUT",
        default_value_t = PATIENCE,
        value_parser = clap::value_parser!(u64).range(1..=3600),
        help_heading = "The hub"
    )]
    hf_hub_download_timeout: u64,
}

impl HubSettings {
    fn is_offline(&self) -> bool {
        let wish = self.hf_hub_offline.as_deref().unwrap_or_default().to_ascii_lowercase();
        ["1", "true", "yes", "on"].contains(&wish.as_str())
    }

    fn cache(&self) -> Cache {
        match (&self.hf_hub_cache, &self.hf_home) {
            (Some(cache), _) if !cache.as_os_str().is_empty() => Cache::new(cache.clone()),
            (_, Some(home)) if !home.as_os_str().is_empty() => Cache::new(home.join("hub")),
            _ => Cache::default(),
        }
    }
}

/// The hub, or what is cached of it.
pub(crate) struct Hub {
    /// None where the network is not to be asked.
    api: Option<Api>,
    cache: Cache,
    patience: Duration,
}

/// A repository at one commit.
pub(crate) struct Snapshot {
    name: String,
    pub(crate) commit: String,
    /// Its files.
    pub(crate) names: BTreeSet<String>,
    remote: Option<(Api, Repo)>,
    /// Where they lie once they are fetched.
    pub(crate) folder: PathBuf,
    patience: Duration,
}

impl Hub {
    pub(crate) fn new(settings: &HubSettings) -> Result<Self> {
        let cache = settings.cache();
        let api = if settings.is_offline() { None } else { Some(api(settings, &cache)?) };
        Ok(Self { api, cache, patience: Duration::from_secs(settings.hf_hub_download_timeout) })
    }

    /// What a repository of a kind has at a revision: its commit and its files.
    pub(crate) fn snapshot(&self, kind: RepoType, name: &str, revision: &str) -> Result<Snapshot> {
        let repository = Repo::with_revision(name.to_owned(), kind, revision.to_owned());
        let root = self.cache.path().join(repository.folder_name());
        let place = |commit: &str| root.join("snapshots").join(commit);
        let Some(api) = &self.api else {
            // A branch's commit is noted; a commit stands for itself.
            let noted = fs::read_to_string(root.join("refs").join(revision));
            let commit = noted.map_or_else(|_| revision.to_owned(), |commit| commit.trim().to_owned());
            let folder = place(&commit);
            ensure!(
                folder.is_dir(),
                "{name} at {revision} is not in the cache ({}), and HF_HUB_OFFLINE forbids to fetch it",
                self.cache.path().display()
            );
            let names = names(&folder, LEVELS)?;
            let (name, patience) = (name.to_owned(), self.patience);
            return Ok(Snapshot { name, commit, names, remote: None, folder, patience });
        };
        let asked = api.repo(repository.clone());
        let info = unless_silent(self.patience, move |_| asked.info(), |_| {})
            .map_err(|_| stalled(name, self.patience))?
            .map_err(|error| explain(&error, name, revision))?;
        ensure!(
            info.sha.len() >= 7 && info.sha.chars().all(|c| c.is_ascii_alphanumeric()),
            "{name}: the hub names {:?} as its commit, which is none",
            info.sha
        );
        self.cache.repo(repository).create_ref(&info.sha).context("the hub's cache cannot be written")?;
        let names: BTreeSet<String> = info.siblings.into_iter().map(|file| file.rfilename).collect();
        if let Some(strange) = names.iter().find(|name| !is_inside(name)) {
            bail!("{name}: the hub names a file {strange:?}, which would lie outside of its folder");
        }
        // All files of one commit, whatever is pushed meanwhile.
        let remote = Repo::with_revision(name.to_owned(), kind, info.sha.clone());
        let remote = Some((api.clone(), remote));
        let (name, folder) = (name.to_owned(), place(&info.sha));
        Ok(Snapshot { name, commit: info.sha, names, remote, folder, patience: self.patience })
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
    builder.build().context("no way to the hub")
}

impl Snapshot {
    /// Where a file lies, after it was fetched if need be. What the hub names by its SHA-256 is held to it.
    pub(crate) fn fetch(&self, file: &str) -> Result<PathBuf> {
        let path = self.folder.join(file);
        if path.is_file() {
            return Ok(path);
        }
        let Some((api, repository)) = &self.remote else {
            bail!(
                "{}: {file} is not in the cache, and HF_HUB_OFFLINE forbids to fetch it: do this once without",
                self.name
            );
        };
        let what = format!("{}/{file}", self.name);
        let (remote, asked, mut bar) = (api.repo(repository.clone()), file.to_owned(), Bar::new(file));
        let download = move |reporter| remote.download_with_progress(&asked, reporter);
        let path = unless_silent(self.patience, download, |event| bar.hear(event))
            .map_err(|_| stalled(&what, self.patience))?
            .map_err(|error| explain(&error, &what, &self.commit))?;
        check(&path, file)?;
        Ok(path)
    }
}

/// Holds a fetched file to the SHA-256 that is its name in the cache, where it is one (large files).
fn check(path: &Path, name: &str) -> Result<()> {
    let blob = fs::canonicalize(path).with_context(|| format!("cannot read {}", path.display()))?;
    let wanted = blob.file_name().unwrap_or_default().to_string_lossy().into_owned();
    if wanted.len() != 64 || !wanted.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Ok(());
    }
    let mut hash = Sha256::new();
    std::io::copy(&mut fs::File::open(&blob)?, &mut hash)?;
    if format!("{:x}", hash.finalize()) != wanted {
        fs::remove_file(path).and_then(|()| fs::remove_file(&blob))?;
        bail!("{name} did not arrive as the hub has it (its SHA-256 differs): try again");
    }
    Ok(())
}

fn is_inside(name: &str) -> bool {
    Path::new(name).components().all(|part| matches!(part, std::path::Component::Normal(_)))
}

/// What an error of the hub means.
fn explain(error: &ApiError, what: &str, revision: &str) -> anyhow::Error {
    let text = error.to_string();
    let status = |code: &str| text.contains(&format!("status: {code}"));
    if status("401") || status("403") {
        anyhow::anyhow!(
            "{what}: the hub does not let us in ({text}): set HF_TOKEN to a token that may read it, accept its terms on \
             its page, or look at the name"
        )
    } else if status("404") {
        anyhow::anyhow!(
            "{what}: the hub has no such thing at revision {revision}: look at the name and the revision"
        )
    } else if status("416") {
        anyhow::anyhow!("{what}: a part of it in the cache (*.part) is no beginning of it: remove that file")
    } else {
        anyhow::anyhow!(
            "{what}: {text}; what arrived is kept, and HF_HUB_OFFLINE=1 uses what is in the cache"
        )
    }
}

/// All files below a folder, by their paths in it, through so many levels of folders.
///
/// # Errors
/// A folder that cannot be read.
pub(crate) fn names(folder: &Path, levels: usize) -> Result<BTreeSet<String>> {
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

/// What it means that the hub is silent.
fn stalled(what: &str, patience: Duration) -> anyhow::Error {
    anyhow::anyhow!(
        "{what}: the hub sent nothing for {} s, the connection has stalled: run the same command again, which goes on where \
         this one stood; HF_HUB_DOWNLOAD_TIMEOUT sets how long to wait, HF_ENDPOINT another address, and \
         HF_HUB_OFFLINE=1 uses what is in the cache",
        patience.as_secs()
    )
}

/// A file's way here.
struct Bar {
    name: String,
    bar: Option<Progress>,
    done: usize,
}

impl Bar {
    fn new(name: &str) -> Self {
        Self { name: name.to_owned(), bar: None, done: 0 }
    }

    fn hear(&mut self, event: Event) {
        match event {
            Event::Begun(size) => {
                self.done = 0;
                let name = format!("{} (MiB)", self.name);
                self.bar.get_or_insert_with(|| Progress::new(&name, (size / MEBIBYTE) as u64));
            }
            Event::Arrived(size) => {
                self.done += size;
                if let Some(bar) = &mut self.bar {
                    bar.reach((self.done / MEBIBYTE) as u64);
                }
            }
            Event::Finished => self.bar.iter().for_each(Progress::finish),
        }
    }
}
