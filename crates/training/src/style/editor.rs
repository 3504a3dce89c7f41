//! Editors of style sets: the bundled world's operators, InstructPix2Pix, and Prompt Diffusion.

use anyhow::{Context, Error, Result, ensure};
use candle_core::Device;
use catalogue::local_models::LocalModels;
use catalogue::samplers;
use datasets::decode::decode;
use diffusion::config::ControlNetConfig;
use diffusion::controlnet::ControlNet;
use diffusion::part_folders::PartFolders;
use diffusion::pipeline::{
    Edit, EditSettings, HintScale, InstructPix2Pix, PromptDiffusion, Query, QuerySettings, size_for,
};
use domain::style::{
    CAPTION, ClassicalStyle, EditorSpec, HintScale as HintScaleSpec, InstructPix2PixSpec, PromptDiffusionSpec,
};
use files::sha256;
use image::RgbImage;
use shapes::style::Style;
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

/// An editor, ready to edit.
#[derive(Debug)]
pub(super) enum Editor {
    /// An operator of the bundled world, without weights.
    Classical(Style),
    /// Edits by an instruction.
    InstructPix2Pix { editor: Box<InstructPix2Pix>, settings: EditSettings, spec: Box<InstructPix2PixSpec> },
    /// Edits as an example pair (source, target) shows.
    PromptDiffusion { editor: Box<PromptDiffusion>, spec: Box<PromptDiffusionSpec>, example: [RgbImage; 2] },
}

/// Receives the denoising steps done and their total, and can stop.
type Progress<'a> = &'a mut dyn FnMut(usize, usize) -> ControlFlow<()>;

impl Editor {
    /// Opens the editor of a spec.
    ///
    /// # Errors
    /// Fails if a model, ControlNet or example image is missing, damaged or does not fit the others.
    pub(super) fn open(spec: &EditorSpec, models: &LocalModels, device: &Device) -> Result<Self> {
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
                        Some(sampler) => samplers::kind(sampler),
                        None => editor.sampler(),
                    },
                };
                Ok(Self::InstructPix2Pix { editor: Box::new(editor), settings, spec: Box::new(spec.clone()) })
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
                Ok(Self::PromptDiffusion { editor: Box::new(editor), spec: Box::new(spec.clone()), example })
            }
        }
    }

    /// SHA-256 of every file that decides the edits: `PART/FILE` of the model, `controlnet/FILE`, and `example/0` and
    /// `example/1`.
    ///
    /// # Errors
    /// Fails if a file cannot be read.
    pub(super) fn files(spec: &EditorSpec, models: &LocalModels) -> Result<BTreeMap<String, String>> {
        let mut files: BTreeMap<String, PathBuf> = BTreeMap::new();
        let mut model = |name: &str, parts: &[&str]| -> Result<()> {
            let folders =
                PartFolders::new(&models.named(name).context("editor.model")?, models.base_parts.as_deref());
            for part in parts {
                for file in files_in(&folders.part(part)?)? {
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
                for file in files_in(&controlnet)? {
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

    /// The instruction for an image with this caption, as the list of pairs records it.
    pub(super) fn instruction(spec: &EditorSpec, caption: &str) -> String {
        match spec {
            EditorSpec::Classical { style } => format!("{style:?}"),
            EditorSpec::InstructPix2Pix(spec) => spec.instruction.replace(CAPTION, caption),
            EditorSpec::PromptDiffusion(spec) => spec.prompt.replace(CAPTION, caption),
        }
    }

    /// Edits an image. Returns the loser (the original) and the winner; `None` if `progress` stops.
    ///
    /// # Errors
    /// Fails if the image cannot be edited, or if a tensor operation fails.
    pub(super) fn edit(
        &self,
        original: &RgbImage,
        caption: &str,
        seed: u64,
        progress: Progress<'_>,
    ) -> Result<Option<[RgbImage; 2]>> {
        let edited = match self {
            Self::Classical(style) => {
                return Ok(Some([original.clone(), style.apply_to(original, seed)]));
            }
            Self::InstructPix2Pix { editor, settings, spec } => {
                let edit = Edit {
                    image: original.clone(),
                    instruction: spec.instruction.replace(CAPTION, caption),
                    negative_prompt: spec.negative_prompt.clone(),
                    seed,
                };
                editor.edit(&[edit], settings, progress)?
            }
            Self::PromptDiffusion { editor, spec, example } => {
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
                    sampler: samplers::kind(spec.sampler),
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

fn image(file: &str) -> Result<RgbImage> {
    let bytes = std::fs::read(file).with_context(|| format!("editor.example: cannot read {file}"))?;
    decode(&bytes).map_err(|problem| Error::msg(format!("editor.example: {file} {problem}")))
}

/// The files of a folder, sorted, or the file itself.
fn files_in(part: &Path) -> Result<Vec<PathBuf>> {
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
    ensure!(!files.is_empty(), "{} has no files", part.display());
    files.sort_unstable();
    Ok(files)
}
