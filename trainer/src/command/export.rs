//! `export MODEL --out DIR`: a model as a folder that diffusers loads: its own parts and its base's together, or its
//! UNet alone, with `model_index.json` and a model card. See docs/models.md.

mod card;

use anyhow::{Context, Result, ensure};
use candle_core::{DType, Device, Tensor};
use card::{Card, Trained};
use catalogue::model_folders::{ModelFolders, read_spec};
use catalogue::models::Catalogue;
use catalogue::models_folder::ModelsFolder;
use catalogue::run_folder;
use clap::{Args, ValueEnum};
use diffusion::layout::{MODEL_INDEX, Origin, PARTS, SCHEDULE, copy_part, model_index, write_fused_unet};
use diffusion::lora::WEIGHTS_FILE;
use diffusion::noise::Noise;
use diffusion::part_folders::PartFolders;
use diffusion::pipeline::{Prompt, Settings, TextToImage};
use diffusion::weights::save;
use files::{sha256, write_atomically};
use process::progress::Progress;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use store::{Artifacts, Store};

/// diffusers' version whose layout this is.
const VERSION: &str = "0.35.0";
/// The entry of SDXL's `model_index.json` that says what stands for a negative prompt which is not there.
const NO_TEXT_IS_ZEROS: &str = "force_zeros_for_empty_prompt";
/// Seed of the card's image.
const SAMPLE_SEED: u64 = 1;

/// What to export, and to where.
#[derive(Debug, Args)]
pub(crate) struct ExportCommand {
    /// A model by name or id, or the folder of one (of `train`, of an import, of anything in diffusers layout).
    model: String,
    /// The folder to write; it must not be there yet.
    #[arg(long)]
    out: PathBuf,
    /// Write the UNet alone.
    #[arg(long)]
    unet_only: bool,
    /// Type of all weights. f16 halves the size and keeps 11 bits of each number.
    #[arg(long, default_value = "f32")]
    dtype: Type,
    /// A prompt whose image is drawn for the card, with the noise it began from.
    #[arg(long)]
    sample: Option<String>,
    /// The folder with the parts that a given folder lacks. Default: the one that it names itself.
    #[arg(long)]
    base: Option<PathBuf>,
    /// The database that server and workers share.
    #[arg(
        long,
        env = "DATABASE_URL",
        hide_env_values = true,
        default_value = "sqlite://data/diff-contrast.db"
    )]
    database_url: String,
    /// Folder of images and checkpoints, shared with the server.
    #[arg(long, env = "ARTIFACTS", default_value = "data/artifacts")]
    artifacts: PathBuf,
    /// Folder of models by name.
    #[arg(long, env = "MODELS", default_value = "models")]
    models: PathBuf,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Type {
    F16,
    F32,
}

/// What is known of the model.
struct Found {
    name: String,
    folders: PartFolders,
    base: Option<String>,
    step: Option<i64>,
}

impl ExportCommand {
    /// # Errors
    /// What went wrong, for people; nothing is left under the folder's name then.
    pub(crate) fn run(self) -> Result<()> {
        ensure!(
            !self.out.exists(),
            "{} is there already: name another folder, or remove it",
            self.out.display()
        );
        let found = self.find()?;
        let name = self.out.file_name().and_then(|name| name.to_str()).context("--out: name a folder")?;
        let stage = self.out.with_file_name(format!(".{name}.part"));
        if stage.exists() {
            fs::remove_dir_all(&stage).with_context(|| format!("cannot remove {}", stage.display()))?;
        }
        if let Err(error) = self.write(&found, &stage) {
            // The error is what matters.
            let _ = fs::remove_dir_all(&stage);
            return Err(error);
        }
        fs::rename(&stage, &self.out).with_context(|| format!("cannot make {}", self.out.display()))?;
        println!("{}: ready", self.out.display());
        Ok(())
    }

