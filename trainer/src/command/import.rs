//! `import SOURCE --name NAME`: a model from a folder, from a checkpoint in one file or from the hub becomes a folder
//! under the models folder, whole or as a UNet over a base. It is written under another name first, and takes its own
//! only when every part has been read through. See docs/models.md.

mod choose;

use anyhow::{Context, Result, bail, ensure};
use choose::{Precision, Wanted, gather};
use clap::{Args, ValueEnum};
use diffusion::config::{ClipTextConfig, Prediction, UnetConfig, read};
use diffusion::layout::{MODEL_INDEX, ORIGIN, Origin, PARTS, SCHEDULE, verify_part};
use diffusion::part_folders::PartFolders;
use diffusion::single_file::{Options, SingleFile};
use diffusion::tokenizer::Tokenizer;
use domain::name::{is_name, is_repository};
use files::write_atomically;
use hub::{Hub, HubSettings, RepoType, names};
use process::progress::Progress;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// The repository whose vocabulary every published single file was trained with.
const VOCABULARY: &str = "openai/clip-vit-large-patch14";
/// The vocabulary's files.
const VOCABULARY_FILES: [&str; 2] = ["vocab.json", "merges.txt"];

/// Where diffusers has its files: in a folder, and in the folders in it.
const LEVELS: usize = 2;

