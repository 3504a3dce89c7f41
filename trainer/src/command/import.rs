//! `import SOURCE --name NAME`: makes a model out of a folder, a single-file checkpoint, a LoRA adapter or a repository of
//! the Hugging Face hub, whole or as a UNet over a base. Every part is verified before the model's folder gets its name.
//! See docs/models.md.

mod adapter;
mod base;
mod model_files;
mod sampler;
mod single_file;
mod verify;

use adapter::import_adapter;
use anyhow::{Context, Error, Result, bail, ensure};
use base::Base;
use candle_core::Device;
use catalogue::clip::{ClipSource, find_clip};
use catalogue::models_folder::is_adapter;
use clap::{Args, ValueEnum};
use diffusion::config::Prediction;
use diffusion::layout::{CLIP, ORIGIN, Origin};
use diffusion::part_folders::PartFolders;
use diffusion::weights::Variant;
use domain::name::{is_name, is_repository};
use domain::train::PAPER_CLIP;
use evaluation::clip::Clip;
use files::{copy_atomically, write_atomically, write_folder_atomically};
use hub::{Hub, HubSettings, RepoType, Snapshot, file_names};
use model_files::{Selection, copy_model};
use sampler::settle_sampler;
use single_file::{SingleFileOptions, import_single_file};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use training::data::clip::clip_files;
use verify::verify;

/// Levels of folders in which a model in diffusers layout has its files.
const LEVELS: usize = 2;

