//! A server over a real database and a tiny real model in a temporary folder.

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Request, StatusCode, header};
use clap::Parser;
use domain::Timestamp;
use domain::evaluate::{Metric, ReportFile};
use domain::id::{ImageId, JobId, ModelId, RaterId, VoteId};
use domain::image::{GenerationParams, Image, Purpose, Sampler};
use domain::job::JobSpec;
use domain::model::Model;
use domain::preference::{Choice, Question, Vote};
use domain::run::MetricPoint;
use rand::SeedableRng;
use serde_json::Value;
use server::{AppState, Config, app};
use std::fs;
use std::path::Path;
use std::time::Duration;
use store::{Artifacts, Claim, Ending, ImageScore, Store};
use tempfile::TempDir;
use tower::ServiceExt;
use uuid::Uuid;

/// A complete model, small enough for tests: the fixture that the model code is compared with diffusers on.
const MODEL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../crates/diffusion/tests/fixtures/model");

/// Default width and height of its images, in pixels.
pub(crate) const SIDE: u32 = 8;

pub(crate) struct TestApp {
    pub(crate) router: Router,
    pub(crate) store: Store,
    pub(crate) artifacts: Artifacts,
    pub(crate) folder: TempDir,
    /// The last second that `now` returned.
    clock: std::cell::Cell<u32>,
}

/// A response with its whole body.
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) bytes: Vec<u8>,
}

impl Reply {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes).unwrap_or_else(|e| panic!("{e}: {}", self.text()))
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().expect("a readable header"))
    }

    /// Asserts the status; a failure shows the body.
    #[track_caller]
    pub(crate) fn expect(self, status: u16) -> Self {
        assert_eq!(self.status.as_u16(), status, "{}", self.text());
        self
    }

    /// Asserts an error with this status and with a message about this field.
    #[track_caller]
    pub(crate) fn refuses(self, status: u16, field: &str) -> String {
        let reply = self.expect(status);
        let error = &reply.json()["error"];
        assert!(error["message"].as_str().is_some_and(|m| m.len() > 5), "{error}");
        let fields = error["fields"].as_array().into_iter().flatten();
        let message = fields.filter(|p| p["field"] == field).find_map(|p| p["message"].as_str());
        let message = message.filter(|m| m.len() > 5).map(str::to_owned);
        message.unwrap_or_else(|| panic!("the error does not name {field:?}: {error}"))
    }
}

impl TestApp {
    pub(crate) async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// A server with the tiny model and further command-line arguments.
    pub(crate) async fn start_with(arguments: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a scratch folder");
        copy(Path::new(MODEL), &folder.path().join("models/tiny"));
        Self::start_in(folder, arguments).await
    }

    pub(crate) async fn start_in(folder: TempDir, arguments: &[&str]) -> Self {
        let config = config(folder.path(), arguments);
        let state = AppState::open(&config).await.expect("a server");
        let store = Store::connect(&config.database_url).await.expect("the same database");
        let artifacts = Artifacts::open(&config.artifacts).expect("the same artifacts");
        Self { router: app(state), store, artifacts, folder, clock: 0.into() }
    }

    pub(crate) async fn send(&self, request: Request<Body>) -> Reply {
        let response = self.router.clone().oneshot(request).await.expect("an answer");
        let (parts, body) = response.into_parts();
        let bytes = to_bytes(body, usize::MAX).await.expect("a whole body").to_vec();
        Reply { status: parts.status, headers: parts.headers, bytes }
    }

    pub(crate) async fn get(&self, path: &str) -> Reply {
        self.send(Request::get(path).body(Body::empty()).expect("a request")).await
    }

    pub(crate) async fn get_as(&self, cookie: &str, path: &str) -> Reply {
        self.send(Request::get(path).header(header::COOKIE, cookie).body(Body::empty()).expect("a request"))
            .await
    }

    pub(crate) async fn post(&self, path: &str, body: impl Into<String>) -> Reply {
        self.post_as("", path, body).await
    }

