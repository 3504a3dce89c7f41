//! Comparisons: the images of two models, or of one, are drawn unless they exist, and raters judge them.

use crate::error::ApiError;
use crate::extract::{Body, Form};
use crate::routes::models::check;
use crate::routes::question::named_models;
use crate::state::AppState;
use axum::Json;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::IntoResponse;
use catalogue::comparison::{ComparisonPlan, Contender};
use domain::api::{Comparison, ComparisonRequest, Drawing, ErrorBody, JobAccepted, judge_page, path};
use domain::evaluate::{EvaluateSpec, PromptSpec};
use domain::id::{JobId, ModelId};
use domain::job::{Job, JobSpec, JobState};
use domain::model::Model;
use process::ambient;

/// The newest jobs among which the one of a comparison is looked for.
const RECENT_JOBS: u32 = 100;

/// Judge two models, or the images of one
///
/// If the models have images to compare and the request has neither prompts nor seed, nothing is drawn. Otherwise one evaluation job
/// draws the missing images, for every model with the same prompts and seeds. A request that is repeated while the job
/// is unfinished gets the same job. One model gets several images per prompt, which are compared with each other: votes on
/// them rank no model, but are training data like all votes.
#[utoipa::path(post, path = path::COMPARISONS, tag = "judging", operation_id = "create_comparison",
    request_body = ComparisonRequest, responses(
    (status = 200, description = "All images exist: open `judge_url`.", body = Comparison),
    (status = 202, description = "A job draws the missing images: `judge_url` shows them as they come.", body = Comparison),
    (status = 422, description = "A model does not exist or cannot be used, the models' images have different sizes, or prompts are missing.", body = ErrorBody)))]
pub(crate) async fn create(
    State(state): State<AppState>,
    Body(request): Body<ComparisonRequest>,
) -> Result<impl IntoResponse, ApiError> {
    let comparison = compare(&state, &request).await?;
    let status = if comparison.job.is_some() { StatusCode::ACCEPTED } else { StatusCode::OK };
    Ok((status, Json(comparison)))
}

/// Prepares a comparison: enqueues the job that draws its images, unless there are none to draw.
pub(crate) async fn compare(state: &AppState, request: &ComparisonRequest) -> Result<Comparison, ApiError> {
    request.validate()?;
    let models = named_models(state, request.models.iter().map(String::as_str)).await?;
    if models.len() != request.models.len() {
        return Err(ApiError::field("models", "names a model twice: name it once to judge its own images"));
    }
    let ids: Vec<ModelId> = models.iter().map(|model| model.id).collect();
    let names: Vec<String> = models.iter().map(|model| model.name.clone()).collect();
    let mut comparison = Comparison {
        pairs: state.store.count_comparable(&ids).await? as u64,
        images: 0,
        job: None,
        judge_url: judge_page(request.question, &names),
        models: names,
    };
    let unfinished: Vec<Job> = jobs_of(state, &models).await?;
    let unfinished = || unfinished.iter().filter(|job| !job.state.is_final());
    if request.prompts.is_none() && request.seed.is_none() {
        if let Some(job) = unfinished().next() {
            comparison.images = left_to_draw(job);
            comparison.job = Some(accepted(job.id));
            return Ok(comparison);
        }
        if comparison.pairs > 0 {
            return Ok(comparison);
        }
    }
    let ComparisonPlan { spec, missing } =
        state.catalogue.plan_comparison(&contenders(state, models).await?, request).await?;
    if missing == 0 {
        return Ok(comparison);
    }
    comparison.images = missing as u64;
    let spec = JobSpec::Evaluate(spec);
    let job = match unfinished().find(|job| job.spec == spec) {
        Some(job) => job.id,
        None => {
            spec.validate()?;
            let now = ambient::now();
            state.store.enqueue_job(JobId::new(now, ambient::entropy()), &spec, now).await?.id
        }
    };
    comparison.job = Some(accepted(job));
    Ok(comparison)
}

/// The models with their folders and default settings.
async fn contenders(state: &AppState, models: Vec<Model>) -> Result<Vec<Contender>, ApiError> {
    let mut contenders = Vec::with_capacity(models.len());
    for model in models {
        let files = state.catalogue.files(&model).await?;
        let (defaults, _) = check(&files).await.map_err(|problem| ApiError::field("models", problem))?;
        contenders.push(Contender { model, folders: files.folders(), defaults });
    }
    Ok(contenders)
}

