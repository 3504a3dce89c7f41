//! The CLIP that a spec names, fetched from the hub if need be.

use anyhow::{Context, Error, Result};
use catalogue::clip::{ClipSource, find_clip};
use diffusion::layout::CLIP;
use diffusion::part_folders::PartFolders;
use diffusion::weights::shard_names;
use evaluation::clip::files::ClipFiles;
use hub::{Hub, HubSettings, RepoType};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// The folders of a model with the CLIP of a spec; unchanged if the spec names none.
///
/// # Errors
/// Fails if there is no such CLIP, or if it cannot be fetched.
pub fn with_clip(
    folders: PartFolders,
    name: Option<&str>,
    models: &Path,
    hub: &HubSettings,
) -> Result<PartFolders> {
    let Some(name) = name else { return Ok(folders) };
    let folder = match find_clip(models, name).map_err(Error::msg).context("clip")? {
        ClipSource::Folder(folder) => folder,
        ClipSource::Repository(name) => {
            let snapshot = Hub::new(hub)?.snapshot(RepoType::Model, &name, "main");
            let snapshot = snapshot.with_context(|| {
                format!("clip: there is no folder {name:?}, so it is a repository of the hub")
            })?;
            clip_files(&snapshot.names, &mut |file| snapshot.fetch(file))
                .with_context(|| format!("clip: {name}"))?;
            snapshot.folder
        }
    };
    Ok(folders.with_part(CLIP, folder))
}

/// The files of a CLIP among `names`: names, and paths as `locate` returns them.
///
/// # Errors
/// Fails if the names are not those of a CLIP, or if `locate` fails.
pub fn clip_files(
    names: &BTreeSet<String>,
    locate: &mut dyn FnMut(&str) -> Result<PathBuf>,
) -> Result<Vec<(String, PathBuf)>> {
    let mut found = Vec::new();
    for name in ClipFiles::among(names).map_err(Error::msg)? {
        let path = locate(&name)?;
        if name.contains(".index.") {
            for shard in shard_names(&path)? {
                let path = locate(&shard)?;
                found.push((shard, path));
            }
        }
        found.push((name, path));
    }
    Ok(found)
}
