//! The worker program on a SQLite database: training jobs become runs, models and evaluations; jobs are cancelled,
//! returned and fail.

use crate::model::bundled;
use domain::evaluate::{EvaluateSpec, Metric, PromptSpec};
use domain::id::{JobId, ModelId, RaterId};
use domain::image::Purpose;
use domain::job::{JobSpec, JobState};
use domain::run::metric;
use domain::train::TrainSpec;
use domain::worker::WorkerState;
use process::ambient::{entropy, now};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use store::{ImageFilter, Store};
use tempfile::TempDir;

/// A database with the bundled model, and a scratch folder.
struct Environment {
    scratch: TempDir,
    store: Store,
    base: ModelId,
}

impl Environment {
    async fn new() -> Self {
        let scratch = tempfile::tempdir().expect("a folder");
        let store = Store::connect(&url(&scratch)).await.expect("a store");
        let model = bundled("shapes");
        store.insert_model(&model, None).await.expect("a model");
        Self { scratch, store, base: model.id }
    }

    async fn enqueue(&self, spec: &JobSpec) -> JobId {
        spec.validate().expect("a valid spec");
        let id = JobId::new(now(), entropy());
        self.store.enqueue_job(id, spec, now()).await.expect("enqueued");
        id
    }

    fn worker(&self, more: &[&str]) -> Child {
        self.worker_command(more).spawn().expect("the worker starts")
    }

    fn worker_command(&self, more: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_diff-contrast-trainer"));
        command
            .arg("worker")
            .args(["--database-url", &url(&self.scratch)])
            .arg("--artifacts")
            .arg(self.scratch.path().join("artifacts"))
            .arg("--cache")
            .arg(self.scratch.path().join("cache"))
            .args(more);
        if !more.contains(&"--models") {
            command.arg("--models").arg(models());
        }
        command
    }

