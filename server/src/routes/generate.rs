//! Images from a prompt: the same fields as a query or as a body, one PNG back or several in JSON.

use crate::error::ApiError;
use crate::extract::{Body, Query};
use crate::generator::{Drawn, Order, Refusal};
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

/// Random seeds are short enough to be read out.
const RANDOM_SEEDS: u64 = 1 << 32;

/// An image from a prompt, by query
///
/// The same fields as the body of the POST. Answers with a PNG (its seed, model and id in the headers `x-seed`,
/// `x-model`, `x-model-sha256`, `x-image-id`), or with JSON under `Accept: application/json`. The same seed, model and
/// settings give the same bytes.
#[utoipa::path(get, path = path::GENERATE, tag = "generation",
    params(
        ("prompt" = String, Query, description = "What to image"),
        ("negative_prompt" = Option<String>, Query, description = "What to steer away from"),
        ("model" = Option<String>, Query, description = "A model's name or id; the server's default when absent"),
        ("seed" = Option<u64>, Query, description = "Of the starting noise; random when absent, always told"),
        ("steps" = Option<u32>, Query, description = "Denoising steps, 1 to 1000; the model's own when absent"),
        ("guidance_scale" = Option<f64>, Query, description = "0 to 50, 1 is none; the model's own when absent"),
        ("width" = Option<u32>, Query, description = "Pixels; the model's own when absent"),
        ("height" = Option<u32>, Query, description = "Pixels; the model's own when absent"),
        ("sampler" = Option<Sampler>, Query, description = "The model's own when absent"),
        ("lora" = Option<String>, Query, description = "Adapters over the model: NAME:SCALE, commas between several"),
        ("num_images" = Option<u32>, Query, description = "1 to 4; more than 1 needs `Accept: application/json`"),
    ),
    responses(
        (status = 200, content((Vec<u8> = "image/png"), (GenerateResponse = "application/json"))),
        (status = 422, description = "A field cannot be accepted, or the safety checker flags all that was drawn (code `flagged`)", body = ErrorBody),
        (status = 429, description = "The queue is full", body = ErrorBody),
        (status = 503, description = "The model cannot be used", body = ErrorBody),
    ))]
pub(crate) async fn by_query(
    State(state): State<AppState>,
    headers: HeaderMap,
    Query(request): Query<GenerateRequest>,
) -> Result<Response, ApiError> {
    generate(&state, &headers, request).await
}

/// An image from a prompt
///
/// As the GET, with the fields in a JSON body.
#[utoipa::path(post, path = path::GENERATE, tag = "generation", request_body = GenerateRequest,
    responses(
        (status = 200, content((Vec<u8> = "image/png"), (GenerateResponse = "application/json"))),
        (status = 422, description = "A field cannot be accepted, or the safety checker flags all that was drawn (code `flagged`)", body = ErrorBody),
        (status = 429, description = "The queue is full", body = ErrorBody),
        (status = 503, description = "The model cannot be used", body = ErrorBody),
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
            format!("this server draws nothing with {term:?}: say it otherwise"),
        ));
    }

    let seeds: Vec<u64> = (params.seed..).take(count as usize).collect();
    let prompts = seeds.iter().map(|&seed| prompt(&params, seed)).collect();
    let (worn, told) = models::adapters(state, &params.lora).await?;
    params.lora = told;
    let order = Order { model: files, worn, prompts, settings: settings(&params)? };
    let Drawn { images: drawn, seconds } = state.generator.draw(order).await.map_err(refused)?;
    let (mut sound, mut flagged) = (Vec::new(), Vec::new());
    for (seed, png) in seeds.into_iter().zip(drawn) {
        match png {
            Some(png) => sound.push((seed, png)),
            None => flagged.push(seed),
        }
    }
    if sound.is_empty() && !flagged.is_empty() {
        return Err(ApiError::flagged(&flagged));
    }
    let images = keep(state, &model, &params, &sound).await?;
    if as_json {
        let images = images.iter().zip(&sound).map(|(image, (seed, png))| GeneratedImage {
            id: image.id,
            b64: STANDARD.encode(png),
            seed: *seed,
        });
        let images = images.collect();
        let Model { name: model, sha256: model_sha256, .. } = model;
        let response = GenerateResponse { images, flagged, model, model_sha256, params, seconds };
        return Ok(Json(response).into_response());
    }
    let first = sound.into_iter().next();
    let (_, png) = first.ok_or_else(|| ApiError::internal("no image was drawn"))?;
    let facts = [
        ("x-seed", params.seed.to_string()),
        ("x-model", model.name),
        ("x-model-sha256", model.sha256),
        ("x-image-id", images[0].id.to_string()),
    ];
    let mut response =
        ([(header::CONTENT_TYPE, "image/png"), (header::CACHE_CONTROL, "no-store")], png).into_response();
    for (name, value) in facts {
        response.headers_mut().insert(name, HeaderValue::from_str(&value).map_err(ApiError::internal)?);
    }
    Ok(response)
}

async fn model(state: &AppState, name: Option<&str>) -> Result<Model, ApiError> {
    let name = name.unwrap_or(&state.default_model);
    state.store.find_model(name).await?.ok_or_else(|| {
        // A folder that is there and could not become a model says why.
        if let Some(Err(problem)) = state.catalogue.models.find(name) {
            return ApiError::unavailable(format!("Model {name:?} cannot be used: {problem}."));
        }
        let shown: String = name.chars().take(100).collect();
        ApiError::field(
            "model",
            format!("no model is called {shown:?}: {} lists those there are", path::MODELS),
        )
    })
}

/// The request with everything filled in.
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
        format!("use 0 to {MAX_SEED}, less one for each further image"),
    );
    Ok(problems.into_result().map_err(unique)?)
}

/// One problem per field is enough to tell.
fn unique(problems: Problems) -> Problems {
    let mut kept = Problems::default();
    for problem in problems.0 {
        if !kept.0.iter().any(|other| other.field == problem.field) {
            kept.0.push(problem);
        }
    }
    kept
}

fn prompt(params: &GenerationParams, seed: u64) -> Prompt {
    // In the contract an empty negative prompt is none.
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

fn refused(refusal: Refusal) -> ApiError {
    match refusal {
        Refusal::Full => ApiError::queue_full(),
        Refusal::Stopping => ApiError::unavailable("The server is stopping: ask again once it is back."),
        Refusal::Model(problem) => ApiError::unavailable(problem),
        Refusal::Setting { field, problem } => ApiError::field(field, problem),
        Refusal::Failed(_) => ApiError::internal(refusal),
    }
}

/// Files first, rows second: a row without a file cannot exist.
async fn keep(
    state: &AppState,
    model: &Model,
    params: &GenerationParams,
    drawn: &[(u64, Vec<u8>)],
) -> Result<Vec<Image>, ApiError> {
    let mut images = Vec::with_capacity(drawn.len());
    for (seed, png) in drawn {
        let params = GenerationParams { seed: *seed, ..params.clone() };
        images.push(state.catalogue.keep_image(Owner::Generation(model.id), params, png.clone()).await?);
    }
    state.store.insert_images(&images, None).await?;
    Ok(images)
}
