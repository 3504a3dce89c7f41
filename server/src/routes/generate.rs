//! Generation of images from a prompt, given as a query or as a JSON body.

use crate::error::ApiError;
use crate::extract::{Body, Query};
use crate::generator::{Generated, GenerationError, GenerationRequest};
use crate::routes::file_schema::File;
use crate::routes::models;
use crate::state::AppState;
use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use catalogue::images::Owner;
use catalogue::samplers;
use diffusion::pipeline::{Defaults, Prompt, Settings};
use domain::api::{ErrorBody, GenerateRequest, GenerateResponse, GeneratedImage, path};
use domain::image::{GenerationParams, Image, Sampler};
use domain::limits::{MAX_IMAGES_PER_REQUEST, MAX_SEED};
use domain::model::Model;
use domain::problem::Problems;
use process::ambient;
use rand::Rng;

/// Random seeds are below this, so that people can read and type them.
const RANDOM_SEEDS: u64 = 1 << 32;

// Descriptions that both routes share.
const INVALID: &str =
    "A field has a value that is not accepted, or the safety checker flagged every image (code `flagged`).";
const QUEUE_FULL: &str = "The generation queue is full. `Retry-After` says when to retry.";
const UNAVAILABLE: &str = "The model cannot be used, or the server is stopping.";

/// Generate an image, with a query
///
/// The response is a PNG file. The headers `x-seed`, `x-model`, `x-model-sha256` and `x-image-id` identify the image. With
/// `Accept: application/json`, the response is JSON and can have several images.
///
/// On a CPU, the same model, prompt, seed and settings give the same bytes every time.
#[utoipa::path(get, path = path::GENERATE, tag = "generation", operation_id = "generate_by_query",
    params(
        ("prompt" = String, Query, description = "What the image shows.", min_length = 1, max_length = 8192),
        ("negative_prompt" = Option<String>, Query, description = "What the image should not show."),
        ("model" = Option<String>, Query, description = "Name or id of the model; the server's default model when absent."),
        ("seed" = Option<u64>, Query, description = "Seed of the starting noise, 0 to 2^53 - 1; random when absent.",
            minimum = 0, maximum = 9007199254740991i64),
        ("steps" = Option<u32>, Query, description = "Denoising steps, 1 to 1000; the model's default when absent.",
            minimum = 1, maximum = 1000),
        ("guidance_scale" = Option<f64>, Query,
            description = "Guidance scale, 0 to 50, where 1 is no guidance; the model's default when absent.",
            minimum = 0, maximum = 50),
        ("width" = Option<u32>, Query, description = "Width in pixels; the model's default when absent.", minimum = 1),
        ("height" = Option<u32>, Query, description = "Height in pixels; the model's default when absent.", minimum = 1),
        ("sampler" = Option<Sampler>, Query, description = "Sampler; the model's default when absent."),
        ("lora" = Option<String>, Query,
            description = "LoRA adapters: `NAME` or `NAME:SCALE`, separated by commas, applied in this order."),
        ("num_images" = Option<u32>, Query,
            description = "Number of images, 1 to 4; 1 when absent. More than 1 needs `Accept: application/json`. Image i uses seed + i.",
            minimum = 1, maximum = 4),
    ),
    responses(
        (status = 200, description = "One PNG file, or JSON with every image in base64.",
            content((File = "image/png"), (GenerateResponse = "application/json"))),
        (status = 422, description = INVALID, body = ErrorBody),
        (status = 429, description = QUEUE_FULL, body = ErrorBody),
        (status = 503, description = UNAVAILABLE, body = ErrorBody),
    ))]
pub(crate) async fn by_query(
    State(state): State<AppState>,
    headers: HeaderMap,
    Query(request): Query<GenerateRequest>,
) -> Result<Response, ApiError> {
    generate(&state, &headers, request).await
}

