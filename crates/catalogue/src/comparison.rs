//! What raters need to compare two models, or the images of one: the evaluation that draws the missing images.

use crate::images;
use crate::models::Catalogue;
use crate::samplers;
use crate::world::belongs_to_bundled_world;
use diffusion::part_folders::PartFolders;
use diffusion::pipeline::{Defaults, Settings};
use domain::api::ComparisonRequest;
use domain::evaluate::{EvaluateSpec, PromptSpec};
use domain::image::{GenerationParams, Image};
use domain::limits::MAX_PROMPTS;
use domain::model::Model;
use domain::problem::Problems;
use shapes::world::{EVALUATION_SEED, held_out_prompts};
use std::collections::{BTreeMap, BTreeSet};
use store::StoreError;

/// A model whose images are judged.
#[derive(Clone, Debug)]
pub struct Contender {
    /// The model's row in the database.
    pub model: Model,
    /// The folders of its parts.
    pub folders: PartFolders,
    /// The settings that it draws with by default.
    pub defaults: Defaults,
}

/// An evaluation that draws the images of a comparison.
#[derive(Clone, Debug, PartialEq)]
pub struct ComparisonPlan {
    /// The spec to enqueue.
    pub spec: EvaluateSpec,
    /// Images of it that do not exist yet, of all models together.
    pub missing: usize,
}

/// The prompts of a comparison: image i has prompt i and seed `seed` + i.
struct Prompts {
    spec: PromptSpec,
    texts: Vec<String>,
    seed: u64,
    /// The settings of the images that exist already; `None` if there are none to match.
    settings: Option<Settings>,
}

impl Catalogue {
    /// Plans the evaluation that draws what a valid request asks for.
    ///
    /// # Errors
    /// Fails with `Invalid` if the models' images have different sizes, or if prompts are needed and the request has
    /// none; fails if the database does not answer.
    pub async fn plan_comparison(
        &self,
        contenders: &[Contender],
        request: &ComparisonRequest,
    ) -> Result<ComparisonPlan, StoreError> {
        let first = contenders.first().ok_or_else(|| Problems::one("models", "name two models, or one"))?;
        if let Some(other) = contenders.iter().find(|other| size(&other.defaults) != size(&first.defaults)) {
            return Err(unequal_sizes(first, other).into());
        }
        let prompts = self.comparison_prompts(contenders, request).await?;
        let settings =
            prompts.settings.unwrap_or_else(|| images::settings(&first.defaults, None, None, None));
        let mut spec = EvaluateSpec::of("", prompts.spec);
        spec.models = contenders.iter().map(|contender| contender.model.name.clone()).collect();
        spec.seed = prompts.seed;
        // Images are comparable only if all models use the same settings.
        let is_default = contenders.iter().all(|contender| {
            let defaults = &contender.defaults;
            (defaults.steps, defaults.guidance_scale, defaults.sampler)
                == (settings.steps, settings.guidance_scale, settings.sampler)
        });
        if !is_default {
            spec.steps = Some(settings.steps);
            spec.guidance_scale = Some(settings.guidance_scale);
            spec.sampler = Some(samplers::name(settings.sampler));
        }
        let params: Vec<GenerationParams> = prompts
            .texts
            .iter()
            .zip(prompts.seed..)
            .map(|(prompt, seed)| images::params(&settings, prompt, seed))
            .collect();
        let mut missing = 0;
        for contender in contenders {
            let found = self.store.find_evaluation_images(contender.model.id, &params).await?;
            missing += found.iter().filter(|image| image.is_none()).count();
        }
        Ok(ComparisonPlan { spec, missing })
    }

