//! Generation of images from a prompt, given as a query or as a JSON body.

use crate::error::ApiError;
use crate::extract::{Body, Query};
use crate::generator::{Generated, GenerationError, GenerationRequest};
use crate::routes::file_schema::File;
use crate::routes::models;
use crate::routes::withheld::is_judged;
use crate::state::AppState;
use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, Method, header};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use catalogue::images::Owner;
use catalogue::samplers;
use diffusion::fingerprint::Fingerprint;
use diffusion::pipeline::{Defaults, Prompt, Settings};
use domain::api::{ErrorBody, GenerateRequest, GenerateResponse, GeneratedImage, path};
use domain::image::{GenerationParams, Image, Sampler};
use domain::limits::{MAX_IMAGES_PER_REQUEST, MAX_SEED};
use domain::model::Model;
use domain::problem::Problems;
use process::ambient;
use rand::Rng;
use std::time::Duration;

/// Random seeds are below this, so that people can read and type them.
const RANDOM_SEEDS: u64 = 1 << 32;

/// `Retry-After` of a request that was not finished in time, in seconds.
const AFTER_DEADLINE: u32 = 30;

// Descriptions that both routes share.
const INVALID: &str =
    "A field has a value that is not accepted, or the safety checker flagged every image (code `flagged`).";
const QUEUE_FULL: &str = "The generation queue is full. `Retry-After` says when to retry.";
const UNAVAILABLE: &str = "The model cannot be used, the image was not finished within the server's deadline, or the server is stopping.";
const CANCELLED: &str =
    "The request was cancelled by its ticket, or another request with this ticket waits or runs.";
const NOT_FINITE: &str =
    "The model gave values that are not finite (`not_finite`), or the server failed (`internal`).";

/// Generate an image, with a query
///
/// The response is a PNG file. The headers `x-seed`, `x-model`, `x-model-sha256` and `x-image-id` identify the image;
/// `x-prompt-tokens-cut` and `x-negative-prompt-tokens-cut` are present if the text has more tokens than the model reads. With
/// `Accept: application/json`, the response is JSON and can have several images. A HEAD request is checked like a GET and
/// generates nothing.
///
/// On a CPU, the same model, prompt, seed and settings give the same bytes every time.
#[utoipa::path(get, path = path::GENERATE, tag = "generation", operation_id = "generate_by_query",
    params(
        ("prompt" = String, Query, description = "What the image shows.", min_length = 1, max_length = 8192),
        ("negative_prompt" = Option<String>, Query, description = "What the image should not show."),
        ("model" = Option<String>, Query, description = "Name or id of the model; the server's default model when absent."),
        ("seed" = Option<i64>, Query, description = "Seed of the starting noise, 0 to 2^53 - 1; random when absent or -1.",
            minimum = -1, maximum = 9_007_199_254_740_991_i64),
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
        ("ticket" = Option<String>, Query,
            description = "Name of the request, to ask for its progress and to cancel it: 8 to 64 letters, digits and hyphens.",
            pattern = "^[A-Za-z0-9-]{8,64}$"),
    ),
    responses(
        (status = 200, description = "One PNG file, or JSON with every image in base64.",
            content((File = "image/png"), (GenerateResponse = "application/json"))),
        (status = 409, description = CANCELLED, body = ErrorBody),
        (status = 422, description = INVALID, body = ErrorBody),
        (status = 429, description = QUEUE_FULL, body = ErrorBody),
        (status = 500, description = NOT_FINITE, body = ErrorBody),
        (status = 503, description = UNAVAILABLE, body = ErrorBody),
    ))]
pub(crate) async fn by_query(
    State(state): State<AppState>,
    method: Method,
    headers: HeaderMap,
    Query(request): Query<GenerateRequest>,
) -> Result<Response, ApiError> {
    let answered = async {
        let order = order(&state, &headers, request).await?;
        // The router answers HEAD by GET.
        if method == Method::HEAD { order.head() } else { answer(&state, order).await }
    };
    in_time(state.generation_timeout, answered).await
}

/// Generate images, with a JSON body
///
/// Works like the GET, with the fields in a JSON body.
#[utoipa::path(post, path = path::GENERATE, tag = "generation", operation_id = "generate",
    request_body = GenerateRequest,
    responses(
        (status = 200, description = "One PNG file, or JSON with every image in base64.",
            content((File = "image/png"), (GenerateResponse = "application/json"))),
        (status = 409, description = CANCELLED, body = ErrorBody),
        (status = 422, description = INVALID, body = ErrorBody),
        (status = 429, description = QUEUE_FULL, body = ErrorBody),
        (status = 500, description = NOT_FINITE, body = ErrorBody),
        (status = 503, description = UNAVAILABLE, body = ErrorBody),
    ))]