    pub(crate) async fn post_as(&self, cookie: &str, path: &str, body: impl Into<String>) -> Reply {
        let request = Request::post(path)
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::COOKIE, cookie)
            .body(Body::from(body.into()));
        self.send(request.expect("a request")).await
    }

    /// A time one second after the previous one.
    pub(crate) fn now(&self) -> Timestamp {
        self.clock.set(self.clock.get() + 1);
        Timestamp::UNIX_EPOCH + Duration::from_secs(1_800_000_000 + u64::from(self.clock.get()))
    }

    /// An id of nothing.
    pub(crate) fn now_id(&self) -> String {
        ImageId::new(self.now(), self.entropy()).to_string()
    }

    fn entropy(&self) -> [u8; 10] {
        let mut bytes = [0; 10];
        bytes[..4].copy_from_slice(&self.clock.get().to_le_bytes());
        bytes
    }

    pub(crate) async fn model(&self, name: &str) -> Model {
        self.store.get_model_by_name(name).await.expect("a query").expect("a model of this name")
    }

    /// A model over the tiny one with the same weights, as a run would create it.
    pub(crate) async fn sibling(&self, name: &str, objective: &str) -> Model {
        let base = self.model("tiny").await;
        let now = self.now();
        let model = Model {
            id: ModelId::new(now, self.entropy()),
            name: name.to_owned(),
            base_id: Some(base.id),
            objective: Some(objective.to_owned()),
            created_at: now,
            ..base
        };
        self.store.insert_model(&model, None).await.expect("a new model");
        model
    }

    /// An evaluation image of one colour, with a score.
    pub(crate) async fn image(&self, model: &Model, prompt: &str, colour: [u8; 3]) -> Image {
        let now = self.now();
        let id = ImageId::new(now, self.entropy());
        let artifact = format!("images/{id}.png");
        let mut bytes = std::io::Cursor::new(Vec::new());
        image::RgbImage::from_pixel(SIDE, SIDE, image::Rgb(colour))
            .write_to(&mut bytes, image::ImageFormat::Png)
            .expect("a PNG");
        self.artifacts.put(&artifact, bytes.into_inner()).await.expect("a file");
        let image = Image {
            id,
            model_id: Some(model.id),
            run_id: None,
            step: None,
            purpose: Purpose::Evaluation,
            params: params(prompt),
            artifact,
            created_at: now,
        };
        self.store.insert_images(std::slice::from_ref(&image), None).await.expect("a row");
        let score = ImageScore { image_id: id, metric: Metric::ShapeAndColour, value: 1.0 };
        self.store.put_scores(&[score], None).await.expect("a score");
        image
    }

    /// A succeeded evaluation of these models with a report, as a worker would leave it.
    pub(crate) async fn evaluation(&self, models: &[&str], page: &str) -> JobId {
        let prompts = serde_json::json!({"source": "shapes_held_out", "count": 2});
        let spec = serde_json::json!({"kind": "evaluate", "models": models, "prompts": prompts});
        let spec: JobSpec = serde_json::from_value(spec).expect("a spec");
        let now = self.now();
        let id = JobId::new(now, self.entropy());
        self.store.enqueue_job(id, &spec, now).await.expect("a job");
        let lease = Duration::from_secs(3600);
        let claim = self.store.claim_job("test", Uuid::from_u128(self.clock.get().into()), now, lease).await;
        let claim = claim.expect("a query").expect("the job");
        let bytes = [page, "{\"prompts\": 2}", "model,score\n"];
        for (file, bytes) in ReportFile::ALL.into_iter().zip(bytes) {
            self.artifacts.put(&file.artifact(id), bytes.into()).await.expect("a file");
        }
        self.store.finish_job(&claim, self.now(), &Ending::Succeeded).await.expect("ended");
        id
    }

    /// A run with `steps` steps of metrics and two sample images, as a worker would write it; unfinished without `ending`.
    pub(crate) async fn run(&self, name: &str, steps: i64, ending: Option<Ending>) -> Claim {
        let spec: JobSpec = serde_json::from_value(train_spec(name)).expect("a spec");
        let now = self.now();
        self.store.enqueue_job(JobId::new(now, self.entropy()), &spec, now).await.expect("a job");
        let lease = Duration::from_secs(3600);
        let claim = self.store.claim_job("test", Uuid::from_u128(self.clock.get().into()), now, lease).await;
        let claim = claim.expect("a query").expect("the job");
        let run =
            self.store.begin_run(&claim, domain::id::RunId::new(now, self.entropy())).await.expect("a run");
        for step in 1..=steps {
            let decay = (-0.02 * step as f64).exp();
            let noise = ((step * 7919) % 101) as f64 / 101.0 - 0.5;
            let values = [
                ("loss", 0.2 + 0.5 * decay + 0.05 * noise),
                ("rewards/accuracies", 0.5 + 0.4 * (1.0 - decay) + 0.1 * noise),
                ("rewards/margins", 2.0 * (1.0 - decay) + 0.2 * noise),
                ("samples_per_second", 30.0 + noise),
                ("grad_norm", 1.0 + noise),
            ];
            let points: Vec<MetricPoint> =
                values.map(|(name, value)| MetricPoint { name: name.into(), step, value }).into();
            self.store.append_metrics(&claim, run.id, step, &points).await.expect("points");
        }
        for step in [steps / 2, steps] {
            let image = self.image(&self.model("tiny").await, "a sample", [200, 90, step as u8]).await;
            let now = self.now();
            let sample = Image {
                id: ImageId::new(now, self.entropy()),
                model_id: None,
                run_id: Some(run.id),
                step: Some(step),
                purpose: Purpose::Sample,
                ..image
            };
            self.store.insert_images(&[sample], Some(&claim)).await.expect("a sample");
        }
        if let Some(ending) = ending {
            self.store.finish_job(&claim, self.now(), &ending).await.expect("an end");
        }
        claim
    }

    /// Two models with one evaluation image each for `prompts` prompts.
    pub(crate) async fn pairs(&self, prompts: usize) -> [Model; 2] {
        let models = [
            self.sibling("tuned-dpo", "diffusion_dpo").await,
            self.sibling("tuned-contrast", "diff_contrast").await,
        ];
        for index in 0..prompts {
            let prompt = format!("a small red square number {index}");
            self.image(&models[0], &prompt, [220, 40, 40]).await;
            self.image(&models[1], &prompt, [40, 40, 220]).await;
        }
        models
    }

    /// `count` votes of one rater, who prefers `tuned-contrast` but calls every third pair a tie.
    pub(crate) async fn votes(&self, count: usize) {
        let mut rng = rand_chacha::ChaCha12Rng::seed_from_u64(1);
        let rater = RaterId::new(self.now(), [7; 10]);
        self.store.ensure_rater(rater, self.now()).await.expect("a rater");
        for index in 0..count {
            let matchup = self.store.next_matchup(rater, Question::Overall, &[], self.now(), &mut rng).await;
            let matchup = matchup.expect("a query").expect("a matchup");
            let (left, _) =
                self.store.matchup_model_names(matchup.id).await.expect("a query").expect("names");
            let choice = match (index % 3, left == "tuned-contrast") {
                (0, _) => Choice::Tie,
                (_, true) => Choice::Left,
                (_, false) => Choice::Right,
            };
            let created_at = self.now();
            let id = VoteId::new(created_at, self.entropy());
            let vote = Vote { id, matchup_id: matchup.id, rater_id: rater, choice, created_at };
            self.store.cast_vote(&vote).await.expect("a vote");
        }
    }
}