/// What to import.
#[derive(Debug, Args)]
pub(crate) struct ImportCommand {
    /// A folder in diffusers layout, a checkpoint in one file (.safetensors, .ckpt), or a repository of the hub,
    /// OWNER/NAME.
    source: String,
    /// Its name here: letters, digits, `-`, `_`, `.`.
    #[arg(long)]
    name: String,
    /// Folder of models, in which the server looks when it starts.
    #[arg(long, env = "MODELS", default_value = "models")]
    models: PathBuf,
    /// Branch, tag or commit of the repository.
    #[arg(long, default_value = "main")]
    revision: String,
    /// A file of the repository that is a checkpoint in one file.
    #[arg(long)]
    file: Option<String>,
    /// Take weights in half precision where there are such.
    #[arg(long)]
    variant: Option<Variant>,
    /// Take the UNet alone; all else is the base's.
    #[arg(long, requires = "base")]
    unet_only: bool,
    /// The model, of the same folder of models, that has what a lone UNet lacks, or the vocabulary that a single file
    /// lacks.
    #[arg(long)]
    base: Option<String>,
    /// What the UNet of a single file predicts: needed for Stable Diffusion 2.
    #[arg(long)]
    prediction_type: Option<PredictionType>,
    /// Of a single file that has them, take the moving averages of the UNet's weights.
    #[arg(long)]
    ema: bool,
    /// A folder with vocab.json and merges.txt, for a single file. Default: the base's, else from the hub.
    #[arg(long)]
    tokenizer: Option<PathBuf>,
    #[command(flatten)]
    hub: HubSettings,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Variant {
    /// Half precision.
    Fp16,
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
    /// # Errors
    /// What went wrong, for people; nothing is left under the model's name then.
    pub(crate) fn run(self) -> Result<()> {
        ensure!(is_name(&self.name), "--name {:?}: use letters, digits, '-', '_' and '.'", self.name);
        let out = self.models.join(&self.name);
        ensure!(!out.exists(), "{} is there already: choose another name, or remove it", out.display());
        let base = self.base.as_ref().map(|name| self.base_folder(name)).transpose()?;
        // A point before its name: the server passes over what is not finished.
        let stage = self.models.join(format!(".{}.part", self.name));
        if stage.exists() {
            fs::remove_dir_all(&stage).with_context(|| format!("cannot remove {}", stage.display()))?;
        }
        let imported = self.fill(&stage, base.as_ref()).and_then(|()| self.look(&stage, base.as_ref()));
        if let Err(error) = imported {
            // The error is what matters; the next import of this name begins by removing the rest.
            let _ = fs::remove_dir_all(&stage);
            return Err(error);
        }
        fs::rename(&stage, &out).with_context(|| format!("cannot make {}", out.display()))?;
        fs::File::open(&self.models)?.sync_all()?;
        println!("{}: ready; a server that is running knows it after a restart", out.display());
        Ok(())
    }

    /// The base's name and folder. A base that is itself a lone UNet stands for its own base.
    fn base_folder(&self, name: &str) -> Result<(String, PathBuf)> {
        let folder = self.models.join(name);
        let name = match Origin::read(&folder)? {
            Some(Origin { base: Some(base), .. }) => base,
            _ => name.to_owned(),
        };
        let folder = self.models.join(&name);
        ensure!(
            folder.join(MODEL_INDEX).is_file(),
            "--base {name}: {} is no model in diffusers layout; import it first",
            folder.display()
        );
        Ok((name, folder))
    }

    /// Everything that matters of the source, into the folder.
    fn fill(&self, stage: &Path, base: Option<&(String, PathBuf)>) -> Result<()> {
        let source = Path::new(&self.source);
        let mut origin = Origin {
            source: self.source.clone(),
            revision: None,
            base: base.filter(|_| self.unet_only).map(|(name, _)| name.clone()),
        };
        let wanted = Wanted {
            unet_only: self.unet_only,
            precision: if self.variant.is_some() { Precision::Half } else { Precision::Full },
        };
        if source.is_file() {
            self.only_of_repositories("a file")?;
            self.single_file(source, stage, base)?;
        } else if source.is_dir() {
            self.only_of_repositories("a folder")?;
            self.only_of_single_files()?;
            let names = names(source, LEVELS)?;
            gather(&names, wanted, stage, &mut |name| Ok(source.join(name)))
                .with_context(|| source.display().to_string())?;
        } else {
            ensure!(
                is_repository(&self.source),
                "{} is no file, no folder, and no name of a repository (OWNER/NAME)",
                self.source
            );
            let hub = Hub::new(&self.hub)?;
            let snapshot = hub.snapshot(RepoType::Model, &self.source, &self.revision)?;
            origin.revision = Some(snapshot.commit.clone());
            if let Some(file) = &self.file {
                ensure!(
                    snapshot.names.contains(file),
                    "{} has no file {file}: it has {}",
                    self.source,
                    snapshot
                        .names
                        .iter()
                        .filter(|name| !name.contains('/'))
                        .cloned()
                        .collect::<Vec<_>>()
                        .join(", ")
                );
                self.single_file(&snapshot.fetch(file)?, stage, base)?;
            } else {
                self.only_of_single_files()?;
                gather(&snapshot.names, wanted, stage, &mut |name| snapshot.fetch(name))
                    .with_context(|| self.source.clone())?;
            }
        }
        write_atomically(&stage.join(ORIGIN), &serde_json::to_vec_pretty(&origin)?)?;
        Ok(())
    }

    fn only_of_repositories(&self, what: &str) -> Result<()> {
        ensure!(self.file.is_none(), "--file names a file of a repository, and {} is {what}", self.source);
        Ok(())
    }

    fn only_of_single_files(&self) -> Result<()> {
        for (flag, given) in [
            ("--prediction-type", self.prediction_type.is_some()),
            ("--ema", self.ema),
            ("--tokenizer", self.tokenizer.is_some()),
        ] {
            ensure!(
                !given,
                "{flag} is for a checkpoint in one file: {} says it by its own files",
                self.source
            );
        }
        Ok(())
    }

    fn single_file(&self, file: &Path, stage: &Path, base: Option<&(String, PathBuf)>) -> Result<()> {
        ensure!(self.variant.is_none(), "--variant chooses among files, and {} is one", file.display());
        let options = Options {
            prediction: self.prediction_type.map(|prediction| match prediction {
                PredictionType::Epsilon => Prediction::Epsilon,
                PredictionType::VPrediction => Prediction::VPrediction,
            }),
            average: self.ema,
            unet_only: self.unet_only,
        };
        if let (Some(prediction), Some((name, folder)), true) = (options.prediction, base, self.unet_only) {
            let bases = PartFolders::new(folder, None).schedule()?.prediction();
            ensure!(
                bases == prediction,
                "--prediction-type: the base {name} says otherwise, and its word counts"
            );
        }
        let single = SingleFile::open(file, options)?;
        let plan = single.plan();
        println!("{}: {} in one file", file.display(), plan.family.title());
        if plan.has_average {
            let (taken, left) = if self.ema { ("averages", "weights") } else { ("weights", "averages") };
            println!(
                "it has the UNet's weights and their moving averages: the {taken} are taken, the {left} left"
            );
        }
        match &plan.left_out[..] {
            [] => {}
            [one] => println!("left out: {one}"),
            [first, rest @ ..] => println!("left out: {first} and {} more tensors of no part", rest.len()),
        }
        single.write(stage, &mut |part| println!("writing {}/", part.name))?;
        if self.unet_only {
            return Ok(());
        }
        for (file, path) in self.vocabulary(base)? {
            for folder in ["tokenizer", "tokenizer_2"].map(|name| stage.join(name)) {
                if folder.is_dir() {
                    fs::copy(&path, folder.join(file))
                        .with_context(|| format!("cannot copy {}", path.display()))?;
                }
            }
        }
        Ok(())
    }

    /// Files of CLIP's vocabulary, which single files do not have.
    fn vocabulary(&self, base: Option<&(String, PathBuf)>) -> Result<Vec<(&'static str, PathBuf)>> {
        let folder = self.tokenizer.clone().or_else(|| base.map(|(_, folder)| folder.join("tokenizer")));
        if let Some(folder) = folder {
            return Ok(VOCABULARY_FILES.map(|file| (file, folder.join(file))).to_vec());
        }
        let fetch = || {
            let snapshot = Hub::new(&self.hub)?.snapshot(RepoType::Model, VOCABULARY, "main")?;
            VOCABULARY_FILES.into_iter().map(|file| Ok((file, snapshot.fetch(file)?))).collect::<Result<_>>()
        };
        fetch().context(
            "a single file has no vocabulary, and the hub's cannot be had: give --tokenizer with a folder that has \
             vocab.json and merges.txt, or --base",
        )
    }

    /// Reads everything through and tells what it found.
    fn look(&self, stage: &Path, base: Option<&(String, PathBuf)>) -> Result<()> {
        for (part, stem) in PARTS {
            let folder = stage.join(part);
            if !folder.is_dir() {
                continue;
            }
            let mut bar = Progress::new(part, 100);
            let found = verify_part(&folder, part, stem, &mut |done, all| {
                bar.reach(100 * done / all.max(1));
                Ok(())
            })
            .with_context(|| format!("{part} cannot be used"))?;
            bar.finish();
            println!(
                "{part}: {} tensors, {} numbers of {}, {}",
                found.tensors, found.numbers, found.types, found.file
            );
        }
        let folders =
            PartFolders::new(stage, base.filter(|_| self.unet_only).map(|(_, folder)| folder.as_path()));
        check_fit(&folders)?;
        let (defaults, _) = folders.defaults()?;
        println!(
            "{} x {} pixels, {}, predicts {}",
            defaults.width,
            defaults.height,
            defaults.sampler,
            match folders.schedule()?.prediction() {
                Prediction::Epsilon => "the noise",
                Prediction::VPrediction => "the velocity",
            }
        );
        Ok(())
    }
}

/// That the parts belong together: text widths, vocabulary.
fn check_fit(folders: &PartFolders) -> Result<()> {
    let file = folders.part("unet")?.join("config.json");
    let unet = UnetConfig::read(&file)?;
    let mut width = 0;
    for (tower, tokenizer) in [("text_encoder", "tokenizer"), ("text_encoder_2", "tokenizer_2")] {
        let Ok(folder) = folders.part(tower) else { continue };
        let config: ClipTextConfig = read(&folder.join("config.json"))?;
        width += config.hidden_size;
        let folder = folders.part(tokenizer)?;
        Tokenizer::load(&folder)?;
        let vocabulary: BTreeMap<String, usize> = read(&folder.join("vocab.json"))?;
        let count = vocabulary.values().max().map_or(0, |last| last + 1);
        ensure!(
            count <= config.vocab_size,
            "{}: has {} tokens where {tower} knows {}",
            folder.join("vocab.json").display(),
            count,
            config.vocab_size
        );
    }
    ensure!(
        width == unet.cross_attention_dim,
        "{}: cross_attention_dim {} does not fit text states of width {width}: the UNet belongs to another base",
        file.display(),
        unet.cross_attention_dim
    );
    Ok(())
}

/// Refuses a folder without what a whole model needs.
fn whole(names: &BTreeSet<String>) -> Result<()> {
    let has = |name: &str| names.contains(name);
    let missing: Vec<&str> = [
        "unet/config.json",
        "vae/config.json",
        "text_encoder/config.json",
        "tokenizer/vocab.json",
        "tokenizer/merges.txt",
        SCHEDULE,
        MODEL_INDEX,
    ]
    .into_iter()
    .filter(|name| !has(name))
    .collect();
    if missing.is_empty() {
        return Ok(());
    }
    if missing.len() > 5 && (has("unet/config.json") || has("config.json")) {
        bail!("is a UNet alone: give --unet-only and --base, the name of a model that has the rest");
    }
    bail!("is no whole model in diffusers layout: it lacks {}", missing.join(", "))
}