pub(crate) async fn by_body(
    State(state): State<AppState>,
    headers: HeaderMap,
    Body(request): Body<GenerateRequest>,
) -> Result<Response, ApiError> {
    let answered = async {
        let order = order(&state, &headers, request).await?;
        answer(&state, order).await
    };
    in_time(state.generation_timeout, answered).await
}

/// An answer, given up after the server's deadline: the generator then drops the request, between two steps if it is
/// running.
async fn in_time(
    deadline: Duration,
    answer: impl Future<Output = Result<Response, ApiError>>,
) -> Result<Response, ApiError> {
    tokio::time::timeout(deadline, answer).await.unwrap_or_else(|_| {
        let message = format!(
            "The image was not finished within {} seconds (GENERATION_TIMEOUT), the time in the queue included. Use fewer \
             steps, a smaller size or fewer images, or try again when fewer requests are waiting.",
            deadline.as_secs()
        );
        Err(ApiError::try_later(&message, AFTER_DEADLINE))
    })
}

/// A request that has passed all checks.
struct Order {
    model: Model,
    /// Fingerprint of the model with its adapters.
    sha256: String,
    params: GenerationParams,
    seeds: Vec<u64>,
    as_json: bool,
    ticket: Option<String>,
    request: GenerationRequest,
}

impl Order {
    /// The headers of every response that has an image or could have one.
    fn with_headers(
        &self,
        mut response: Response,
        more: impl IntoIterator<Item = (&'static str, String)>,
    ) -> Result<Response, ApiError> {
        let own = [("x-model", self.model.name.clone()), ("x-model-sha256", self.sha256.clone())];
        for (name, value) in own.into_iter().chain(more) {
            let value = HeaderValue::from_str(&value).map_err(ApiError::internal)?;
            response.headers_mut().insert(name, value);
        }
        Ok(response)
    }

    /// The response to HEAD.
    fn head(&self) -> Result<Response, ApiError> {
        let kind = if self.as_json { "application/json" } else { "image/png" };
        let headers = [(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, "no-store")];
        self.with_headers(headers.into_response(), [])
    }
}

/// Checks a request, and names everything that decides its images.
async fn order(
    state: &AppState,
    headers: &HeaderMap,
    mut request: GenerateRequest,
) -> Result<Order, ApiError> {
    let as_json = headers
        .get(header::ACCEPT)
        .and_then(|accept| accept.to_str().ok())
        .is_some_and(|accept| accept.contains("application/json"));
    let ticket = ticket(request.ticket.take())?;
    let model = model(state, request.model.as_deref()).await?;
    if is_judged(state, model.id, &request.prompt).await? {
        return Err(ApiError::withheld("What this model draws of this prompt"));
    }
    let files = state.catalogue.files(&model).await?;
    let (defaults, multiple) = models::check(&files).await.map_err(ApiError::unavailable)?;
    let count = request.num_images.unwrap_or(1);
    let mut params = params(request, &defaults)?;
    check(&params, multiple, state.largest_side, count, as_json)?;
    check_work(&params, count, state.largest_request)?;
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
    let fingerprint = models::fingerprint(&files).await?;
    let effective = adapters.iter().filter(|adapter| adapter.scale != 0.0);
    let effective: Vec<(Fingerprint, f64)> =
        effective.map(|adapter| (adapter.fingerprint.clone(), adapter.scale)).collect();
    let sha256 = fingerprint.clone().with_adapters(&effective).sha256();
    let settings = settings(&params)?;
    let request = GenerationRequest { model: files, fingerprint, adapters, prompts, settings };
    Ok(Order { model, sha256, params, seeds, as_json, ticket, request })
}

/// The ticket of a request, checked.
fn ticket(given: Option<String>) -> Result<Option<String>, ApiError> {
    let is_one = |text: &String| {
        (8..=64).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    match given {
        Some(text) if !is_one(&text) => {
            Err(ApiError::field("ticket", "use 8 to 64 letters, digits and hyphens, such as a UUID"))
        }
        given => Ok(given),
    }
}

/// Generates the images and stores them.
async fn answer(state: &AppState, order: Order) -> Result<Response, ApiError> {
    let generated =
        state.generator.generate(order.request.clone(), order.ticket.as_deref()).await.map_err(api_error)?;
    let Generated { images: files, cut, seconds } = generated;
    let (mut accepted, mut flagged) = (Vec::new(), Vec::new());
    for (&seed, png) in order.seeds.iter().zip(files) {
        match png {
            Some(png) => accepted.push((seed, png)),
            None => flagged.push(seed),
        }
    }
    if accepted.is_empty() && !flagged.is_empty() {
        return Err(ApiError::flagged(&flagged));
    }
    let images = store_images(state, &order.model, &order.params, &accepted).await?;
    if order.as_json {
        let images = images.iter().zip(&accepted).map(|(image, (seed, png))| GeneratedImage {
            id: image.id,
            b64: STANDARD.encode(png),
            seed: *seed,
        });
        let images = images.collect();
        let Order { model: Model { name: model, .. }, sha256: model_sha256, params, .. } = order;
        let response = GenerateResponse { images, flagged, model, model_sha256, params, cut, seconds };
        return Ok(Json(response).into_response());
    }
    let first = accepted.into_iter().next();
    let (_, png) = first.ok_or_else(|| ApiError::internal("no image was generated"))?;
    let response =
        ([(header::CONTENT_TYPE, "image/png"), (header::CACHE_CONTROL, "no-store")], png).into_response();
    let cut = cut.into_iter().map(|cut| {
        let is_prompt = cut.field == "prompt";
        let name = if is_prompt { "x-prompt-tokens-cut" } else { "x-negative-prompt-tokens-cut" };
        (name, cut.tokens.to_string())
    });
    let own = [("x-seed", order.params.seed.to_string()), ("x-image-id", images[0].id.to_string())];
    order.with_headers(response, own.into_iter().chain(cut))
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
        ApiError::field("model", models::unknown(state, name))
    })
}