/// Generate images, with a JSON body
///
/// Works like the GET, with the fields in a JSON body.
#[utoipa::path(post, path = path::GENERATE, tag = "generation", operation_id = "generate",
    request_body = GenerateRequest,
    responses(
        (status = 200, description = "One PNG file, or JSON with every image in base64.",
            content((File = "image/png"), (GenerateResponse = "application/json"))),
        (status = 422, description = INVALID, body = ErrorBody),
        (status = 429, description = QUEUE_FULL, body = ErrorBody),
        (status = 503, description = UNAVAILABLE, body = ErrorBody),
    ))]
pub(crate) async fn by_body(
    State(state): State<AppState>,
    headers: HeaderMap,
    Body(request): Body<GenerateRequest>,
) -> Result<Response, ApiError> {
    generate(&state, &headers, request).await
}

async fn generate(
    state: &AppState,
    headers: &HeaderMap,
    request: GenerateRequest,
) -> Result<Response, ApiError> {
    let as_json = headers
        .get(header::ACCEPT)
        .and_then(|accept| accept.to_str().ok())
        .is_some_and(|accept| accept.contains("application/json"));
    let model = model(state, request.model.as_deref()).await?;
    let files = state.catalogue.files(&model).await?;
    let (defaults, multiple) = models::check(&files).await.map_err(ApiError::unavailable)?;
    let count = request.num_images.unwrap_or(1);
    let mut params = params(request, &defaults)?;
    check(&params, multiple, state.largest_side, count, as_json)?;
    if let Some(term) = state.prompt_filter.refuses(&params.prompt) {
        return Err(ApiError::field(
            "prompt",
            format!("the prompt filter rejects {term:?}; rephrase the prompt"),
        ));
    }

    let seeds: Vec<u64> = (params.seed..).take(count as usize).collect();
    let prompts = seeds.iter().map(|&seed| prompt(&params, seed)).collect();
    let (adapters, lora) = models::adapters(state, &params.lora).await?;
    params.lora = lora;
    let request = GenerationRequest { model: files, adapters, prompts, settings: settings(&params)? };
    let Generated { images: files, seconds } = state.generator.generate(request).await.map_err(api_error)?;
    let (mut accepted, mut flagged) = (Vec::new(), Vec::new());
    for (seed, png) in seeds.into_iter().zip(files) {
        match png {
            Some(png) => accepted.push((seed, png)),
            None => flagged.push(seed),
        }
    }
    if accepted.is_empty() && !flagged.is_empty() {
        return Err(ApiError::flagged(&flagged));
    }
    let images = store_images(state, &model, &params, &accepted).await?;
    if as_json {
        let images = images.iter().zip(&accepted).map(|(image, (seed, png))| GeneratedImage {
            id: image.id,
            b64: STANDARD.encode(png),
            seed: *seed,
        });
        let images = images.collect();
        let Model { name: model, sha256: model_sha256, .. } = model;
        let response = GenerateResponse { images, flagged, model, model_sha256, params, seconds };
        return Ok(Json(response).into_response());
    }
    let first = accepted.into_iter().next();
    let (_, png) = first.ok_or_else(|| ApiError::internal("no image was generated"))?;
    let headers = [
        ("x-seed", params.seed.to_string()),
        ("x-model", model.name),
        ("x-model-sha256", model.sha256),
        ("x-image-id", images[0].id.to_string()),
    ];
    let mut response =
        ([(header::CONTENT_TYPE, "image/png"), (header::CACHE_CONTROL, "no-store")], png).into_response();
    for (name, value) in headers {
        response.headers_mut().insert(name, HeaderValue::from_str(&value).map_err(ApiError::internal)?);
    }
    Ok(response)
}