    /// The prompts of the request; else those of existing evaluation images; else held-out prompts of the bundled world,
    /// if all models belong to it.
    async fn comparison_prompts(
        &self,
        contenders: &[Contender],
        request: &ComparisonRequest,
    ) -> Result<Prompts, StoreError> {
        let repeats = request.images_per_prompt() as usize;
        let seed = request.seed.unwrap_or(0);
        let list = |prompts: Vec<String>| {
            let texts: Vec<String> =
                prompts.into_iter().flat_map(|prompt| std::iter::repeat_n(prompt, repeats)).collect();
            Prompts { spec: PromptSpec::List { prompts: texts.clone() }, texts, seed, settings: None }
        };
        if let Some(prompts) = &request.prompts {
            return Ok(list(prompts.iter().map(|prompt| prompt.trim().to_owned()).collect()));
        }
        let mut existing = Vec::new();
        for contender in contenders {
            existing.push(self.store.list_evaluation_images(contender.model.id, MAX_PROMPTS).await?);
        }
        if repeats == 1 && request.seed.is_none() {
            let runs = existing.iter().map(|images| longest_run(images, &contenders[0].defaults));
            if let Some(run) = runs.max_by_key(Vec::len).filter(|run| !run.is_empty()) {
                return Ok(repeated(&run[..run.len().min(request.count())]));
            }
        }
        let mut known = BTreeSet::new();
        let images = existing.iter().flatten().filter(|image| known.insert(image.params.prompt.as_str()));
        let prompts: Vec<String> =
            images.map(|image| image.params.prompt.clone()).take(request.count()).collect();
        if !prompts.is_empty() {
            return Ok(list(prompts));
        }
        let folders: Vec<PartFolders> =
            contenders.iter().map(|contender| contender.folders.clone()).collect();
        let all_bundled =
            tokio::task::spawn_blocking(move || folders.iter().all(belongs_to_bundled_world)).await;
        if !all_bundled.unwrap_or(false) {
            let problem = "give the prompts to judge on, one per line of a form or as a list: the models have no \
                           evaluation images whose prompts could be used";
            return Err(Problems::one("prompts", problem).into());
        }
        let held_out = held_out_prompts(request.count(), EVALUATION_SEED);
        let mut prompts = list(held_out.into_iter().map(|prompt| prompt.caption).collect());
        if repeats == 1 {
            // The rule of the bundled world scores these images too.
            let count = u32::try_from(prompts.texts.len()).unwrap_or(MAX_PROMPTS);
            prompts.spec = PromptSpec::ShapesHeldOut { count };
        }
        Ok(prompts)
    }
}

fn size(defaults: &Defaults) -> (u32, u32) {
    (defaults.width, defaults.height)
}

fn unequal_sizes(first: &Contender, other: &Contender) -> Problems {
    let described = |contender: &Contender| {
        let (width, height) = size(&contender.defaults);
        format!("{:?} draws {width} x {height} pixels", contender.model.name)
    };
    let problem = format!(
        "{}, and {}: name two models whose images have the same size",
        described(first),
        described(other)
    );
    Problems::one("models", problem)
}

/// The longest sequence of images of one model with consecutive seeds and equal settings, which one evaluation can repeat
/// for another model. Only images of the size of `defaults`, without negative prompt and adapters.
fn longest_run<'a>(images: &'a [Image], defaults: &Defaults) -> Vec<&'a Image> {
    let mut by_settings: BTreeMap<_, BTreeMap<u64, &Image>> = BTreeMap::new();
    for image in images {
        let params = &image.params;
        let is_repeatable = (params.width, params.height) == size(defaults)
            && params.negative_prompt.is_empty()
            && params.lora.is_empty();
        if is_repeatable {
            let settings = (params.steps, params.guidance_scale.to_bits(), params.sampler.as_str());
            by_settings.entry(settings).or_default().entry(params.seed).or_insert(image);
        }
    }
    let mut longest = Vec::new();
    for by_seed in by_settings.into_values() {
        let mut run: Vec<&Image> = Vec::new();
        for (seed, image) in by_seed {
            if run.last().is_some_and(|last| last.params.seed + 1 != seed) {
                run.clear();
            }
            run.push(image);
            if run.len() > longest.len() {
                longest.clone_from(&run);
            }
        }
    }
    longest
}

/// The prompts, seeds and settings of a run of images, so that only other models' images are missing.
fn repeated(run: &[&Image]) -> Prompts {
    let texts: Vec<String> = run.iter().map(|image| image.params.prompt.clone()).collect();
    let first = run.first().map(|image| &image.params);
    let held_out = held_out_prompts(texts.len(), EVALUATION_SEED);
    let spec = if held_out.iter().map(|prompt| &prompt.caption).eq(&texts) {
        // The rule of the bundled world scored these images: it scores the other model's too.
        PromptSpec::ShapesHeldOut { count: u32::try_from(texts.len()).unwrap_or(MAX_PROMPTS) }
    } else {
        PromptSpec::List { prompts: texts.clone() }
    };
    Prompts {
        spec,
        texts,
        seed: first.map_or(0, |params| params.seed),
        settings: first.map(|params| Settings {
            width: params.width,
            height: params.height,
            steps: params.steps,
            guidance_scale: params.guidance_scale,
            sampler: samplers::kind(params.sampler),
        }),
    }
}