/// The configuration of a test's server.
pub(crate) fn config(folder: &Path, arguments: &[&str]) -> Config {
    let path = |name: &str| folder.join(name).display().to_string();
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
    let database = format!("sqlite://{}", path("test.db"));
    let mut all: Vec<String> = [
        "server",
        "--access-token",
        "",
        "--default-model",
        "tiny",
        "--database-url",
        &database,
        "--artifacts",
        &path("artifacts"),
        "--models",
        &path("models"),
        "--datasets",
        &path("datasets"),
        "--site",
        &format!("{root}/target/site"),
        "--static",
        &format!("{root}/static"),
    ]
    .map(str::to_owned)
    .into();
    let given = arguments.iter().map(|&argument| argument.to_owned());
    // A flag may be given once.
    for flag in arguments.iter().filter(|argument| argument.starts_with("--")) {
        if let Some(at) = all.iter().position(|of| of == flag) {
            all.drain(at..at + 2);
        }
    }
    all.extend(given);
    Config::parse_from(all)
}

pub(crate) fn params(prompt: &str) -> GenerationParams {
    GenerationParams {
        prompt: prompt.to_owned(),
        negative_prompt: String::new(),
        seed: 1,
        steps: 5,
        guidance_scale: 3.0,
        width: SIDE,
        height: SIDE,
        sampler: Sampler::Ddim,
        lora: Vec::new(),
    }
}

pub(crate) fn train_spec(name: &str) -> Value {
    serde_json::json!({
        "kind": "train", "name": name, "base": "tiny", "clip": "openai/clip-vit-large-patch14",
        "objective": { "kind": "diff_contrast", "beta": 2000.0, "tau": 0.1 },
        "data": { "source": "shapes", "set": "quality", "count": 64 },
        "steps": 120, "batch_size": 4, "learning_rate": { "rate": 1e-5 },
        "sample_every": 20, "sample_prompts": ["a sample"],
    })
}

/// Copies a folder recursively.
pub(crate) fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).expect("the fixture") {
        let entry = entry.expect("an entry");
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).expect("a copy");
        }
    }
}
