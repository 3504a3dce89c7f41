//! Whoever edits: the bundled world's operators, InstructPix2Pix, or Prompt Diffusion.

use anyhow::{Context, Error, Result, ensure};
use candle_core::Device;
use catalogue::local_models::LocalModels;
use datasets::decode::decode;
use diffusion::config::ControlNetConfig;
use diffusion::controlnet::ControlNet;
use diffusion::part_folders::PartFolders;
use diffusion::pipeline::{
    Edit, EditSettings, HintScale, InstructPix2Pix, PromptDiffusion, Query, QuerySettings, size_for,
};
use domain::style::{CAPTION, ClassicalStyle, EditorSpec, HintScale as HintScaleSpec, PromptDiffusionSpec};
use files::sha256;
use image::RgbImage;
use image::imageops::{self, FilterType};
use shapes::style::Style;
use shapes::{Image, SIDE};
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

/// An open editor.
#[derive(Debug)]
pub enum Editor {
    /// Without weights.
    Classical(Style),
    /// By an instruction, with a negative prompt.
    InstructPix2Pix(Box<InstructPix2Pix>, EditSettings, String, String),
    /// As an example pair shows.
    PromptDiffusion(Box<PromptDiffusion>, Box<PromptDiffusionSpec>, [RgbImage; 2]),
}

/// Hears of steps done, of all, and can stop.
type Progress<'a> = &'a mut dyn FnMut(usize, usize) -> ControlFlow<()>;

impl Editor {
    /// Opens what a spec names.
    ///
    /// # Errors
    /// A model, ControlNet or image that is missing, damaged or does not fit.
    pub fn open(spec: &EditorSpec, models: &LocalModels, device: &Device) -> Result<Self> {
        match spec {
            EditorSpec::Classical { style } => Ok(Self::Classical(match style {
                ClassicalStyle::VanGogh => Style::VanGogh,
                ClassicalStyle::Sketch => Style::Sketch,
                ClassicalStyle::Winter => Style::Winter,
            })),
            EditorSpec::InstructPix2Pix(spec) => {
                let folder = models.named(&spec.model).context("editor.model")?;
                let editor = InstructPix2Pix::load(&folder, models.base_parts.as_deref(), device)
                    .context("editor.model")?;
                let settings = EditSettings {
                    steps: spec.steps,
                    guidance_scale: spec.guidance_scale,
                    image_guidance_scale: spec.image_guidance_scale,
                    sampler: match spec.sampler {
                        Some(sampler) => sampler.as_str().parse().map_err(Error::msg)?,
                        None => editor.sampler(),
                    },
                };
                let texts = (spec.instruction.clone(), spec.negative_prompt.clone());
                Ok(Self::InstructPix2Pix(Box::new(editor), settings, texts.0, texts.1))
            }
            EditorSpec::PromptDiffusion(spec) => {
                let example = [image(&spec.example[0])?, image(&spec.example[1])?];
                let path = models.named(&spec.controlnet).context("editor.controlnet")?;
                let controlnet = if path.is_dir() {
                    ControlNet::load(&path, device)
                } else {
                    ControlNet::load_original(&path, ControlNetConfig::prompt_diffusion()?, device)
                };
                let folders = PartFolders::new(
                    &models.named(&spec.model).context("editor.model")?,
                    models.base_parts.as_deref(),
                );
                let controlnet = controlnet.context("editor.controlnet")?;
                let editor = PromptDiffusion::new(&folders, controlnet, device).context("editor.model")?;
                Ok(Self::PromptDiffusion(Box::new(editor), Box::new(spec.clone()), example))
            }
        }
    }

    /// SHA-256 of every file that decides what it makes, by the path in the spec or below the model.
    ///
    /// # Errors
    /// One cannot be read.
    pub fn files(spec: &EditorSpec, models: &LocalModels) -> Result<BTreeMap<String, String>> {
        let mut files: BTreeMap<String, PathBuf> = BTreeMap::new();
        let mut model = |name: &str, parts: &[&str]| -> Result<()> {
            let folders =
                PartFolders::new(&models.named(name).context("editor.model")?, models.base_parts.as_deref());
            for part in parts {
                for file in listed(&folders.part(part)?)? {
                    let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
                    files.insert(format!("{part}/{name}"), file);
                }
            }
            Ok(())
        };
        let parts = ["unet", "vae", "text_encoder", "tokenizer", "scheduler"];
        match spec {
            EditorSpec::Classical { .. } => {}
            EditorSpec::InstructPix2Pix(spec) => model(&spec.model, &parts)?,
            EditorSpec::PromptDiffusion(spec) => {
                model(&spec.model, &parts)?;
                let controlnet = models.named(&spec.controlnet).context("editor.controlnet")?;
                let of_network =
                    if controlnet.is_dir() { listed(&controlnet)? } else { vec![controlnet.clone()] };
                for file in of_network {
                    let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
                    files.insert(format!("controlnet/{name}"), file);
                }
                for (i, file) in spec.example.iter().enumerate() {
                    files.insert(format!("example/{i}"), PathBuf::from(file));
                }
            }
        }
        files.into_iter().map(|(name, file)| Ok((name, sha256::of_file(&file)?))).collect()
    }

