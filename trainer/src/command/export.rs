//! `export MODEL --out FOLDER`: writes a model as a folder that diffusers loads, with the parts of its base, or its
//! UNet alone, and a model card. See docs/models.md.

mod card;
mod exported_model;
mod parts;
mod pipeline;
mod sample;

use crate::storage::StorageSettings;
use anyhow::{Context, Result, ensure};
use candle_core::DType;
use card::{Card, Training};
use catalogue::local_models::{LocalModels, read_spec};
use clap::{Args, ValueEnum};
use diffusion::layout::Origin;
use diffusion::unet::WEIGHTS_FILE;
use exported_model::ExportedModel;
use files::{sha256, write_atomically, write_folder_atomically};
use parts::{PartConfigs, write_parts};
use pipeline::{pipeline_class, write_pipeline_files};
use sample::write_sample;
use std::path::{Path, PathBuf};

/// Arguments of `export`.
#[derive(Debug, Args)]
pub(crate) struct ExportCommand {
    /// A model's name or id, or a folder: of a trained model, of an import, or any in diffusers layout.
    model: String,
    /// The folder to write. It must not exist.
    #[arg(long)]
    out: PathBuf,
    /// Write only the UNet.
    #[arg(long)]
    unet_only: bool,
    /// Type of all weights. f16 halves the size and keeps 11 significant bits of each number.
    #[arg(long, default_value = "f32")]
    dtype: Precision,
    /// Generate an image of this prompt for the model card, and keep its initial noise.
    #[arg(long)]
    sample: Option<String>,
    /// Folder with the parts that a model's own folder lacks; default: the base that the model names.
    #[arg(long)]
    base: Option<PathBuf>,
    #[command(flatten)]
    storage: StorageSettings,
    /// Folder of bundled and imported models.
    #[arg(long, env = "MODELS", default_value = "models")]
    models: PathBuf,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Precision {
    F16,
    F32,
}

impl ExportCommand {
    pub(crate) fn run(self) -> Result<()> {
        ensure!(
            !self.out.exists(),
            "{} already exists: name another folder, or remove it",
            self.out.display()
        );
        ensure!(
            self.out.file_name().is_some(),
            "--out {}: end with the new folder's name",
            self.out.display()
        );
        ensure!(
            self.sample.is_none() || !self.unet_only,
            "--sample: a UNet alone generates no image; leave out --unet-only"
        );
        let models = LocalModels { models: self.models.clone(), base_parts: self.base.clone() };
        let model = ExportedModel::find(&self.model, &models, &self.storage)?;
        write_folder_atomically(&self.out, |folder| self.write(&model, folder))?;
        println!("{}: exported", self.out.display());
        Ok(())
    }

    fn write(&self, model: &ExportedModel, folder: &Path) -> Result<()> {
        let dtype = match self.dtype {
            Precision::F16 => DType::F16,
            Precision::F32 => DType::F32,
        };
        let configs = write_parts(&model.folders, folder, self.unet_only, dtype)?;
        if !self.unet_only {
            write_pipeline_files(&model.folders, &configs, folder)?;
        }
        if let Some(prompt) = &self.sample {
            write_sample(folder, prompt)?;
        }
        let card = self.card(model, &configs, folder)?;
        Ok(write_atomically(&folder.join("README.md"), card.render()?.as_bytes())?)
    }

    fn card<'a>(&self, model: &'a ExportedModel, configs: &PartConfigs, folder: &Path) -> Result<Card<'a>> {
        let (defaults, _) = model.folders.defaults()?;
        let spec = read_spec(model.folders.own())?;
        Ok(Card {
            name: &model.name,
            training: spec.map(|spec| Training { spec, step: model.step, base: model.base.clone() }),
            source: Origin::read(model.folders.own())?,
            sha256: sha256::of_file(&folder.join("unet").join(WEIGHTS_FILE)).context("the exported UNet")?,
            class: pipeline_class(configs),
            defaults,
            is_half: self.dtype == Precision::F16,
            unet_only: self.unet_only,
            sample: self.sample.clone(),
        })
    }
}