/// Arguments of `import`.
#[derive(Debug, Args)]
pub(crate) struct ImportCommand {
    /// A folder in diffusers layout, a single-file checkpoint (.safetensors, .ckpt), a LoRA adapter, or a repository of
    /// the Hugging Face hub as OWNER/NAME.
    source: String,
    /// Name of the imported model: letters, digits, `-`, `_`, `.`.
    #[arg(long)]
    name: String,
    /// Folder of models, which the server reads at startup.
    #[arg(long, env = "MODELS", default_value = "models")]
    models: PathBuf,
    /// Branch, tag or commit of the repository.
    #[arg(long, default_value = "main")]
    revision: String,
    /// A file of the repository that is a single-file checkpoint.
    #[arg(long)]
    file: Option<String>,
    /// Prefer weights in this half precision where the source has them.
    #[arg(long)]
    variant: Option<Half>,
    /// Import only the UNet; all other parts are the base's.
    #[arg(long, requires = "base")]
    unet_only: bool,
    /// Name of the model in the same folder of models that has the parts that a UNet alone or an adapter lacks, or the
    /// vocabulary that a single file lacks.
    #[arg(long)]
    base: Option<String>,
    /// What the UNet of a single file predicts, whatever the file says. Required for files of Stable Diffusion 2 that do not
    /// say it.
    #[arg(long)]
    prediction_type: Option<PredictionType>,
    /// The model's default sampler, recorded in its generation_config.json. Required where the source names a sampler that
    /// does not exist here, or settings that its sampler does not support.
    #[arg(long)]
    sampler: Option<String>,
    /// Take the exponential moving averages of the UNet's weights from a single file that has them.
    #[arg(long)]
    ema: bool,
    /// Folder with vocab.json and merges.txt, or tokenizer.json, for a single file; default: the base's, otherwise the hub's.
    #[arg(long)]
    tokenizer: Option<PathBuf>,
    /// CLIP of the model, which Diff-contrast weighs pairs by: a folder or a repository (OWNER/NAME), in the layout of
    /// transformers or OpenCLIP. The paper uses openai/clip-vit-large-patch14.
    #[arg(long)]
    clip: Option<String>,
    #[command(flatten)]
    hub: HubSettings,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Half {
    /// F16.
    Fp16,
    /// BF16.
    Bf16,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
enum PredictionType {
    /// The noise.
    Epsilon,
    /// The velocity.
    VPrediction,
}

impl ImportCommand {
    pub(crate) fn run(self) -> Result<()> {
        ensure!(
            is_name(&self.name),
            "--name {:?}: use 1 to 100 letters, digits, '-', '_' or '.', not starting with '.'",
            self.name
        );
        let out = self.models.join(&self.name);
        ensure!(!out.exists(), "{} already exists: choose another name, or remove it", out.display());
        let base = self.base.as_ref().map(|name| Base::find(&self.models, name)).transpose()?;
        // The server ignores the unfinished folder, whose name begins with a point.
        write_folder_atomically(&out, |folder| {
            self.import(folder, base.as_ref())?;
            if is_adapter(folder) {
                ensure!(
                    self.clip.is_none(),
                    "--clip is for models, and {} is an adapter: leave it out",
                    self.source
                );
                return Ok(());
            }
            self.import_clip(folder)?;
            let base = base.as_ref().filter(|_| self.unet_only).map(|base| base.folder.as_path());
            settle_sampler(folder, base, self.sampler.as_deref(), &self.source)?;
            // The unfinished folder is removed, so a path in it helps nobody.
            let part = format!("{}/", folder.display());
            verify(folder, base).map_err(|error| Error::msg(format!("{error:#}").replace(&part, "")))
        })?;
        println!(
            "{}: imported; a running server lists it after `register {}` or a restart",
            out.display(),
            self.name
        );
        if is_adapter(&out) {
            println!("It is a LoRA adapter: name it in `lora` of a request, as {:?}", self.name);
            return Ok(());
        }
        let folders = PartFolders::new(&out, base.as_ref().map(|base| base.folder.as_path()));
        if folders.part(CLIP).is_err() {
            println!(
                "It has no CLIP, which the objectives diff_contrast and rpo and the CLIP score need: set clip = \
                 \"{PAPER_CLIP}\" in their specs, or import it with --clip {PAPER_CLIP}"
            );
        }
        Ok(())
    }

    /// Copies the CLIP of `--clip` into the model's folder, and reads it.
    fn import_clip(&self, folder: &Path) -> Result<()> {
        let Some(name) = &self.clip else { return Ok(()) };
        let out = folder.join(CLIP);
        ensure!(!out.exists(), "--clip: the source has a CLIP of its own; leave the flag out");
        let copy = |names: &BTreeSet<String>, locate: &mut dyn FnMut(&str) -> Result<PathBuf>| {
            for (name, path) in clip_files(names, locate).with_context(|| format!("--clip {name}"))? {
                copy_atomically(&path, &out.join(name))?;
            }
            anyhow::Ok(())
        };
        match find_clip(&self.models, name).map_err(Error::msg).context("--clip")? {
            ClipSource::Folder(from) => copy(&file_names(&from, 1)?, &mut |name| Ok(from.join(name)))?,
            ClipSource::Repository(name) => {
                let snapshot = Hub::new(&self.hub)?.snapshot(RepoType::Model, &name, "main")?;
                copy(&snapshot.names, &mut |name| snapshot.fetch(name))?;
            }
        }
        Clip::load(&out, &Device::Cpu).context("--clip cannot be used")?;
        println!("{CLIP}: {name}");
        Ok(())
    }

    /// Writes the parts of the source and the record of their origin into a folder.
    fn import(&self, out: &Path, base: Option<&Base>) -> Result<()> {
        let source = Path::new(&self.source);
        let mut revision = None;
        if source.is_file() {
            self.refuse_repository_flags("a file")?;
            self.import_file(source, out, base)?;
        } else if source.is_dir() {
            self.refuse_repository_flags("a folder")?;
            self.import_folder(source, out, base)?;
        } else {
            ensure!(
                is_repository(&self.source),
                "{} is neither a file, nor a folder, nor the name of a repository (OWNER/NAME)",
                self.source
            );
            let snapshot = Hub::new(&self.hub)?.snapshot(RepoType::Model, &self.source, &self.revision)?;
            self.import_snapshot(&snapshot, out, base)?;
            revision = Some(snapshot.commit);
        }
        let base = base.filter(|_| self.unet_only || is_adapter(out)).map(|base| base.name.clone());
        let origin = Origin { source: self.source.clone(), revision, base };
        Ok(write_atomically(&out.join(ORIGIN), &serde_json::to_vec_pretty(&origin)?)?)
    }

    fn import_folder(&self, folder: &Path, out: &Path, base: Option<&Base>) -> Result<()> {
        if let Some(file) = adapter::in_folder(folder) {
            return self.import_adapter(&file, out, base);
        }
        self.refuse_single_file_flags()?;
        let names = file_names(folder, LEVELS)?;
        copy_model(&names, self.selection(), out, &mut |name| Ok(folder.join(name)))
            .with_context(|| folder.display().to_string())
    }

    fn import_snapshot(&self, snapshot: &Snapshot, out: &Path, base: Option<&Base>) -> Result<()> {
        let adapter = adapter::in_repository(&snapshot.names).filter(|_| self.file.is_none());
        if let Some(file) = adapter {
            return self.import_adapter(&snapshot.fetch(file)?, out, base);
        }
        let Some(file) = &self.file else {
            self.refuse_single_file_flags()?;
            return copy_model(&snapshot.names, self.selection(), out, &mut |name| snapshot.fetch(name))
                .with_context(|| self.source.clone());
        };
        if !snapshot.names.contains(file) {
            let top: Vec<&str> =
                snapshot.names.iter().map(String::as_str).filter(|name| !name.contains('/')).collect();
            bail!("{} has no file {file}; its files are {}", self.source, top.join(", "));
        }
        self.import_file(&snapshot.fetch(file)?, out, base)
    }

    /// Writes an adapter, for which no flag decides anything.
    fn import_adapter(&self, file: &Path, out: &Path, base: Option<&Base>) -> Result<()> {
        self.refuse_single_file_flags()?;
        for (flag, is_given) in [("--variant", self.variant.is_some()), ("--unet-only", self.unet_only)] {
            ensure!(!is_given, "{flag} is for models, and {} is an adapter: leave it out", file.display());
        }
        import_adapter(file, base, out)
    }

    fn import_file(&self, file: &Path, out: &Path, base: Option<&Base>) -> Result<()> {
        if adapter::is_adapter(file) {
            return self.import_adapter(file, out, base);
        }
        ensure!(
            self.variant.is_none(),
            "--variant selects among several files, and {} is one file",
            file.display()
        );
        let options = SingleFileOptions {
            prediction: self.prediction_type.map(|prediction| match prediction {
                PredictionType::Epsilon => Prediction::Epsilon,
                PredictionType::VPrediction => Prediction::VPrediction,
            }),
            average: self.ema,
            unet_only: self.unet_only,
            tokenizer: self.tokenizer.as_deref(),
            hub: &self.hub,
        };
        import_single_file(file, &options, base, out)
    }

    fn selection(&self) -> Selection {
        Selection {
            unet_only: self.unet_only,
            variant: match self.variant {
                None => Variant::Full,
                Some(Half::Fp16) => Variant::Fp16,
                Some(Half::Bf16) => Variant::Bf16,
            },
        }
    }

    fn refuse_repository_flags(&self, kind: &str) -> Result<()> {
        ensure!(
            self.file.is_none(),
            "--file names a file of a repository, but {} is {kind}: leave it out",
            self.source
        );
        Ok(())
    }

    fn refuse_single_file_flags(&self) -> Result<()> {
        for (flag, is_given) in [
            ("--prediction-type", self.prediction_type.is_some()),
            ("--ema", self.ema),
            ("--tokenizer", self.tokenizer.is_some()),
        ] {
            ensure!(
                !is_given,
                "{flag} is only for single-file checkpoints: {} has files that decide it",
                self.source
            );
        }
        Ok(())
    }
}
