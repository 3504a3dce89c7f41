//! A fresh database per test, and short ways to fill it.

use chrono::TimeDelta;
use domain::Timestamp;
use domain::id::{ImageId, JobId, ModelId, RaterId, RunId, VoteId};
use domain::image::{GenerationParams, Image, Purpose, Sampler};
use domain::job::{Job, JobSpec};
use domain::model::Model;
use domain::preference::{Choice, Matchup, Question, Vote};
use domain::run::Run;
use domain::train::TrainSpec;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use sqlx::postgres::PgPoolOptions;
use std::future::Future;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use store::{Claim, Db, Store};
use uuid::Uuid;

/// For each test function a module of its name with one test per database.
macro_rules! on_both_databases {
    ($($test:ident),+ $(,)?) => {$(
        mod $test {
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn sqlite() {
                crate::world::on_sqlite(super::$test).await;
            }
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn postgres() {
                crate::world::on_postgres(super::$test).await;
            }
        }
    )+};
}
pub(crate) use on_both_databases;

/// The lease of every claim here.
pub(crate) const LEASE: Duration = Duration::from_secs(60);

/// A store with nothing in it, a clock that moves when told, and a seeded generator.
pub(crate) struct World {
    pub(crate) store: Store,
    pub(crate) now: Timestamp,
    pub(crate) rng: ChaCha8Rng,
}

pub(crate) async fn on_sqlite<F: Future<Output = ()> + Send + 'static>(test: impl FnOnce(World) -> F) {
    let folder = tempfile::tempdir().expect("a scratch folder");
    let url = format!("sqlite://{}", folder.path().join("new/folder/test.db").display());
    let world = World::new(&url).await;
    let store = world.store.clone();
    let outcome = tokio::spawn(test(world)).await;
    store.close().await;
    if let Err(e) = outcome {
        std::panic::resume_unwind(e.into_panic());
    }
}

pub(crate) async fn on_postgres<F: Future<Output = ()> + Send + 'static>(test: impl FnOnce(World) -> F) {
    static SCHEMAS: AtomicU32 = AtomicU32::new(0);
    let server = std::env::var("TEST_POSTGRES_URL")
        .expect("TEST_POSTGRES_URL is not set: run `cargo xtask test`, which starts a Postgres and sets it");
    let operator = PgPoolOptions::new().max_connections(1).connect(&server).await.expect("the test Postgres");
    let schema = format!("test_{}_{}", std::process::id(), SCHEMAS.fetch_add(1, Ordering::Relaxed));
    let drop_schema = || sqlx::AssertSqlSafe(format!("DROP SCHEMA IF EXISTS {schema} CASCADE"));
    sqlx::query(drop_schema()).execute(&operator).await.expect("drop what a killed run left");
    sqlx::query(sqlx::AssertSqlSafe(format!("CREATE SCHEMA {schema}")))
        .execute(&operator)
        .await
        .expect("make a schema");
    let sign = if server.contains('?') { '&' } else { '?' };
    let world = World::new(&format!("{server}{sign}options=-c%20search_path%3D{schema}")).await;
    let store = world.store.clone();
    let outcome = tokio::spawn(test(world)).await;
    store.close().await;
    sqlx::query(drop_schema()).execute(&operator).await.expect("drop the schema");
    if let Err(e) = outcome {
        std::panic::resume_unwind(e.into_panic());
    }
}

impl World {
    async fn new(url: &str) -> Self {
        let store = Store::connect(url).await.expect("a store");
        let now = Timestamp::from_timestamp_micros(1_767_225_600_123_456).expect("a time");
        Self { store, now, rng: ChaCha8Rng::seed_from_u64(7) }
    }

    /// Moves the clock by a second and tells it.
    pub(crate) fn tick(&mut self) -> Timestamp {
        self.pass(Duration::from_secs(1))
    }

    /// Moves the clock.
    pub(crate) fn pass(&mut self, by: Duration) -> Timestamp {
        self.now += TimeDelta::from_std(by).expect("a short time");
        self.now
    }

    /// Runs SQL that the store would never run.
    pub(crate) async fn vandalise(&self, sql: &'static str) {
        match self.store.db() {
            Db::Sqlite(pool) => sqlx::query(sql).execute(pool).await.map(drop),
            Db::Postgres(pool) => sqlx::query(sql).execute(pool).await.map(drop),
        }
        .expect("vandalism");
    }

    pub(crate) fn token(&mut self) -> Uuid {
        uuid::Builder::from_random_bytes(self.rng.random()).into_uuid()
    }

    pub(crate) async fn train_job(&mut self) -> Job {
        self.enqueue(&JobSpec::Train(train_spec("run"))).await
    }

