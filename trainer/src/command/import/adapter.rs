//! LoRA adapters, which become a folder with the file that the server reads.

use super::base::Base;
use anyhow::{Context, Result, ensure};
use diffusion::lora::{self, WEIGHTS_FILE};
use diffusion::part_folders::PartFolders;
use diffusion::torch_file::WeightsFile;
use files::copy_atomically;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Whether a file is an adapter. A file that cannot be read is none; its error is told when it is read as a model.
pub(super) fn is_adapter(file: &Path) -> bool {
    WeightsFile::open(file).and_then(|file| lora::is_adapter(&file)).unwrap_or(false)
}

/// The adapter in a folder that is no model: the file that diffusers and the server read, or else the only file of
/// weights.
pub(super) fn in_folder(folder: &Path) -> Option<PathBuf> {
    if ["unet/config.json", "config.json", "model_index.json"].iter().any(|name| folder.join(name).is_file())
    {
        return None;
    }
    let named = folder.join(WEIGHTS_FILE);
    if named.is_file() {
        return Some(named);
    }
    let files = fs::read_dir(folder).ok()?.flatten().map(|entry| entry.path());
    let mut weights = files.filter(|file| {
        let ending = file.extension().unwrap_or_default().to_ascii_lowercase();
        ["safetensors", "bin", "pt"].iter().any(|known| ending == *known)
    });
    let only = weights.next().filter(|_| weights.next().is_none())?;
    is_adapter(&only).then_some(only)
}

/// Writes an adapter to a folder, under the name that the server reads, and checks it, against the base if there is
/// one.
pub(super) fn import_adapter(file: &Path, base: Option<&Base>, out: &Path) -> Result<()> {
    let weights = WeightsFile::open(file)?;
    let to = out.join(WEIGHTS_FILE);
    if file.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("safetensors")) {
        copy_atomically(file, &to)?;
    } else {
        let listing = weights.list(weights.state_dict_root())?;
        ensure!(
            listing.unreadable.is_empty(),
            "{}: tensor {:?} {}",
            file.display(),
            listing.unreadable[0].0,
            listing.unreadable[0].1
        );
        weights.save(&listing.tensors, &to)?;
    }
    if let Some(settings) = lora::settings_file(file)? {
        let name = settings.file_name().context("a file has a name")?;
        ensure!(
            settings.is_file(),
            "{}: PEFT's settings are missing, without which the strength of the adapter is unknown: put {} beside it",
            file.display(),
            name.display()
        );
        copy_atomically(&settings, &out.join(name))?;
    }
    for (network, layers) in lora::verify(&to)? {
        println!("{network}: an adapter of {layers} layers");
    }
    if let Some(base) = base {
        let folders = PartFolders::with_bases(out, vec![base.folder.clone()]);
        let misfit = || format!("the adapter does not fit the base {}", base.name);
        folders.check_adapters().with_context(misfit)?;
    }
    Ok(())
}

/// The file in a repository that is an adapter, if its files are no model.
pub(super) fn in_repository(names: &BTreeSet<String>) -> Option<&str> {
    let is_model = names.contains("unet/config.json") || names.contains("model_index.json");
    names.get(WEIGHTS_FILE).filter(|_| !is_model).map(String::as_str)
}
