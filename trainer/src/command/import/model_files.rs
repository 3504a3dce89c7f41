//! The files of a model in diffusers layout that an import needs: selected among those of a folder or repository, and
//! copied.

use anyhow::{Context, Result, bail, ensure};
use diffusion::layout::{MODEL_INDEX, PARTS, SCHEDULE};
use diffusion::weights::{PartFiles, Stem, StoredWeights, Variant, shard_names};
use files::copy_atomically;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Which parts and which weights to copy.
#[derive(Clone, Copy, Debug)]
pub(super) struct Selection {
    pub(super) unet_only: bool,
    /// The weights to prefer if there are several files.
    pub(super) variant: Variant,
}

/// Files beside configs and weights that are copied if they exist.
const OPTIONAL_FILES: [&str; 23] = [
    MODEL_INDEX,
    "README.md",
    "generation_config.json",
    SCHEDULE,
    "tokenizer/vocab.json",
    "tokenizer/merges.txt",
    "tokenizer/tokenizer_config.json",
    "tokenizer/special_tokens_map.json",
    "tokenizer/added_tokens.json",
    "tokenizer/tokenizer.json",
    "tokenizer_2/vocab.json",
    "tokenizer_2/merges.txt",
    "tokenizer_2/tokenizer_config.json",
    "tokenizer_2/special_tokens_map.json",
    "tokenizer_2/added_tokens.json",
    "tokenizer_2/tokenizer.json",
    "clip/vocab.json",
    "clip/merges.txt",
    "clip/tokenizer_config.json",
    "clip/special_tokens_map.json",
    "clip/added_tokens.json",
    "clip/tokenizer.json",
    "clip/preprocessor_config.json",
];

/// The file that can replace a tokenizer's two others.
const WHOLE_TOKENIZER: &str = "tokenizer/tokenizer.json";

/// Files that every whole model has.
const REQUIRED_FILES: [&str; 7] = [
    "unet/config.json",
    "vae/config.json",
    "text_encoder/config.json",
    "tokenizer/vocab.json",
    "tokenizer/merges.txt",
    SCHEDULE,
    MODEL_INDEX,
];

/// Copies the selected files among `names` into a folder. `locate` returns the path of a file on this machine, which
/// it downloads if need be. Nothing is copied before all files are found and their weights have types that are read.
pub(super) fn copy_model(
    names: &BTreeSet<String>,
    selection: Selection,
    out: &Path,
    locate: &mut dyn FnMut(&str) -> Result<PathBuf>,
) -> Result<()> {
    let mut files =
        SelectedFiles { names, variant: selection.variant, locate, found: vec![], copied: BTreeSet::new() };
    files.select(selection.unet_only)?;
    for (source, to) in files.found {
        copy_atomically(&source, &out.join(to))?;
    }
    // Of a repository, an import of the UNet alone passes over whole parts on purpose.
    if !selection.unet_only {
        print_left_out(names.difference(&files.copied));
    }
    Ok(())
}

/// Names the files that are not copied, with the reason.
fn print_left_out<'a>(names: impl Iterator<Item = &'a String>) {
    let (mut other_weights, mut unused) = (Vec::new(), Vec::new());
    for name in names {
        let is_of_part = PARTS.iter().any(|(part, _)| name.starts_with(&format!("{part}/")));
        let is_weights =
            [".safetensors", ".bin", ".index.json", ".ckpt", ".msgpack", ".onnx"].iter().any(|end| {
                let (start, rest) =
                    name.split_at_checked(name.len().saturating_sub(end.len())).unwrap_or((name, ""));
                !start.is_empty() && rest.eq_ignore_ascii_case(end)
            });
        if is_of_part && is_weights { other_weights.push(name.as_str()) } else { unused.push(name.as_str()) }
    }
    for (names, reason) in [
        (other_weights, "other weights of parts whose weights were copied"),
        (unused, "files that no part of the model uses"),
    ] {
        if !names.is_empty() {
            println!("left out, {} {reason}: {}", names.len(), names.join(", "));
        }
    }
}

/// The files to copy.
struct SelectedFiles<'a> {
    names: &'a BTreeSet<String>,
    variant: Variant,
    locate: &'a mut dyn FnMut(&str) -> Result<PathBuf>,
    /// Where each is, and its path in the new folder.
    found: Vec<(PathBuf, String)>,
    /// Their names in the source.
    copied: BTreeSet<String>,
}

impl SelectedFiles<'_> {
    fn select(&mut self, unet_only: bool) -> Result<()> {
        let names = self.names;
        if unet_only {
            // A repository of a UNet alone may have it at its top level.
            let prefix =
                ["unet/", ""].into_iter().find(|prefix| names.contains(&format!("{prefix}config.json")));
            let prefix = prefix.context("has no UNet: neither unet/config.json nor config.json exists")?;
            self.add(&format!("{prefix}config.json"), "unet/config.json")?;
            return self.add_weights(prefix, "unet/", Stem::NETWORK);
        }
        check_whole(names)?;
        for name in OPTIONAL_FILES.into_iter().filter(|name| names.contains(*name)) {
            self.add(name, name)?;
        }
        for (part, stem) in PARTS.into_iter().chain([("clip", Stem::TRANSFORMER)]) {
            let config = format!("{part}/config.json");
            if names.contains(&config) {
                self.add(&config, &config)?;
                let prefix = format!("{part}/");
                self.add_weights(&prefix, &prefix, stem)?;
            }
        }
        Ok(())
    }

    fn add(&mut self, from: &str, to: &str) -> Result<PathBuf> {
        let source = (self.locate)(from)?;
        self.found.push((source.clone(), to.to_owned()));
        self.copied.insert(from.to_owned());
        Ok(source)
    }

    /// Adds the weights of a part: one file, or an index and its shards.
    fn add_weights(&mut self, prefix: &str, to: &str, stem: Stem) -> Result<()> {
        let candidates = stem.names_preferring(self.variant);
        let Some(name) = candidates.iter().find(|name| self.names.contains(&format!("{prefix}{name}")))
        else {
            bail!("{prefix} has no weights: none of these files exists: {}", candidates.join(", "));
        };
        let path = self.add(&format!("{prefix}{name}"), &format!("{to}{name}"))?;
        if !name.ends_with(".json") {
            return check_types(&path);
        }
        let shards =
            shard_names(&path).with_context(|| format!("{prefix}{name} is not an index of shards"))?;
        for shard in shards {
            ensure!(
                self.names.contains(&format!("{prefix}{shard}")),
                "{prefix}{name}: the shard {shard} does not exist"
            );
            check_types(&self.add(&format!("{prefix}{shard}"), &format!("{to}{shard}"))?)?;
        }
        Ok(())
    }
}

/// Refuses a file of weights that are not of types that are read.
fn check_types(file: &Path) -> Result<()> {
    StoredWeights::open(&PartFiles::one(file))?.check_types().map_err(Into::into)
}

/// Refuses files that are not a whole model.
fn check_whole(names: &BTreeSet<String>) -> Result<()> {
    let has = |name: &str| names.contains(name);
    let is_replaced = |name: &str| has(WHOLE_TOKENIZER) && name.starts_with("tokenizer/");
    let missing: Vec<&str> =
        REQUIRED_FILES.into_iter().filter(|name| !has(name) && !is_replaced(name)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    if missing.len() > 5 && (has("unet/config.json") || has("config.json")) {
        bail!(
            "is a UNet alone: give --unet-only, and --base with the name of a model that has the other parts"
        );
    }
    bail!("is not a whole model in diffusers layout: it lacks {}", missing.join(", "))
}