    pub(crate) async fn enqueue(&mut self, spec: &JobSpec) -> Job {
        let now = self.tick();
        self.store.enqueue_job(JobId::new(now, self.rng.random()), spec, now).await.expect("a job")
    }

    pub(crate) async fn claim(&mut self) -> Claim {
        let token = self.token();
        self.store.claim_job("worker", token, self.now, LEASE).await.expect("no error").expect("a job")
    }

    /// A training job that is being executed.
    pub(crate) async fn run(&mut self) -> (Claim, Run) {
        self.train_job().await;
        let claim = self.claim().await;
        let id = RunId::new(self.now, self.rng.random());
        let run = self.store.begin_run(&claim, id).await.expect("a run");
        (claim, run)
    }

    pub(crate) fn new_model(&mut self, name: &str) -> Model {
        let now = self.tick();
        Model {
            id: ModelId::new(now, self.rng.random()),
            name: name.to_owned(),
            folder: format!("models/{name}"),
            sha256: "ab".repeat(32),
            base_id: None,
            run_id: None,
            step: None,
            objective: None,
            description: "A model of a test.".to_owned(),
            created_at: now,
        }
    }

    pub(crate) async fn model(&mut self, name: &str) -> Model {
        let model = self.new_model(name);
        self.store.insert_model(&model, None).await.expect("a model");
        model
    }

    pub(crate) fn new_image(&mut self, purpose: Purpose, model: Option<ModelId>, prompt: &str) -> Image {
        let now = self.tick();
        let id = ImageId::new(now, self.rng.random());
        Image {
            id,
            model_id: model,
            run_id: None,
            step: None,
            purpose,
            params: params(prompt),
            artifact: format!("images/{id}.png"),
            created_at: now,
        }
    }

    pub(crate) async fn evaluation_image(&mut self, model: &Model, prompt: &str) -> Image {
        let image = self.new_image(Purpose::Evaluation, Some(model.id), prompt);
        self.store.insert_images(std::slice::from_ref(&image), None).await.expect("an image");
        image
    }

    pub(crate) async fn rater(&mut self) -> RaterId {
        let now = self.tick();
        let rater = RaterId::new(now, self.rng.random());
        self.store.ensure_rater(rater, now).await.expect("a rater");
        rater
    }

    pub(crate) async fn next_asked(
        &mut self,
        rater: RaterId,
        question: Question,
        only: &[ModelId],
        now: Timestamp,
    ) -> Option<Matchup> {
        self.store.next_matchup(rater, question, only, now, &mut self.rng).await.expect("no error")
    }

    pub(crate) async fn next_matchup(&mut self, rater: RaterId, only: &[ModelId]) -> Option<Matchup> {
        let now = self.tick();
        self.next_asked(rater, Question::default(), only, now).await
    }

    pub(crate) fn new_vote(&mut self, matchup: &Matchup, rater: RaterId, choice: Choice) -> Vote {
        let now = self.tick();
        let id = VoteId::new(now, self.rng.random());
        Vote { id, matchup_id: matchup.id, rater_id: rater, choice, created_at: now }
    }

    pub(crate) async fn vote(&mut self, matchup: &Matchup, rater: RaterId, choice: Choice) -> Vote {
        let vote = self.new_vote(matchup, rater, choice);
        self.store.cast_vote(&vote).await.expect("a vote");
        vote
    }
}

pub(crate) fn params(prompt: &str) -> GenerationParams {
    GenerationParams {
        prompt: prompt.to_owned(),
        negative_prompt: String::new(),
        seed: 9_007_199_254_740_991,
        steps: 20,
        guidance_scale: 7.5,
        width: 64,
        height: 64,
        sampler: Sampler::Euler,
        lora: Vec::new(),
    }
}

/// Only what must be said: fields that the spec gains later take their defaults here too.
pub(crate) fn train_spec(name: &str) -> TrainSpec {
    let spec = serde_json::json!({
        "name": name,
        "base": "shapes",
        "objective": { "kind": "diffusion_dpo", "beta": 2000.0 },
        "data": { "source": "shapes", "set": "sketch", "count": 64 },
        "steps": 100,
        "batch_size": 8,
        "learning_rate": { "rate": 1e-5 },
        "sample_prompts": ["a “red” circle — 赤い円"],
    });
    serde_json::from_value(spec).expect("a spec")
}

pub(crate) fn evaluate_spec() -> JobSpec {
    let spec = serde_json::json!({
        "kind": "evaluate",
        "model": "shapes",
        "prompts": { "source": "shapes_held_out", "count": 10 },
    });
    serde_json::from_value(spec).expect("a spec")
}