    async fn wait_for(&self, job: JobId, what: &str, ready: impl Fn(&domain::job::Job) -> bool) {
        let begun = Instant::now();
        loop {
            let job = self.store.get_job(job).await.expect("the store").expect("the job");
            if ready(&job) {
                return;
            }
            assert!(begun.elapsed() < Duration::from_secs(300), "timed out waiting until {what}: {job:?}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

fn url(scratch: &TempDir) -> String {
    format!("sqlite://{}", scratch.path().join("test.db").display())
}

fn models() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../models")
}

fn spec(name: &str, steps: u32) -> TrainSpec {
    let text = format!(
        r#"
        name = "{name}"
        base = "shapes"
        steps = {steps}
        batch_size = 2
        checkpoint_every = 2
        sample_every = 2
        sample_prompts = ["a red circle"]
        evaluate_prompts = 3
        objective = {{ kind = "diff_contrast", beta = 500.0, tau = 0.5 }}
        data = {{ source = "shapes", set = "winter", count = 8 }}
        learning_rate = {{ rate = 1e-4 }}
        "#
    );
    toml::from_str(&text).expect("a spec")
}

#[tokio::test(flavor = "multi_thread")]
async fn log_lines_of_a_job_carry_its_ids() {
    let environment = Environment::new().await;
    let spec = TrainSpec { sample_every: 0, evaluate_prompts: 0, ..spec("logged", 2) };
    let job = environment.enqueue(&JobSpec::Train(spec)).await;
    let output = environment
        .worker_command(&["--until-empty"])
        .env_remove("RUST_LOG")
        .stderr(Stdio::piped())
        .spawn()
        .expect("the worker starts")
        .wait_with_output()
        .expect("the worker ends");
    let log = String::from_utf8(output.stderr).expect("text");
    let line = |word: &str| {
        let line = log.lines().find(|line| line.contains(word));
        line.unwrap_or_else(|| panic!("no line contains {word:?}: {log}"))
    };
    let ids = format!("job{{job_id={job} attempt=1");
    assert!(line("claimed").contains(&ids), "{log}");
    let run = environment.store.list_runs(1).await.expect("runs").remove(0).id;
    assert!(line(": done").contains(&format!("{ids} run_id={run}}}")), "{log}");
    assert!(!log.contains('\u{1b}'), "colours in a pipe: {log}");
    // The run's own log has what came before its row too.
    let lines = environment.store.run_log(run, None, 500).await.expect("the log of the run");
    assert!(lines[0].message.starts_with("claimed kind=\"train\" name=\"logged\""), "{lines:?}");
    assert!(lines.iter().all(|line| !line.message.contains("waiting for jobs")), "{lines:?}");
}

/// The run keeps one checkpoint, and another that a queued job refers to.
#[tokio::test(flavor = "multi_thread")]
async fn rotation_deletes_rows_and_files_of_unreferenced_checkpoints() {
    let environment = Environment::new().await;
    let spec =
        TrainSpec { keep_checkpoints: Some(1), sample_every: 0, evaluate_prompts: 0, ..spec("turn", 6) };
    let training = environment.enqueue(&JobSpec::Train(spec)).await;
    let prompts = PromptSpec::ShapesHeldOut { count: 1 };
    let waiting =
        JobSpec::Evaluate(EvaluateSpec { steps: Some(2), ..EvaluateSpec::of("turn-step2", prompts) });
    let waiting = environment.enqueue(&waiting).await;
    assert!(environment.worker(&["--until-empty"]).wait().expect("the worker ends").success());
    for job in [training, waiting] {
        let job = environment.store.get_job(job).await.expect("the store").expect("the job");
        assert_eq!(job.state, JobState::Succeeded, "{job:?}");
    }
    let run = environment.store.list_runs(1).await.expect("runs").remove(0);
    let models = environment.store.list_models_of_run(run.id).await.expect("models");
    assert_eq!(models.iter().map(|m| m.name.as_str()).collect::<Vec<_>>(), ["turn-step2", "turn"]);
    let folder = environment.scratch.path().join("artifacts/runs").join(run.id.to_string()).join("models");
    let left = std::fs::read_dir(folder).expect("models").map(|entry| entry.expect("an entry").file_name());
    let mut left: Vec<String> = left.map(|name| name.to_string_lossy().into_owned()).collect();
    left.sort();
    assert_eq!(left, ["step-0000002", "step-0000006"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_training_job_becomes_a_run_a_model_and_an_evaluation() {
    let environment = Environment::new().await;
    let prompts = PromptSpec::ShapesHeldOut { count: 3 };
    let evaluation =
        JobSpec::Evaluate(EvaluateSpec { steps: Some(4), ..EvaluateSpec::of("shapes", prompts) });
    let first = environment.enqueue(&evaluation).await;
    let training = environment.enqueue(&JobSpec::Train(spec("small", 4))).await;
    assert!(environment.worker(&["--until-empty"]).wait().expect("the worker ends").success());

    for job in [first, training] {
        let job = environment.store.get_job(job).await.expect("the store").expect("the job");
        assert_eq!((job.state, job.progress), (JobState::Succeeded, job.total), "{job:?}");
    }
    let workers = environment.store.list_workers(now()).await.expect("workers");
    assert_eq!((workers.len(), workers[0].state), (1, WorkerState::Stopped), "{workers:?}");
    assert!(
        workers[0].peak_memory > 1 << 20 && workers[0].info.memory > workers[0].peak_memory,
        "{workers:?}"
    );
    let runs = environment.store.list_runs(10).await.expect("runs");
    assert_eq!((runs.len(), runs[0].step), (1, 4));
    let points = environment.store.metrics(runs[0].id, -1).await.expect("curves");
    for name in [metric::LOSS, metric::REWARDS_ACCURACIES, metric::WEIGHT_DIAGONAL, metric::GRAD_NORM] {
        assert_eq!(points.iter().filter(|p| p.name == name).count(), 4, "{name}");
    }
    for name in [metric::SECONDS_SAMPLES, metric::SECONDS_CHECKPOINT] {
        let steps: Vec<i64> = points.iter().filter(|p| p.name == name).map(|p| p.step).collect();
        assert_eq!(steps, [2, 4], "{name}");
    }
    let samples = environment.store.list_samples(runs[0].id).await.expect("samples");
    assert_eq!(samples.iter().map(|i| i.step).collect::<Vec<_>>(), [Some(0), Some(2), Some(4)]);

    let models = environment.store.list_models_of_run(runs[0].id).await.expect("models");
    assert_eq!(models.iter().map(|m| m.name.as_str()).collect::<Vec<_>>(), ["small-step2", "small"]);
    assert_eq!(models[1].base_id, Some(environment.base));
    // The training job enqueued the evaluation of its model, which the worker ran next.
    for model in [environment.base, models[1].id] {
        let filter = ImageFilter {
            model_id: Some(model),
            purpose: Some(Purpose::Evaluation),
            ..ImageFilter::default()
        };
        assert_eq!(environment.store.list_images(&filter, 10).await.expect("images").len(), 3);
        let scores = environment.store.model_scores(model).await.expect("scores");
        let metrics: Vec<Metric> = scores.iter().map(|s| s.metric).collect();
        assert!(
            metrics.contains(&Metric::ClipScore) && metrics.contains(&Metric::ShapeAndColour),
            "{scores:?}"
        );
    }
}

/// Images in the database belong to the files that drew them.
#[tokio::test(flavor = "multi_thread")]
async fn an_evaluation_of_a_model_whose_files_changed_is_refused() {
    let environment = Environment::new().await;
    let at = environment.scratch.path().join("models");
    files::copy_folder(&models().join("shapes"), &at.join("shapes")).expect("copied");
    let evaluation = |seed| {
        let prompts = PromptSpec::ShapesHeldOut { count: 1 };
        JobSpec::Evaluate(EvaluateSpec { steps: Some(2), seed, ..EvaluateSpec::of("shapes", prompts) })
    };
    let ends = async |seed| {
        let job = environment.enqueue(&evaluation(seed)).await;
        let mut worker = environment.worker(&["--until-empty", "--models", &at.to_string_lossy()]);
        assert!(worker.wait().expect("the worker ends").success());
        environment.store.get_job(job).await.expect("the store").expect("the job")
    };
    assert_eq!(ends(1).await.state, JobState::Succeeded);
    let file = at.join("shapes/scheduler/scheduler_config.json");
    let original = std::fs::read_to_string(&file).expect("text");
    std::fs::write(&file, original.replace("v_prediction", "epsilon")).expect("written");
    let failed = ends(1).await;
    let error = failed.error.unwrap_or_default();
    assert_eq!(failed.state, JobState::Failed);
    assert!(error.contains("scheduler config changed since"), "{error}");
    assert_eq!(
        environment.store.list_evaluation_images(environment.base, 10).await.expect("images").len(),
        1
    );
    std::fs::write(&file, original).expect("restored");
    assert_eq!(ends(2).await.state, JobState::Succeeded);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_job_stops_and_a_stopped_worker_returns_its_job() {
    let environment = Environment::new().await;
    let job = environment.enqueue(&JobSpec::Train(spec("long", 100_000))).await;
    let mut worker = environment.worker(&[]);
    environment.wait_for(job, "some steps are done", |job| job.progress > 2).await;
    // SIGTERM: the worker saves the state and returns the job to the queue.
    Command::new("kill").arg(worker.id().to_string()).status().expect("kill");
    assert!(worker.wait().expect("the worker ends").success());
    environment.wait_for(job, "the job is queued again", |job| job.state == JobState::Queued).await;
    let before = environment.store.list_runs(1).await.expect("runs")[0].clone();
    assert!(before.step > 2);

    let mut worker = environment.worker(&["--until-empty"]);
    environment.wait_for(job, "another worker resumes it", |job| job.progress > before.step).await;
    environment.store.request_cancel(job, now()).await.expect("cancelled");
    assert!(worker.wait().expect("the worker ends").success());
    let job = environment.store.get_job(job).await.expect("the store").expect("the job");
    assert_eq!((job.state, job.attempt), (JobState::Cancelled, 2));
    let runs = environment.store.list_runs(10).await.expect("runs");
    assert_eq!((runs.len(), runs[0].id), (1, before.id));
}

/// As the page of a run does it: the job of an ended run is queued again, with more steps.
#[tokio::test(flavor = "multi_thread")]
async fn an_ended_run_that_is_queued_again_goes_on_from_its_state() {
    let environment = Environment::new().await;
    let spec = TrainSpec { sample_every: 0, evaluate_prompts: 0, ..spec("longer", 4) };
    let job = environment.enqueue(&JobSpec::Train(spec.clone())).await;
    assert!(environment.worker(&["--until-empty"]).wait().expect("the worker ends").success());
    let first = environment.store.list_runs(1).await.expect("runs").remove(0);
    assert_eq!((first.state, first.step), (JobState::Succeeded, 4));
    let before = environment.store.metrics(first.id, -1).await.expect("points");

    let longer = JobSpec::Train(TrainSpec { steps: 6, ..spec });
    environment.store.requeue_job(job, &longer, now()).await.expect("queued").expect("the job");
    assert!(environment.worker(&["--until-empty"]).wait().expect("the worker ends").success());
    let runs = environment.store.list_runs(10).await.expect("runs");
    assert_eq!((runs.len(), runs[0].id), (1, first.id));
    assert_eq!((runs[0].state, runs[0].step, runs[0].error.as_deref()), (JobState::Succeeded, 6, None));
    assert!(runs[0].worked_ms > first.worked_ms);
    // The steps that were done are not done again.
    let after = environment.store.metrics(first.id, -1).await.expect("points");
    assert_eq!(after[..before.len()], before[..]);
    assert_eq!(after.iter().filter(|point| point.name == metric::LOSS).count(), 6);
    let models = environment.store.list_models_of_run(first.id).await.expect("models");
    assert_eq!(models.iter().map(|model| model.step).collect::<Vec<_>>(), [Some(2), Some(4), Some(6)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_whose_base_does_not_exist_fails_with_the_reason() {
    let environment = Environment::new().await;
    let job = environment
        .enqueue(&JobSpec::Train(TrainSpec { base: "nobody".to_owned(), ..spec("orphan", 2) }))
        .await;
    assert!(environment.worker(&["--until-empty"]).wait().expect("the worker ends").success());
    let job = environment.store.get_job(job).await.expect("the store").expect("the job");
    assert_eq!(job.state, JobState::Failed);
    assert!(job.error.as_deref().is_some_and(|e| e.contains("nobody")), "{job:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_evaluation_of_several_models_writes_a_report_into_the_artifacts() {
    let environment = Environment::new().await;
    environment.store.insert_model(&bundled("twin"), None).await.expect("a model");
    let prompts = PromptSpec::ShapesHeldOut { count: 3 };
    let spec = EvaluateSpec {
        models: vec!["twin".to_owned()],
        steps: Some(2),
        ..EvaluateSpec::of("shapes", prompts)
    };
    let job = environment.enqueue(&JobSpec::Evaluate(spec)).await;
    assert!(environment.worker(&["--until-empty"]).wait().expect("the worker ends").success());
    let done = environment.store.get_job(job).await.expect("the store").expect("the job");
    assert_eq!((done.state, done.progress), (JobState::Succeeded, 6), "{done:?}");
    let folder = environment.scratch.path().join(format!("artifacts/evaluations/{job}"));
    let report = std::fs::read_to_string(folder.join("report.json")).expect("a report");
    let report: serde_json::Value = serde_json::from_str(&report).expect("JSON");
    assert_eq!(report["comparisons"][0]["model"], "twin");
    assert_eq!(report["comparisons"][0]["overall"]["ties"], 3);
    assert!(std::fs::read_to_string(folder.join("report.html")).expect("a page").contains("twin"));
    let statement = report["statements"]["clip_score"].as_str().expect("a definition of the metric");
    assert!(statement.contains("cosine") && statement.contains("baseline"), "{statement}");
}

/// A worker that was suspended for longer than its lease wakes up while its successor trains, and writes nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_lost_its_job_leaves_the_files_of_its_successor_alone() {
    let environment = Environment::new().await;
    let spec = TrainSpec { checkpoint_every: 1, sample_every: 0, evaluate_prompts: 0, ..spec("fenced", 60) };
    let job = environment.enqueue(&JobSpec::Train(spec)).await;
    let signal = |worker: &Child, name: &str| {
        let sent = Command::new("kill").args([name, &worker.id().to_string()]).status().expect("kill");
        assert!(sent.success(), "{name}");
    };
    let mut first = environment
        .worker_command(&["--lease", "3", "--name", "first"])
        .env_remove("RUST_LOG")
        .stderr(Stdio::piped())
        .spawn()
        .expect("the worker starts");
    environment.wait_for(job, "the first worker has saved", |job| job.progress > 2).await;
    signal(&first, "-STOP");
    // A worker that is suspended in the middle of a transaction holds SQLite's lock: not what this test is about.
    while environment.store.ensure_rater(RaterId::new(now(), entropy()), now()).await.is_err() {
        signal(&first, "-CONT");
        tokio::time::sleep(Duration::from_millis(100)).await;
        signal(&first, "-STOP");
    }
    let before = environment.store.get_job(job).await.expect("the store").expect("the job").progress;
    let mut second = environment.worker(&["--lease", "300", "--name", "second"]);
    environment
        .wait_for(job, "the second worker is ahead", |job| {
            job.worker.as_deref() == Some("second") && job.progress > before + 3
        })
        .await;
    signal(&second, "-STOP");
    let run = environment.store.list_runs(1).await.expect("runs").remove(0).id;
    let folder = environment.scratch.path().join("artifacts/runs").join(run.to_string());
    let files = || {
        let mut files = Vec::new();
        let mut folders = vec![folder.clone()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry")) {
                if entry.file_type().expect("a type").is_dir() {
                    folders.push(entry.path());
                } else if !entry.file_name().to_string_lossy().starts_with('.') {
                    let changed = entry.metadata().expect("metadata").modified().expect("a time");
                    files.push((entry.path(), changed));
                }
            }
        }
        files.sort();
        files
    };
    let of_the_second = files();
    assert!(of_the_second.len() > 5, "{of_the_second:?}");
    // The second worker stands still, so whatever changes now is the first worker's. It holds its claim by its lease.
    signal(&first, "-CONT");
    tokio::time::sleep(Duration::from_secs(2)).await;
    signal(&first, "-TERM");
    let first = tokio::task::spawn_blocking(move || {
        let mut log = String::new();
        std::io::Read::read_to_string(first.stderr.as_mut().expect("a pipe"), &mut log).expect("text");
        (first.wait().expect("the worker ends"), log)
    });
    let (status, log) = first.await.expect("ends");
    assert!(status.success() && log.contains("lost the lease"), "{status}: {log}");
    assert_eq!(files(), of_the_second, "the first worker has written");
    signal(&second, "-CONT");
    environment.store.request_cancel(job, now()).await.expect("cancelled");
    signal(&second, "-TERM");
    assert!(second.wait().expect("the worker ends").success());
}
