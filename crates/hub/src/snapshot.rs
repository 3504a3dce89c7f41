//! A repository at one commit, and the download of its files.

use crate::failure::{request_failed, timed_out};
use crate::stall::{Event, unless_stalled};
use anyhow::{Context, Result, bail};
use files::sha256;
use hf_hub::Repo;
use hf_hub::api::sync::Api;
use process::progress::Progress;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The unit of a download's progress.
const MEBIBYTE: usize = 1 << 20;

/// A repository at one commit.
pub struct Snapshot {
    pub(crate) name: String,
    /// Id of the commit.
    pub commit: String,
    /// Paths of the repository's files.
    pub names: BTreeSet<String>,
    /// Where files are downloaded from; `None` when offline.
    pub(crate) remote: Option<(Api, Repo)>,
    /// The folder into which files are downloaded.
    pub folder: PathBuf,
    pub(crate) timeout: Duration,
}

impl Snapshot {
    /// The path of a file, which is downloaded unless it is in the cache. A file whose SHA-256 the hub states is
    /// checked.
    ///
    /// # Errors
    /// Fails if the download fails or stalls, if the content differs from its SHA-256, or if the file is not in the
    /// cache and the hub is offline.
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
            .map_err(|stalled| timed_out(stalled, &what, self.timeout))?
            .map_err(|error| request_failed(&error, &what, &self.commit))?;
        check_digest(&path, file)?;
        Ok(path)
    }
}

/// Compares a downloaded file with its SHA-256. The cache names large files by it, and other files otherwise.
fn check_digest(path: &Path, name: &str) -> Result<()> {
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

/// The progress bar of a download.
struct DownloadBar {
    name: String,
    bar: Option<Progress>,
    received: usize,
}

impl DownloadBar {
    fn new(name: &str) -> Self {
        Self { name: name.to_owned(), bar: None, received: 0 }
    }

    fn update(&mut self, event: Event) {
        match event {
            Event::Started(size) => {
                self.received = 0;
                let name = format!("{} (MiB)", self.name);
                self.bar.get_or_insert_with(|| Progress::new(&name, (size / MEBIBYTE) as u64));
            }
            Event::Received(size) => {
                self.received += size;
                if let Some(bar) = &mut self.bar {
                    bar.reach((self.received / MEBIBYTE) as u64);
                }
            }
            Event::Finished => self.bar.iter().for_each(Progress::finish),
        }
    }
}