    fn find(&self) -> Result<Found> {
        let models = ModelFolders { models: self.models.clone(), base_parts: self.base.clone() };
        let is_model = |folder: &PathBuf| folder.join("unet").is_dir() || folder.join(WEIGHTS_FILE).is_file();
        if let Some(folder) = models.named(&self.model).ok().filter(is_model) {
            let folder =
                folder.canonicalize().with_context(|| format!("cannot read {}", folder.display()))?;
            let spec = read_spec(&folder)?;
            let bases = models.bases(&folder)?;
            let step = run_folder::step_of(&folder).map(i64::from);
            let name = spec.map_or_else(|| self.model.clone(), |spec| spec.name);
            let base = bases.first().and_then(|base| base.file_name());
            let base = base.map(|base| base.to_string_lossy().into_owned());
            return Ok(Found { name, folders: PartFolders::with_bases(&folder, bases), base, step });
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let store = Store::connect(&self.database_url).await.with_context(|| {
                format!("{} is no folder of a model, and the database cannot be asked for it", self.model)
            })?;
            let catalogue = Catalogue {
                store,
                artifacts: Artifacts::open(&self.artifacts)?,
                models: ModelsFolder::new(&self.models),
            };
            let (model, folders) = catalogue.find(&self.model).await?;
            let base = match model.base_id {
                Some(id) => catalogue.store.get_model(id).await?.map(|base| base.name),
                None => None,
            };
            Ok(Found { name: model.name, folders, base, step: model.step })
        })
    }

    fn write(&self, found: &Found, stage: &Path) -> Result<()> {
        let dtype = match self.dtype {
            Type::F16 => DType::F16,
            Type::F32 => DType::F32,
        };
        let mut classes = BTreeMap::new();
        for (part, stem) in PARTS {
            if self.unet_only && part != "unet" {
                continue;
            }
            let from = match found.folders.part(part) {
                Ok(from) => from,
                // Only SDXL has two text towers.
                Err(_) if part == "text_encoder_2" => continue,
                Err(error) => return Err(error.into()),
            };
            if part == "unet" && !found.folders.adapters().is_empty() {
                write_fused_unet(&found.folders, &stage.join(part), dtype)
                    .context("the UNet cannot be exported with its adapters")?;
                classes.insert(part, diffusion::config::read(&stage.join(part).join("config.json"))?);
                continue;
            }
            let mut bar = Progress::new(part, 100);
            copy_part(&from, &stage.join(part), part, stem, dtype, &mut |done, all| {
                bar.reach(100 * done / all.max(1));
                Ok(())
            })
            .with_context(|| format!("{part} cannot be exported"))?;
            bar.finish();
            let config: Value = diffusion::config::read(&stage.join(part).join("config.json"))?;
            classes.insert(part, config);
        }
        let schedule: Value = diffusion::config::read(&found.folders.part(SCHEDULE)?)?;
        let class = if classes.contains_key("text_encoder_2") || takes_pooled_text(&classes["unet"]) {
            "StableDiffusionXLPipeline"
        } else {
            "StableDiffusionPipeline"
        };
        if !self.unet_only {
            ensure!(
                classes.contains_key("text_encoder_2") == takes_pooled_text(&classes["unet"]),
                "the UNet and its text encoders are of two kinds of model: name the base that it belongs to with --base"
            );
            for folder in ["tokenizer", "tokenizer_2", "scheduler"] {
                if let Ok(from) = found.folders.part(folder) {
                    copy_small(&from, &stage.join(folder))?;
                }
            }
            let sampler = schedule["_class_name"].as_str().unwrap_or("DDIMScheduler");
            let mut index = model_index(class, sampler, VERSION);
            if let Ok(file) = found.folders.part(MODEL_INDEX) {
                // The one entry that says how the model was trained and not what its parts are.
                let source: Value = diffusion::config::read(&file)?;
                if let (Some(told), Some(entry)) =
                    (source.get(NO_TEXT_IS_ZEROS), index.get_mut(NO_TEXT_IS_ZEROS))
                {
                    *entry = told.clone();
                }
            }
            write_json(&stage.join(MODEL_INDEX), &index)?;
            if let Ok(file) = found.folders.part("generation_config.json") {
                copy_file(&file, &stage.join("generation_config.json"))?;
            }
        }
        if let Some(prompt) = &self.sample {
            ensure!(!self.unet_only, "--sample: a UNet alone draws nothing; export the whole model");
            self.sample(stage, prompt)?;
        }
        let (defaults, _) = found.folders.defaults()?;
        let trained = read_spec(found.folders.own())?.map(|spec| Trained {
            spec,
            step: found.step,
            base: found.base.clone(),
        });
        let card = Card {
            name: &found.name,
            trained,
            source: Origin::read(found.folders.own())?,
            sha256: sha256::of_file(&stage.join("unet").join(PARTS[2].1.names()[0].as_str()))?,
            class,
            defaults,
            half: self.dtype == Type::F16,
            unet_only: self.unet_only,
            sample: self.sample.clone(),
        };
        write_atomically(&stage.join("README.md"), card.render()?.as_bytes())?;
        Ok(())
    }

    /// Draws the card's image with what was written, and keeps the noise, so that others can draw it too.
    fn sample(&self, stage: &Path, prompt: &str) -> Result<()> {
        let model = TextToImage::load(stage, None, &Device::Cpu)?;
        let defaults = *model.defaults();
        let multiple = model.size_multiple();
        let (height, width) = ((defaults.height / multiple) as usize, (defaults.width / multiple) as usize);
        let shape = (1, model.unet().config().in_channels, height, width);
        let noise = Noise::new(SAMPLE_SEED).normal_tensor(shape, &Device::Cpu)?;
        let settings = Settings {
            width: defaults.width,
            height: defaults.height,
            steps: defaults.steps,
            guidance_scale: defaults.guidance_scale,
            sampler: defaults.sampler,
        };
        let prompts = [Prompt { prompt: prompt.to_owned(), negative_prompt: None, seed: SAMPLE_SEED }];
        let mut bar = Progress::new("sample", u64::from(defaults.steps));
        let images = model.generate_from(&noise, &prompts, &settings, &mut |done, _| {
            bar.reach(done as u64);
            ControlFlow::Continue(())
        })?;
        bar.finish();
        let image = images.and_then(|images| images.into_iter().next()).context("no image")?;
        image.save(stage.join("sample.png")).context("cannot write the sample")?;
        save(
            &BTreeMap::from([("noise".to_owned(), Tensor::clone(&noise))]),
            &stage.join("sample.safetensors"),
        )?;
        let told = json!({
            "prompt": prompt,
            "width": settings.width,
            "height": settings.height,
            "num_inference_steps": settings.steps,
            "guidance_scale": settings.guidance_scale,
            "sampler": settings.sampler.as_str(),
        });
        write_json(&stage.join("sample.json"), &told)
    }
}

fn takes_pooled_text(unet: &Value) -> bool {
    unet["addition_embed_type"] == "text_time"
}

/// The files of a folder, which are small.
fn copy_small(from: &Path, to: &Path) -> Result<()> {
    for entry in fs::read_dir(from).with_context(|| format!("cannot read {}", from.display()))? {
        let path = entry?.path();
        if let (true, Some(name)) = (path.is_file(), path.file_name()) {
            copy_file(&path, &to.join(name))?;
        }
    }
    Ok(())
}

fn copy_file(from: &Path, to: &Path) -> Result<()> {
    let bytes = fs::read(from).with_context(|| format!("cannot read {}", from.display()))?;
    Ok(write_atomically(to, &bytes)?)
}

fn write_json(file: &Path, value: &Value) -> Result<()> {
    let mut text = serde_json::to_string_pretty(value)?;
    text.push('\n');
    Ok(write_atomically(file, text.as_bytes())?)
}