/// The request with the model's defaults and a random seed filled in.
fn params(request: GenerateRequest, defaults: &Defaults) -> Result<GenerationParams, ApiError> {
    Ok(GenerationParams {
        prompt: request.prompt,
        negative_prompt: request.negative_prompt.unwrap_or_default(),
        seed: seed(request.seed)?,
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

/// The seed of a request, drawn if it names none.
fn seed(requested: Option<i64>) -> Result<u64, ApiError> {
    match requested {
        None | Some(-1) => Ok(ambient::generator().random_range(0..RANDOM_SEEDS)),
        Some(seed) => u64::try_from(seed).map_err(|_| {
            ApiError::field("seed", format!("{seed} is no seed: use 0 to {MAX_SEED}, or -1 for a random one"))
        }),
    }
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

/// Refuses a request whose images take too many megapixel-steps together. One request would otherwise hold the only
/// generator for minutes.
fn check_work(params: &GenerationParams, count: u32, largest: f64) -> Result<(), ApiError> {
    let GenerationParams { width, height, steps, .. } = *params;
    let megapixels = f64::from(count) * f64::from(width) * f64::from(height) / 1e6;
    let work = megapixels * f64::from(steps);
    if work <= largest {
        return Ok(());
    }
    let images = if count == 1 { "1 image".to_owned() } else { format!("{count} images") };
    let most = (largest / megapixels).floor();
    let steps_left =
        if most >= 1.0 { format!("at most {most} steps for these") } else { "fewer steps".to_owned() };
    Err(ApiError::field(
        "steps",
        format!(
            "{images} of {width} x {height} pixels with {steps} steps are {work:.1} megapixel-steps, but a request may have \
             {largest} (LARGEST_REQUEST of the server): use {steps_left}, a smaller size or fewer images"
        ),
    ))
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
        GenerationError::TicketTaken => {
            ApiError::conflict("Another request with this ticket waits or runs: choose another ticket.")
        }
        GenerationError::Cancelled => ApiError::conflict("The request was cancelled."),
        GenerationError::Stopping => ApiError::stopping(),
        GenerationError::Ended => ApiError::unavailable("The generator has ended. Restart the server."),
        GenerationError::Model(problem) => ApiError::unavailable(problem),
        GenerationError::Setting { field, problem } => ApiError::field(field, problem),
        GenerationError::NotFinite(problem) => ApiError::not_finite(problem),
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