async fn model(state: &AppState, name: Option<&str>) -> Result<Model, ApiError> {
    let Some(name) = name.or(state.default_model.as_deref()) else {
        let missing = || ApiError::field("model", "there is no model yet: add one to the models folder");
        return models::default_model(state).await?.ok_or_else(missing);
    };
    state.store.find_model(name).await?.ok_or_else(|| {
        // The folder exists but could not be registered as a model.
        if let Some(Err(problem)) = state.catalogue.models.find(name) {
            return ApiError::unavailable(format!("Model {name:?} cannot be used: {problem}."));
        }
        let shown: String = name.chars().take(100).collect();
        ApiError::field(
            "model",
            format!("there is no model named {shown:?}; {} lists all models", path::MODELS),
        )
    })
}

/// The request with the model's defaults and a random seed filled in.
fn params(request: GenerateRequest, defaults: &Defaults) -> Result<GenerationParams, ApiError> {
    Ok(GenerationParams {
        prompt: request.prompt,
        negative_prompt: request.negative_prompt.unwrap_or_default(),
        seed: request.seed.unwrap_or_else(|| ambient::generator().random_range(0..RANDOM_SEEDS)),
        steps: request.steps.unwrap_or(defaults.steps),
        guidance_scale: request.guidance_scale.unwrap_or(defaults.guidance_scale),
        width: request.width.unwrap_or(defaults.width),
        height: request.height.unwrap_or(defaults.height),
        sampler: match request.sampler {
            Some(sampler) => sampler,
            None => samplers::name(defaults.sampler),
        },
        lora: request.lora,
    })
}

fn check(
    params: &GenerationParams,
    multiple: u32,
    largest: u32,
    count: u32,
    as_json: bool,
) -> Result<(), ApiError> {
    let mut problems = params.validate(multiple, largest).err().unwrap_or_default();
    problems.require(
        (1..=MAX_IMAGES_PER_REQUEST).contains(&count),
        "num_images",
        format!("use 1 to {MAX_IMAGES_PER_REQUEST}"),
    );
    problems.require(
        as_json || count <= 1,
        "num_images",
        "more than 1 needs the header `Accept: application/json`",
    );
    problems.require(
        params.seed <= MAX_SEED.saturating_sub(u64::from(count.saturating_sub(1))),
        "seed",
        format!("use 0 to {MAX_SEED}, less 1 for each image after the first"),
    );
    Ok(problems.into_result().map_err(first_per_field)?)
}

/// The first problem of each field.
fn first_per_field(problems: Problems) -> Problems {
    let mut kept = Problems::default();
    for problem in problems.0 {
        if !kept.0.iter().any(|other| other.field == problem.field) {
            kept.0.push(problem);
        }
    }
    kept
}

fn prompt(params: &GenerationParams, seed: u64) -> Prompt {
    // An empty negative prompt means none.
    let negative_prompt = Some(&params.negative_prompt).filter(|text| !text.is_empty()).cloned();
    Prompt { prompt: params.prompt.clone(), negative_prompt, seed }
}

fn settings(params: &GenerationParams) -> Result<Settings, ApiError> {
    Ok(Settings {
        width: params.width,
        height: params.height,
        steps: params.steps,
        guidance_scale: params.guidance_scale,
        sampler: samplers::kind(params.sampler),
    })
}

fn api_error(error: GenerationError) -> ApiError {
    match error {
        GenerationError::QueueFull => ApiError::queue_full(),
        GenerationError::Stopping => ApiError::stopping(),
        GenerationError::Model(problem) => ApiError::unavailable(problem),
        GenerationError::Setting { field, problem } => ApiError::field(field, problem),
        GenerationError::Failed(_) => ApiError::internal(error),
    }
}

/// Writes the files first and the rows second, so that every row has its file.
async fn store_images(
    state: &AppState,
    model: &Model,
    params: &GenerationParams,
    files: &[(u64, Vec<u8>)],
) -> Result<Vec<Image>, ApiError> {
    let mut images = Vec::with_capacity(files.len());
    for (seed, png) in files {
        let params = GenerationParams { seed: *seed, ..params.clone() };
        images.push(state.catalogue.keep_image(Owner::Generation(model.id), params, png.clone()).await?);
    }
    state.store.insert_images(&images, None).await?;
    Ok(images)
}
