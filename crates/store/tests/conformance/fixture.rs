//! An empty database for each test, and helpers that fill it.

use chrono::TimeDelta;
use domain::Timestamp;
use domain::id::{ImageId, JobId, ModelId, RaterId, RunId, VoteId};
use domain::image::{GenerationParams, Image, Purpose, Sampler};
use domain::job::{Job, JobSpec, JobState};
use domain::lora::LoraUse;
use domain::model::Model;
use domain::preference::{Choice, Matchup, Question, Vote};
use domain::run::Run;
use domain::train::TrainSpec;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;
use std::future::Future;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use store::{Claim, Db, Store};
use uuid::Uuid;

/// Defines, for each test function, a module of its name with one test per database.
macro_rules! on_both_databases {
    ($($test:ident),+ $(,)?) => {$(
        mod $test {
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn sqlite() {
                crate::fixture::on_sqlite(super::$test).await;
            }
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn postgres() {
                crate::fixture::on_postgres(super::$test).await;
            }
        }
    )+};
}
pub(crate) use on_both_databases;

/// Duration of every lease in the tests.
pub(crate) const LEASE: Duration = Duration::from_secs(60);

/// An empty store, a manual clock, and a seeded generator.
pub(crate) struct Fixture {
    pub(crate) store: Store,
    /// The URL of the database.
    pub(crate) url: String,
    pub(crate) now: Timestamp,
    pub(crate) rng: ChaCha8Rng,
}

pub(crate) async fn on_sqlite<F: Future<Output = ()> + Send + 'static>(test: impl FnOnce(Fixture) -> F) {
    let folder = tempfile::tempdir().expect("a scratch folder");
    let url = format!("sqlite://{}", folder.path().join("new/folder/test.db").display());
    let fixture = Fixture::new(&url).await;
    let store = fixture.store.clone();
    let outcome = tokio::spawn(test(fixture)).await;
    store.close().await;
    if let Err(e) = outcome {
        std::panic::resume_unwind(e.into_panic());
    }
}

pub(crate) async fn on_postgres<F: Future<Output = ()> + Send + 'static>(test: impl FnOnce(Fixture) -> F) {
    let database = PostgresDatabase::create().await;
    let fixture = Fixture::new(&database.url).await;
    let store = fixture.store.clone();
    let outcome = tokio::spawn(test(fixture)).await;
    store.close().await;
    database.remove().await;
    if let Err(e) = outcome {
        std::panic::resume_unwind(e.into_panic());
    }
}

/// An empty schema of the test Postgres.
pub(crate) struct PostgresDatabase {
    operator: PgPool,
    schema: String,
    pub(crate) url: String,
}

impl PostgresDatabase {
    pub(crate) async fn create() -> Self {
        static SCHEMAS: AtomicU32 = AtomicU32::new(0);
        let server = std::env::var("TEST_POSTGRES_URL").expect(
            "TEST_POSTGRES_URL is not set: run `cargo xtask test`, which starts a Postgres and sets it",
        );
        let operator =
            PgPoolOptions::new().max_connections(1).connect(&server).await.expect("the test Postgres");
        let schema = format!("test_{}_{}", std::process::id(), SCHEMAS.fetch_add(1, Ordering::Relaxed));
        let sign = if server.contains('?') { '&' } else { '?' };
        let url = format!("{server}{sign}options=-c%20search_path%3D{schema}");
        let database = Self { operator, schema, url };
        // A killed run may have left the schema.
        database.drop_schema().await;
        sqlx::query(sqlx::AssertSqlSafe(format!("CREATE SCHEMA {}", database.schema)))
            .execute(&database.operator)
            .await
            .expect("create the schema");
        database
    }

    pub(crate) async fn remove(self) {
        self.drop_schema().await;
    }

    async fn drop_schema(&self) {
        sqlx::query(sqlx::AssertSqlSafe(format!("DROP SCHEMA IF EXISTS {} CASCADE", self.schema)))
            .execute(&self.operator)
            .await
            .expect("drop the schema");
    }
}

impl Fixture {
    async fn new(url: &str) -> Self {
        let store = Store::connect(url).await.expect("a store");
        let now = Timestamp::from_timestamp_micros(1_767_225_600_123_456).expect("a time");
        Self { store, url: url.to_owned(), now, rng: ChaCha8Rng::seed_from_u64(7) }
    }

    /// Advances the clock by a second and returns it.
    pub(crate) fn tick(&mut self) -> Timestamp {
        self.pass(Duration::from_secs(1))
    }

    /// Advances the clock and returns it.
    pub(crate) fn pass(&mut self, by: Duration) -> Timestamp {
        self.now += TimeDelta::from_std(by).expect("a short time");
        self.now
    }

    /// Runs SQL that the store has no method for.
    pub(crate) async fn execute(&self, sql: &'static str) {
        match self.store.db() {
            Db::Sqlite(pool) => sqlx::query(sql).execute(pool).await.map(drop),
            Db::Postgres(pool) => sqlx::query(sql).execute(pool).await.map(drop),
        }
        .expect("valid SQL");
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

    /// A job as it is inserted after it was done outside the queue.
    pub(crate) fn ended_job(&mut self, spec: JobSpec, state: JobState) -> Job {
        let now = self.tick();
        Job {
            id: JobId::new(now, self.rng.random()),
            spec,
            state,
            attempt: 1,
            cancel_requested: false,
            worker: Some("terminal".to_owned()),
            progress: 4,
            total: 100,
            error: None,
            run_id: None,
            priority: 0,
            position: None,
            created_at: now,
            queued_at: now,
            started_at: Some(now),
            finished_at: Some(now),
        }
    }

    pub(crate) async fn claim(&mut self) -> Claim {
        let token = self.token();
        self.store.claim_job("worker", token, self.now, LEASE).await.expect("no error").expect("a job")
    }

    /// A claimed training job with its run.
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

    /// An image that a user requested, drawn with these adapters.
    pub(crate) async fn adapted_image(&mut self, model: &Model, prompt: &str, lora: &[LoraUse]) -> Image {
        let mut image = self.new_image(Purpose::Generation, Some(model.id), prompt);
        image.params.lora = lora.to_vec();
        self.store.insert_images(std::slice::from_ref(&image), None).await.expect("an image");
        image
    }

    pub(crate) async fn rater(&mut self) -> RaterId {
        let now = self.tick();
        let rater = RaterId::new(now, self.rng.random());
        self.store.ensure_rater(rater, now).await.expect("a rater");
        rater
    }

    pub(crate) async fn next_for(
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
        self.next_for(rater, Question::default(), only, now).await
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

/// A spec with required fields only, so that new fields with defaults need no change here.
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