fn accepted(id: JobId) -> JobAccepted {
    JobAccepted { id, url: path::JOB.replace("{id}", &id.to_string()) }
}

/// Images that an unfinished job has not drawn. Before a worker has counted them it is all that it may draw.
fn left_to_draw(job: &Job) -> u64 {
    let JobSpec::Evaluate(spec) = &job.spec else { return 0 };
    let prompts = match &spec.prompts {
        PromptSpec::List { prompts } => prompts.len() as u64,
        PromptSpec::ShapesHeldOut { count } | PromptSpec::ShapesTraining { count, .. } => u64::from(*count),
        _ => 0,
    };
    let all = prompts * u64::from(spec.images_per_prompt) * spec.all_models().len() as u64;
    if job.total > 0 { u64::try_from(job.total - job.progress).unwrap_or(0) } else { all }
}

/// The job that draws images of these models, if it is unfinished, or failed and the newest of its kind; none if `models` is
/// empty.
pub(crate) async fn drawing_of(state: &AppState, models: &[Model]) -> Result<Option<Drawing>, ApiError> {
    let jobs = jobs_of(state, models).await?;
    let unfinished = jobs.iter().find(|job| !job.state.is_final());
    let failed = jobs.first().filter(|job| job.state == JobState::Failed);
    Ok(unfinished.or(failed).cloned().map(Drawing::from))
}

/// Recent evaluations that draw what a comparison of these models needs, newest first: of two models, images by both; of
/// one, several images per prompt.
async fn jobs_of(state: &AppState, models: &[Model]) -> Result<Vec<Job>, ApiError> {
    if models.is_empty() {
        return Ok(Vec::new());
    }
    let includes = |spec: &EvaluateSpec, model: &Model| {
        let id = model.id.to_string();
        spec.all_models().iter().any(|name| *name == model.name || *name == id)
    };
    let repeats_prompts = |spec: &EvaluateSpec| match &spec.prompts {
        PromptSpec::List { prompts } => prompts.windows(2).any(|pair| pair[0] == pair[1]),
        _ => false,
    };
    let mut jobs = state.store.list_jobs(None, RECENT_JOBS).await?;
    jobs.retain(|job| match &job.spec {
        JobSpec::Evaluate(spec) => {
            let repeats = spec.images_per_prompt > 1 || repeats_prompts(spec);
            models.iter().all(|model| includes(spec, model)) && (models.len() > 1 || repeats)
        }
        JobSpec::Train(_) => false,
    });
    Ok(jobs)
}

/// The form of the page that starts a comparison.
#[derive(Clone, Debug, Default)]
pub(crate) struct CompareForm {
    /// The model of the page.
    pub(crate) model: String,
    /// The model to judge it against; the same one for its own images.
    pub(crate) against: String,
    /// The prompts, one per line.
    pub(crate) prompts: String,
    /// Images per prompt, as text.
    pub(crate) images_per_prompt: String,
}

impl CompareForm {
    /// Reads the form of a request.
    ///
    /// # Errors
    /// Fails if the body is no form, is too large, or contains a control character.
    pub(crate) async fn read(request: Request, state: &AppState) -> Result<Self, ApiError> {
        let form = Form::read(request, state).await?;
        let field = |name: &str| form.get(name).unwrap_or_default().to_owned();
        Ok(Self {
            model: field("model"),
            against: field("against"),
            prompts: field("prompts"),
            images_per_prompt: field("images_per_prompt"),
        })
    }

    /// The request that the form stands for.
    ///
    /// # Errors
    /// Fails if the number of images is not a number.
    pub(crate) fn request(&self) -> Result<ComparisonRequest, ApiError> {
        let prompts: Vec<String> =
            self.prompts.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect();
        let images_per_prompt = match self.images_per_prompt.trim() {
            "" => None,
            text => Some(text.parse().map_err(|_| {
                ApiError::field("images_per_prompt", format!("{text:?} is not a whole number"))
            })?),
        };
        let mut models = vec![self.model.trim().to_owned()];
        if self.against.trim() != models[0] {
            models.push(self.against.trim().to_owned());
        }
        if models.iter().any(String::is_empty) {
            return Err(ApiError::field("models", "press the button of a model"));
        }
        Ok(ComparisonRequest {
            models,
            prompts: Some(prompts).filter(|prompts| !prompts.is_empty()),
            images_per_prompt,
            ..ComparisonRequest::default()
        })
    }
}