    /// What it is told of an image, for the list.
    #[must_use]
    pub fn told(spec: &EditorSpec, caption: &str) -> String {
        match spec {
            EditorSpec::Classical { style } => format!("{style:?}"),
            EditorSpec::InstructPix2Pix(spec) => spec.instruction.replace(CAPTION, caption),
            EditorSpec::PromptDiffusion(spec) => spec.prompt.replace(CAPTION, caption),
        }
    }

    /// The loser and the winner; `None` if `progress` stopped it.
    ///
    /// # Errors
    /// An image that cannot be edited, or candle's.
    pub fn edit(
        &self,
        original: &RgbImage,
        caption: &str,
        seed: u64,
        progress: Progress<'_>,
    ) -> Result<Option<[RgbImage; 2]>> {
        let edited = match self {
            Self::Classical(style) => {
                let original = square(original);
                let small = Image::from_pixels(original.clone().into_raw()).context("an image's size")?;
                return Ok(Some([original, style.apply(&small, seed).to_image()]));
            }
            Self::InstructPix2Pix(editor, settings, instruction, negative_prompt) => {
                let edit = Edit {
                    image: original.clone(),
                    instruction: instruction.replace(CAPTION, caption),
                    negative_prompt: negative_prompt.clone(),
                    seed,
                };
                editor.edit(&[edit], settings, progress)?
            }
            Self::PromptDiffusion(editor, spec, example) => {
                let (width, height) = size_for(original, spec.short_side);
                let query = Query {
                    image: original.clone(),
                    prompt: spec.prompt.replace(CAPTION, caption),
                    negative_prompt: spec.negative_prompt.clone(),
                    seed,
                };
                let settings = QuerySettings {
                    example: example.clone(),
                    width,
                    height,
                    steps: spec.steps,
                    guidance_scale: spec.guidance_scale,
                    sampler: spec.sampler.as_str().parse().map_err(Error::msg)?,
                    hint_scale: match spec.hint_scale {
                        HintScaleSpec::Signed => HintScale::Signed,
                        HintScaleSpec::Unit => HintScale::Unit,
                    },
                };
                editor.edit(&[query], &settings, progress)?
            }
        };
        Ok(edited.and_then(|mut edited| edited.pop()).map(|winner| [original.clone(), winner]))
    }
}

/// The largest square in the middle, in the size of the bundled world's images.
fn square(image: &RgbImage) -> RgbImage {
    let side = SIDE as u32;
    let (width, height) = image.dimensions();
    if (width, height) == (side, side) {
        return image.clone();
    }
    let largest = width.min(height);
    let (x, y) = ((width - largest) / 2, (height - largest) / 2);
    let cut = imageops::crop_imm(image, x, y, largest, largest).to_image();
    imageops::resize(&cut, side, side, FilterType::Lanczos3)
}

fn image(file: &str) -> Result<RgbImage> {
    let bytes = std::fs::read(file).with_context(|| format!("editor.example: cannot read {file}"))?;
    decode(&bytes).map_err(|problem| Error::msg(format!("editor.example: {file} {problem}")))
}

/// The files of a part's folder, or the file.
fn listed(part: &Path) -> Result<Vec<PathBuf>> {
    if part.is_file() {
        return Ok(vec![part.to_owned()]);
    }
    let entries = std::fs::read_dir(part).with_context(|| format!("cannot read {}", part.display()))?;
    let mut files = Vec::new();
    for entry in entries {
        let path = entry.with_context(|| format!("cannot read {}", part.display()))?.path();
        if path.is_file() {
            files.push(path);
        }
    }
    ensure!(!files.is_empty(), "{} is an empty folder", part.display());
    files.sort_unstable();
    Ok(files)
}
