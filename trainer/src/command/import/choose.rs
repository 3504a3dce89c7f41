//! Which files of a folder or repository matter, and their copies.

use super::whole;
use anyhow::{Context, Result, bail, ensure};
use diffusion::layout::{MODEL_INDEX, PARTS, SCHEDULE};
use diffusion::weights::Stem;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// What to take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted {
    pub(super) unet_only: bool,
    pub(super) precision: Precision,
}

/// Which weights come first where there are several.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Precision {
    Full,
    Half,
}

/// Files that are taken where they are.
const SMALL: [&str; 16] = [
    MODEL_INDEX,
    "README.md",
    "generation_config.json",
    SCHEDULE,
    "tokenizer/vocab.json",
    "tokenizer/merges.txt",
    "tokenizer/tokenizer_config.json",
    "tokenizer/special_tokens_map.json",
    "tokenizer_2/vocab.json",
    "tokenizer_2/merges.txt",
    "tokenizer_2/tokenizer_config.json",
    "tokenizer_2/special_tokens_map.json",
    "clip/vocab.json",
    "clip/merges.txt",
    "clip/tokenizer_config.json",
    "clip/preprocessor_config.json",
];

#[derive(Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

/// Copies what is wanted of the files `names`; `fetch` says where one lies on this machine.
pub(super) fn gather(
    names: &BTreeSet<String>,
    wanted: Wanted,
    to: &Path,
    fetch: &mut dyn FnMut(&str) -> Result<PathBuf>,
) -> Result<()> {
    let mut copy = |from: &str, to_name: &str| -> Result<PathBuf> {
        let (source, place) = (fetch(from)?, to.join(to_name));
        fs::create_dir_all(place.parent().unwrap_or(to))?;
        fs::copy(&source, &place).with_context(|| format!("cannot copy {}", source.display()))?;
        fs::File::open(&place)?.sync_all()?;
        Ok(source)
    };
    if wanted.unet_only {
        // A repository of a UNet alone may have it in its top folder.
        let prefix = ["unet/", ""].into_iter().find(|prefix| names.contains(&format!("{prefix}config.json")));
        let prefix = prefix.context("has no UNet: neither unet/config.json nor config.json is there")?;
        copy(&format!("{prefix}config.json"), "unet/config.json")?;
        return weights(names, prefix, "unet/", Stem::NETWORK, wanted.precision, &mut copy);
    }
    whole(names)?;
    for name in SMALL.into_iter().filter(|name| names.contains(*name)) {
        copy(name, name)?;
    }
    for (part, stem) in PARTS.into_iter().chain([("clip", Stem::TRANSFORMER)]) {
        let config = format!("{part}/config.json");
        if names.contains(&config) {
            copy(&config, &config)?;
            let prefix = format!("{part}/");
            weights(names, &prefix, &prefix, stem, wanted.precision, &mut copy)?;
        }
    }
    Ok(())
}

/// The weights of a part: one file, or an index and its shards.
fn weights(
    names: &BTreeSet<String>,
    prefix: &str,
    to: &str,
    stem: Stem,
    precision: Precision,
    copy: &mut dyn FnMut(&str, &str) -> Result<PathBuf>,
) -> Result<()> {
    let mut choice = stem.names();
    if precision == Precision::Half {
        choice.rotate_left(Stem::FULL);
    }
    let Some(name) = choice.iter().find(|name| names.contains(&format!("{prefix}{name}"))) else {
        bail!("{prefix} has no weights: none of {} is there", choice.join(", "));
    };
    let path = copy(&format!("{prefix}{name}"), &format!("{to}{name}"))?;
    if !name.ends_with(".json") {
        return Ok(());
    }
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let index: Index = serde_json::from_str(&text).with_context(|| format!("{prefix}{name} is no index"))?;
    let shards: BTreeSet<&String> = index.weight_map.values().collect();
    for shard in shards {
        ensure!(!shard.contains(['/', '\\']), "{prefix}{name} names {shard:?}, which is no file beside it");
        ensure!(
            names.contains(&format!("{prefix}{shard}")),
            "{prefix}{name} names the shard {shard}, which is not there"
        );
        copy(&format!("{prefix}{shard}"), &format!("{to}{shard}"))?;
    }
    Ok(())
}
