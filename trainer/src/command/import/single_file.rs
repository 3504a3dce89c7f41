//! Single-file checkpoints, which become parts in diffusers layout, and the vocabulary that they lack.

use super::base::Base;
use anyhow::{Context, Result, ensure};
use diffusion::config::Prediction;
use diffusion::part_folders::PartFolders;
use diffusion::single_file::{Options, Plan, SingleFile};
use files::copy_atomically;
use hub::{Hub, HubSettings, RepoType};
use std::path::{Path, PathBuf};

/// The repository whose vocabulary all published single files use.
const VOCABULARY_REPOSITORY: &str = "openai/clip-vit-large-patch14";
const VOCABULARY_FILES: [&str; 2] = ["vocab.json", "merges.txt"];

/// How to read a single file.
pub(super) struct SingleFileOptions<'a> {
    /// What the UNet predicts; `None` if the file decides it.
    pub(super) prediction: Option<Prediction>,
    /// Whether to take the moving averages of the UNet's weights.
    pub(super) average: bool,
    pub(super) unet_only: bool,
    /// Folder of the vocabulary.
    pub(super) tokenizer: Option<&'a Path>,
    pub(super) hub: &'a HubSettings,
}

/// Writes the parts of a single file in diffusers layout.
pub(super) fn import_single_file(
    file: &Path,
    options: &SingleFileOptions<'_>,
    base: Option<&Base>,
    out: &Path,
) -> Result<()> {
    let SingleFileOptions { prediction, average, unet_only, .. } = *options;
    if let (Some(prediction), Some(base), true) = (prediction, base, unet_only) {
        ensure!(
            PartFolders::new(&base.folder, None).schedule()?.prediction() == prediction,
            "--prediction-type differs from that of the base {}, which is used for a UNet alone: leave it out",
            base.name
        );
    }
    let single = SingleFile::open(file, Options { prediction, average, unet_only })?;
    print_plan(file, single.plan(), average);
    single.write(out, &mut |part| println!("writing {}/", part.name))?;
    if unet_only {
        return Ok(());
    }
    for (file, path) in vocabulary(options, base)? {
        for folder in ["tokenizer", "tokenizer_2"].map(|name| out.join(name)) {
            if folder.is_dir() {
                copy_atomically(&path, &folder.join(file))?;
            }
        }
    }
    Ok(())
}

fn print_plan(file: &Path, plan: &Plan, average: bool) {
    println!("{}: {} in one file", file.display(), plan.family.title());
    if plan.has_average {
        let (taken, left) = if average { ("averages", "weights") } else { ("weights", "averages") };
        println!("it has the UNet's weights and their moving averages: taking the {taken}, not the {left}");
    }
    match &plan.left_out[..] {
        [] => {}
        [one] => println!("left out: {one}"),
        [first, rest @ ..] => {
            println!("left out: {first} and {} more tensors that belong to no part", rest.len());
        }
    }
}

/// The files of CLIP's vocabulary, which single files lack, with their names.
fn vocabulary(options: &SingleFileOptions<'_>, base: Option<&Base>) -> Result<Vec<(&'static str, PathBuf)>> {
    let tokenizer = options.tokenizer.map(Path::to_owned);
    if let Some(folder) = tokenizer.or_else(|| base.map(|base| base.folder.join("tokenizer"))) {
        return Ok(VOCABULARY_FILES.map(|file| (file, folder.join(file))).to_vec());
    }
    let fetch = || {
        let snapshot = Hub::new(options.hub)?.snapshot(RepoType::Model, VOCABULARY_REPOSITORY, "main")?;
        VOCABULARY_FILES.into_iter().map(|file| Ok((file, snapshot.fetch(file)?))).collect::<Result<_>>()
    };
    fetch().context(
        "a single file has no vocabulary, and it cannot be fetched from the hub: give --tokenizer with a folder that has \
         vocab.json and merges.txt, or --base",
    )
}
