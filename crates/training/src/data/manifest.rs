//! The manifest of an encoded set: the last file that is written, and the list of all others.

use super::key::EncodedPart;
use super::shard;
use anyhow::{Context, Result, bail, ensure};
use diffusion::layout::CLIP;
use diffusion::part_folders::PartFolders;
use domain::prepare::{ImageSpec, Manifest, ManifestPart};
use files::write_atomically;
use std::collections::BTreeSet;
use std::path::Path;

const MANIFEST: &str = "manifest.json";
/// Ending of shard files.
const ENDING: &str = ".safetensors";

/// File name of a part of shard `number`.
pub(super) fn shard_name(part: EncodedPart, number: usize) -> String {
    format!("{}-{number:05}{ENDING}", part.name())
}

/// Reads the manifest of a prepared set.
///
/// # Errors
/// Fails if the manifest is missing or not valid.
pub(super) fn read(folder: &Path) -> Result<Manifest> {
    let file = folder.join(MANIFEST);
    let text = std::fs::read_to_string(&file).with_context(|| {
        format!("cannot read {}: name the folder of a set that prepare has finished", file.display())
    })?;
    serde_json::from_str(&text).with_context(|| format!("{} is not a manifest of prepare", file.display()))
}

/// Writes the manifest, then removes shards that it does not list: those of an earlier, longer set, and temporary files
/// of a process that was killed.
///
/// # Errors
/// Fails if the manifest cannot be written, or if a file cannot be removed.
pub(super) fn write(folder: &Path, manifest: &Manifest) -> Result<()> {
    let mut text = serde_json::to_vec_pretty(manifest)?;
    text.push(b'\n');
    write_atomically(&folder.join(MANIFEST), &text)?;
    remove_unlisted(folder, manifest)
}

fn remove_unlisted(folder: &Path, manifest: &Manifest) -> Result<()> {
    let listed: BTreeSet<&String> = manifest.parts.values().flat_map(|part| part.shards.keys()).collect();
    let entries = std::fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))?;
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let of_part = name.split('-').next().is_some_and(|part| manifest.parts.contains_key(part));
        let temporary = name.ends_with(".part");
        if temporary || (of_part && name.ends_with(ENDING) && !listed.contains(&name)) {
            std::fs::remove_file(entry.path())
                .with_context(|| format!("cannot remove {}", entry.path().display()))?;
        }
    }
    Ok(())
}

/// The manifest in the folder, if it lists all of `parts` with their keys, and all their shards exist with these keys.
///
/// # Errors
/// Fails if a shard exists and cannot be read.
pub(super) fn up_to_date(folder: &Path, parts: &[(EncodedPart, ManifestPart)]) -> Result<Option<Manifest>> {
    let Ok(text) = std::fs::read(folder.join(MANIFEST)) else { return Ok(None) };
    let Ok(manifest) = serde_json::from_slice::<Manifest>(&text) else { return Ok(None) };
    for (part, wanted) in parts {
        let Some(made) = manifest.parts.get(part.name()) else { return Ok(None) };
        if made.key != wanted.key {
            return Ok(None);
        }
        for name in made.shards.keys() {
            if shard::label(&folder.join(name))?.is_none_or(|label| label.key != made.key) {
                return Ok(None);
            }
        }
    }
    Ok(Some(manifest))
}

/// Checks that a prepared set was encoded by the base model's encoders, with the crop and parts that a run needs.
///
/// # Errors
/// Fails if it was not, and says how to prepare it again.
pub(super) fn check_prepared(
    manifest: &Manifest,
    image: &ImageSpec,
    folders: &PartFolders,
    with_clip: bool,
) -> Result<()> {
    ensure!(
        manifest.crop == image.crop,
        "the set was prepared with crop = \"{}\": set crop of the run to that, or prepare it again with image.crop = \"{}\"",
        manifest.crop.name(),
        image.crop.name()
    );
    for part in EncodedPart::needed(image.mirrored, with_clip) {
        let Some(made) = manifest.parts.get(part.name()) else {
            let remedy = match part {
                EncodedPart::Mirrored => "image.mirrored = true, or omit horizontal_flip from the run",
                _ => "clip = true",
            };
            bail!("the set was prepared without the part {}: prepare it again with {remedy}", part.name());
        };
        if part == EncodedPart::Clip && folders.part(CLIP).is_err() {
            // Features of a CLIP that only the set knows: a run needs no other.
            continue;
        }
        for (name, sha256) in part.encoder(folders)? {
            ensure!(
                made.encoder.get(&name) == Some(&sha256),
                "the set was prepared with another {name} than the base model has: prepare it again with this base"
            );
        }
    }
    Ok(())
}
