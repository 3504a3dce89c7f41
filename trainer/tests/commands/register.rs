//! Runs and evaluations of the terminal in the database (`register`, `train --register`, `evaluate --register`), and
//! runs of the database in the terminal (`pull`): on SQLite, and the same folders on Postgres.

use domain::evaluate::{Metric, ReportFile};
use domain::id::{RaterId, VoteId};
use domain::job::{JobSpec, JobState};
use domain::model::Model;
use domain::preference::{Choice, Question, Vote};
use domain::run::Run;
use process::ambient::{entropy, now};
use rand::SeedableRng;
use rand_chacha::ChaCha12Rng;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;
use store::Store;
use tempfile::TempDir;

const WEIGHTS: &str = "unet/diffusion_pytorch_model.safetensors";

/// A working folder, and a database with its artifacts.
struct Terminal {
    folder: PathBuf,
    url: String,
    artifacts: PathBuf,
}

impl Terminal {
    fn on_sqlite(scratch: &TempDir) -> Self {
        let at = |name: &str| scratch.path().join(name);
        let url = format!("sqlite://{}", at("test.db").display());
        fs::create_dir_all(at("work")).expect("a folder");
        Self { folder: at("work"), url, artifacts: at("artifacts") }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_diff-contrast-trainer"));
        command
            .current_dir(&self.folder)
            .args(arguments)
            .arg("--models")
            .arg(models())
            .env("DATABASE_URL", &self.url)
            .env("ARTIFACTS", &self.artifacts);
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().expect("the program")
    }

    fn succeed(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// The error of a command that must fail.
    fn refused(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(!output.status.success(), "{arguments:?} succeeds");
        String::from_utf8_lossy(&output.stderr).into_owned()
    }

    async fn store(&self) -> Store {
        Store::connect(&self.url).await.expect("a store")
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    fn config(&self, name: &str, base: &str, steps: u32) -> String {
        let text = format!(
            "name = '{name}'\nbase = '{base}'\nsteps = {steps}\nbatch_size = 2\ncheckpoint_every = 1\n\
             sample_every = 2\nsample_prompts = ['a red circle', 'a blue star']\nobjective = {{ kind = 'sft' }}\n\
             data = {{ source = 'shapes', set = 'winter', count = 4 }}\nlearning_rate = {{ rate = 1e-4 }}"
        );
        let file = format!("{name}.toml");
        fs::write(self.path(&file), text).expect("written");
        file
    }
}

fn models() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../models")
}

fn copy(from: &Path, to: &Path) {
    files::copy_folder(from, to).expect("copied");
}

fn read(file: PathBuf) -> Vec<u8> {
    fs::read(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

fn names(models: &[Model]) -> Vec<&str> {
    models.iter().map(|model| model.name.as_str()).collect()
}

async fn run_named(store: &Store, name: &str) -> Run {
    let mut runs = store.list_runs(100).await.expect("runs");
    runs.retain(|run| run.name == name);
    assert_eq!(runs.len(), 1, "{name}");
    runs.remove(0)
}

/// Everything in the database, to see that a command changes nothing.
async fn content(store: &Store) -> String {
    let runs = store.list_runs(100).await.expect("runs");
    let mut text = format!("{runs:?}{:?}", store.list_jobs(None, 100).await.expect("jobs"));
    for run in runs {
        let curves = store.metrics(run.id, -1).await.expect("curves");
        text += &format!("{curves:?}{:?}", store.list_samples(run.id).await.expect("samples"));
    }
    let models = store.list_models(100).await.expect("models");
    for model in &models {
        let images = store.list_evaluation_images(model.id, 100).await.expect("images");
        text += &format!("{images:?}{:?}", store.model_scores(model.id).await.expect("scores"));
    }
    format!("{text}{models:?}")
}

/// The run `second` and its base `first`, as their folders hold them.
async fn check_runs(terminal: &Terminal) {
    let store = terminal.store().await;
    let run = run_named(&store, "second").await;
    assert_eq!((run.state, run.step, run.spec.base.as_str()), (JobState::Succeeded, 2, "first"));
    let job = store.get_job(run.job_id).await.expect("the store").expect("a job");
    assert_eq!((job.worker.as_deref(), job.progress, job.total), (Some("terminal"), 2, 2));

    let points = store.metrics(run.id, -1).await.expect("curves");
    let lines = read(terminal.path("data/runs/second/metrics.jsonl"));
    let lines = String::from_utf8(lines).expect("text");
    let values: usize = lines
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).expect("a line"))
        .map(|line| {
            for (name, value) in line.as_object().expect("an object").iter().filter(|(n, _)| *n != "step") {
                let found = points.iter().find(|p| p.name == *name && line["step"] == p.step);
                assert_eq!(found.map(|p| p.value), value.as_f64(), "{name}");
            }
            line.as_object().expect("an object").len() - 1
        })
        .sum();
    assert_eq!(points.len(), values);

    let samples = store.list_samples(run.id).await.expect("samples");
    let seen: Vec<_> = samples.iter().map(|i| (i.step, i.params.prompt.as_str())).collect();
    let prompts = ["a red circle", "a blue star"];
    assert_eq!(
        seen,
        [(Some(0), prompts[0]), (Some(0), prompts[1]), (Some(2), prompts[0]), (Some(2), prompts[1])]
    );
    let file = terminal.path("data/runs/second/samples/01-step-0000002.png");
    assert_eq!(read(terminal.artifacts.join(&samples[3].artifact)), read(file));

    let models = store.list_models_of_run(run.id).await.expect("models");
    assert_eq!(names(&models), ["second-step1", "second"]);
    let first = store.get_model_by_name("first").await.expect("the store").expect("the base");
    let shapes = store.get_model_by_name("shapes").await.expect("the store").expect("the base's base");
    assert!(models.iter().all(|model| model.base_id == Some(first.id)));
    assert_eq!((first.base_id, shapes.base_id, shapes.run_id), (Some(shapes.id), None, None));
    for model in models {
        let step = format!("models/step-{:07}", model.step.expect("a step"));
        let original = read(terminal.path("data/runs/second").join(step).join(WEIGHTS));
        assert_eq!(files::sha256::of_bytes(&original), model.sha256);
        assert_eq!(read(terminal.artifacts.join(&model.folder).join(WEIGHTS)), original);
    }
    store.close().await;
}

/// The evaluation, and a vote on one of its images.
async fn check_evaluation(terminal: &Terminal) {
    let store = terminal.store().await;
    let jobs = store.list_jobs(Some(JobState::Succeeded), 100).await.expect("jobs");
    let jobs: Vec<_> = jobs.iter().filter(|job| matches!(job.spec, JobSpec::Evaluate(_))).collect();
    assert_eq!(jobs.len(), 1);
    let JobSpec::Evaluate(spec) = &jobs[0].spec else { panic!("not an evaluation") };
    assert_eq!(spec.all_models(), ["shapes", "second", "third", "first-step1"]);
    assert_eq!((spec.baseline(), jobs[0].progress), ("second", 8));
    for file in ReportFile::ALL {
        let kept = terminal.artifacts.join(file.artifact(jobs[0].id));
        assert_eq!(read(kept), read(terminal.path("data/evaluations/all").join(file.name())));
    }
    for (index, name) in spec.all_models().into_iter().enumerate() {
        let model = store.get_model_by_name(name).await.expect("the store").expect(name);
        let images = store.list_evaluation_images(model.id, 10).await.expect("images");
        assert_eq!(images.len(), 2, "{name}");
        for (prompt, image) in images.iter().enumerate() {
            assert_eq!((image.params.seed, image.params.steps), (5 + prompt as u64, 2));
            let file = terminal.path(&format!("data/evaluations/all/images/{index:02}/{prompt:05}.png"));
            assert_eq!(read(terminal.artifacts.join(&image.artifact)), read(file));
        }
        let scores = store.model_scores(model.id).await.expect("scores");
        let metrics: Vec<Metric> = scores.iter().map(|score| score.metric).collect();
        // In the order of their names.
        let scored = [Metric::Clarity, Metric::ClipScore, Metric::PromptFollowed, Metric::ShapeAndColour];
        assert_eq!(metrics, scored, "{name}");
    }

    let mut rng = ChaCha12Rng::seed_from_u64(1);
    let rater = RaterId::new(now(), entropy());
    store.ensure_rater(rater, now()).await.expect("a rater");
    let only = ["second", "third"];
    let mut ids = Vec::new();
    for name in only {
        ids.push(store.get_model_by_name(name).await.expect("the store").expect(name).id);
    }
    let next = store.next_matchup(rater, Question::Overall, &ids, now(), &mut rng).await;
    let matchup = next.expect("the store").expect("comparable models");
    let id = VoteId::new(now(), entropy());
    let vote = Vote { id, matchup_id: matchup.id, rater_id: rater, choice: Choice::Left, created_at: now() };
    store.cast_vote(&vote).await.expect("a vote");
    let (left, right) = store.matchup_model_names(matchup.id).await.expect("the store").expect("names");
    assert!(only.contains(&left.as_str()) && only.contains(&right.as_str()), "{left}, {right}");
    assert_eq!(store.tallies(Question::Overall).await.expect("tallies").len(), 1);
    store.close().await;
}

const EVALUATION: &str = "models = ['shapes', 'second', 'third', 'early=data/runs/first/models/step-0000001']\n\
                          baseline = 'second'\nseed = 5\nsteps = 2\n\
                          prompts = { source = 'shapes_held_out', count = 2 }";

#[tokio::test(flavor = "multi_thread")]
async fn runs_and_evaluations_are_registered_in_both_databases() {
    let scratch = tempfile::tempdir().expect("a folder");
    let terminal = Terminal::on_sqlite(&scratch);
    terminal.succeed(&["train", &terminal.config("first", "shapes", 2)]);
    // The base, a run without a row, is registered with its run, and its base with it.
    let output = terminal.succeed(&["train", &terminal.config("second", "first", 2), "--register"]);
    assert!(output.contains("succeeded") && output.contains("2 of 2 models are new"), "{output}");
    check_runs(&terminal).await;
    terminal.succeed(&["train", &terminal.config("third", "shapes", 2)]);
    fs::write(terminal.path("all.toml"), EVALUATION).expect("written");
    terminal.succeed(&["evaluate", "all.toml", "--register"]);
    check_evaluation(&terminal).await;

    // Repeated, they change nothing.
    let store = terminal.store().await;
    let before = content(&store).await;
    let output = terminal.succeed(&["register", "second"]);
    assert!(output.contains("0 of 2 models are new"), "{output}");
    terminal.succeed(&["register", "data/runs/first/models/step-0000001"]);
    terminal.succeed(&["evaluate", "all.toml", "--register"]);
    assert!(before == content(&store).await, "a repeated registration changes the database");
    let [first, second] = [run_named(&store, "first").await, run_named(&store, "second").await];
    assert!(second.id > first.id, "runs are listed in the order in which they were trained");

    // The same folders in another database.
    let schema = crate::postgres::Schema::create().await;
    let elsewhere = Terminal {
        folder: terminal.folder.clone(),
        url: schema.url.clone(),
        artifacts: scratch.path().join("elsewhere"),
    };
    elsewhere.succeed(&["evaluate", "all.toml", "--register"]);
    check_runs(&elsewhere).await;
    check_evaluation(&elsewhere).await;
    let other = elsewhere.store().await;
    let before = content(&other).await;
    elsewhere.succeed(&["register", "second"]);
    elsewhere.succeed(&["evaluate", "all.toml", "--register"]);
    assert!(before == content(&other).await, "a repeated registration changes the database");
    assert_eq!(run_named(&other, "second").await.id, second.id);
    other.close().await;
    schema.remove().await;

    // Other weights under the same name.
    let weights = terminal.path("data/runs/second/models/step-0000002").join(WEIGHTS);
    let mut bytes = read(weights.clone());
    *bytes.last_mut().expect("bytes") ^= 1;
    fs::write(&weights, bytes).expect("written");
    let error = terminal.refused(&["register", "second"]);
    assert!(error.contains("\"second\"") && error.contains("weights differ"), "{error}");
    fs::remove_file(terminal.path("data/runs/second/run.json")).expect("removed");
    let error = terminal.refused(&["register", "second"]);
    assert!(error.contains("another name with --name"), "{error}");
    let output = terminal.succeed(&["register", "second", "--name", "changed"]);
    assert!(output.contains("2 of 2 models are new"), "{output}");
    assert!(run_named(&store, "changed").await.id != second.id);
    store.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_goes_on_is_registered_again_with_what_is_new() {
    let scratch = tempfile::tempdir().expect("a folder");
    let terminal = Terminal::on_sqlite(&scratch);
    terminal.succeed(&["train", &terminal.config("long", "shapes", 4)]);
    let (whole, part) = (terminal.path("data/runs/long"), terminal.path("data/runs/part"));
    copy(&whole, &part);
    fs::remove_dir_all(part.join("models/step-0000004")).expect("removed");
    // A model that is being written has no spec.json yet.
    fs::remove_file(part.join("models/step-0000003/spec.json")).expect("removed");
    fs::remove_dir_all(part.join("models/step-0000001")).expect("rotated away");
    fs::remove_file(part.join("samples/00-step-0000004.png")).expect("removed");
    let lines = fs::read_to_string(whole.join("metrics.jsonl")).expect("metrics");
    let of_two: String = lines.split_inclusive('\n').take(2).collect();
    fs::write(part.join("metrics.jsonl"), format!("{of_two}{{\"step\": 3, \"lo")).expect("written");

    let output = terminal.succeed(&["register", "part", "--name", "renamed"]);
    assert!(output.contains("cancelled, step 2 of 4") && output.contains("model renamed-step2"), "{output}");
    let store = terminal.store().await;
    let run = run_named(&store, "renamed").await;
    assert_eq!((run.state, run.step), (JobState::Cancelled, 2));
    assert_eq!(names(&store.list_models_of_run(run.id).await.expect("models")), ["renamed-step2"]);
    let state = terminal.artifacts.join(format!("runs/{}/state.safetensors", run.id));
    assert!(state.is_file(), "an unfinished run is registered with its state");
    let error = terminal.refused(&["register", "part", "--name", "another"]);
    assert!(error.contains("already registered as \"renamed\""), "{error}");

    // The run goes on. An earlier checkpoint stays.
    copy(&whole, &part);
    let output = terminal.succeed(&["register", "part"]);
    assert!(
        output.contains("succeeded, step 4 of 4") && output.contains("3 of 4 models are new"),
        "{output}"
    );
    let run = run_named(&store, "renamed").await;
    let models = store.list_models_of_run(run.id).await.expect("models");
    assert_eq!(names(&models), ["renamed-step2", "renamed-step1", "renamed-step3", "renamed"]);
    let steps: Vec<i64> = store
        .metrics(run.id, -1)
        .await
        .expect("curves")
        .iter()
        .filter(|point| point.name == "loss")
        .map(|point| point.step)
        .collect();
    assert_eq!(steps, [1, 2, 3, 4]);
    assert_eq!(store.list_samples(run.id).await.expect("samples").len(), 6);
    assert!(!state.exists());

    // Killed at any time and repeated, it ends with the same rows. First some copies exist, and no row.
    let fresh = Terminal { url: format!("{}2", terminal.url), ..Terminal::on_sqlite(&scratch) };
    fs::remove_dir_all(terminal.artifacts.join(format!("runs/{}/models/step-0000003", run.id)))
        .expect("removed");
    for pause in (0..12).map(|kill| Duration::from_millis(15 * kill)) {
        let mut process =
            fresh.command(&["register", "part"]).stdout(Stdio::null()).spawn().expect("the program");
        std::thread::sleep(pause);
        process.kill().expect("killed");
        process.wait().expect("an exit status");
    }
    fresh.succeed(&["register", "part"]);
    let rows = fresh.store().await;
    let models = rows.list_models_of_run(run.id).await.expect("models");
    assert_eq!(names(&models), ["long-step1", "long-step2", "long-step3", "long"]);
    let curves = async |store: &Store| store.metrics(run.id, -1).await.expect("curves");
    assert_eq!(curves(&rows).await, curves(&store).await);
    assert_eq!(rows.list_samples(run.id).await.expect("samples").len(), 6);
    assert_eq!(rows.list_jobs(None, 10).await.expect("jobs").len(), 1);
    rows.close().await;
    store.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_is_registered_with_its_base_or_refused_with_the_reason() {
    let scratch = tempfile::tempdir().expect("a folder");
    let terminal = Terminal::on_sqlite(&scratch);
    terminal.succeed(&["train", &terminal.config("first", "shapes", 1)]);
    copy(&terminal.path("data/runs/first/models/step-0000001"), &terminal.path("apart"));
    let output = terminal.succeed(&["register", "apart"]);
    assert!(output.contains("model apart") && output.contains("1 of 1 models are new"), "{output}");
    assert!(terminal.succeed(&["register", "apart"]).contains("0 of 1"), "registered twice");
    let store = terminal.store().await;
    let model = store.get_model_by_name("apart").await.expect("the store").expect("a row");
    let base = store.get_model(model.base_id.expect("a base")).await.expect("the store").expect("the base");
    assert_eq!((base.name.as_str(), model.run_id, model.objective.as_deref()), ("shapes", None, Some("sft")));
    assert!(terminal.artifacts.join(&model.folder).join(WEIGHTS).is_file());
    // A name that is taken is reported before the run.
    let error = terminal.refused(&["train", &terminal.config("apart", "shapes", 1), "--register"]);
    assert!(error.contains("name: a model \"apart\""), "{error}");
    assert!(!terminal.path("data/runs/apart/metrics.jsonl").exists());
    // It is the same model as the run's, which is registered under its own name all the same.
    terminal.succeed(&["register", "first"]);

    let spec = String::from_utf8(read(terminal.path("apart/spec.json"))).expect("text");
    fs::write(terminal.path("apart/spec.json"), spec.replace("\"base\": \"shapes\"", "\"base\": \"nobody\""))
        .expect("written");
    for (arguments, words) in [
        (&["register", "apart", "--name", "orphan"][..], &["\"nobody\"", "register it first"][..]),
        (&["register", "apart", "--name", "a b"], &["--name", "letters"]),
        (&["register", "nowhere"], &["nowhere", "data/runs"]),
        (&["register", "data"], &["neither a run nor a model"]),
        (&["register", "first.toml"], &["not a folder", "import"]),
        (&["pull", "nowhere"], &["no run or model is called \"nowhere\""]),
        (&["pull", "shapes"], &["models folder"]),
        (&["pull", "first"], &["already exists", "--out"]),
    ] {
        let error = terminal.refused(arguments);
        assert!(words.iter().all(|word| error.contains(word)), "{arguments:?}: {error}");
    }
    assert_eq!(store.get_model_by_name("orphan").await.expect("the store"), None);
    store.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pulled_run_has_the_bytes_of_the_registered_one_and_is_used_by_name() {
    let scratch = tempfile::tempdir().expect("a folder");
    let terminal = Terminal::on_sqlite(&scratch);
    terminal.succeed(&["train", &terminal.config("first", "shapes", 2)]);
    // A base that is given as a path is found on another machine by its name.
    terminal.succeed(&["train", &terminal.config("second", "data/runs/first", 1), "--register"]);
    let other = Terminal { folder: scratch.path().join("other"), ..Terminal::on_sqlite(&scratch) };
    fs::create_dir_all(&other.folder).expect("a folder");
    let output = other.succeed(&["pull", "second"]);
    assert_eq!(output.trim(), "data/runs/second");
    for file in [
        "first/run.json",
        "first/metrics.jsonl",
        "first/samples/00-step-0000000.png",
        "first/models/step-0000001/spec.json",
        &format!("first/models/step-0000001/{WEIGHTS}"),
        "second/metrics.jsonl",
        &format!("second/models/step-0000001/{WEIGHTS}"),
    ] {
        let [here, there] = [&terminal, &other].map(|of| read(of.path("data/runs").join(file)));
        if file.ends_with(".json") || file.ends_with(".jsonl") {
            let lines = |bytes: &[u8]| -> Vec<serde_json::Value> {
                serde_json::Deserializer::from_slice(bytes).into_iter().map(|v| v.expect("JSON")).collect()
            };
            assert_eq!(lines(&here), lines(&there), "{file}");
        } else {
            assert!(here == there, "{file} differs");
        }
    }
    // The pulled run is known to the database that it came from.
    let store = other.store().await;
    let before = content(&store).await;
    other.succeed(&["register", "second"]);
    assert!(before == content(&store).await, "registering a pulled run changes the database");

    fs::write(
        other.path("two.toml"),
        "models = ['shapes', 'second']\nsteps = 1\nprompts = { source = 'shapes_held_out', count = 1 }",
    )
    .expect("written");
    assert!(other.succeed(&["evaluate", "two.toml"]).contains("second against shapes"));
    other.succeed(&["train", &other.config("third", "second", 1)]);
    other.succeed(&["export", "second", "--out", "exported", "--unet-only"]);

    // A model that is not a run's last is copied alone.
    other.succeed(&["pull", "first-step1"]);
    let weights = read(other.path("data/runs/first-step1").join(WEIGHTS));
    assert!(weights == read(terminal.path("data/runs/first/models/step-0000001").join(WEIGHTS)));
    assert!(other.succeed(&["register", "first-step1"]).contains("0 of 1 models are new"));

    // A run of the worker has no run.json in its folder.
    let run = run_named(&store, "second").await;
    let kept = terminal.artifacts.join(format!("runs/{}", run.id));
    fs::remove_file(kept.join("run.json")).expect("removed");
    other.succeed(&["pull", &run.id.to_string(), "--out", "again"]);
    // Its folder in the artifact store is recognised, and is not copied onto itself.
    let before = content(&store).await;
    other.succeed(&["register", kept.to_str().expect("a path")]);
    assert!(before == content(&store).await, "registering a copy changes the database");
    let manifest: serde_json::Value =
        serde_json::from_slice(&read(other.path("again/run.json"))).expect("JSON");
    assert_eq!(
        (manifest["id"].as_str(), &manifest["spec"]["base"]),
        (Some(&*run.id.to_string()), &"first".into())
    );
    store.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_network_alone_is_registered_and_pulled_with_the_base_that_it_is_given() {
    let scratch = tempfile::tempdir().expect("a folder");
    let terminal = Terminal::on_sqlite(&scratch);
    copy(&models().join("shapes/unet"), &terminal.path("bare/unet"));
    let error = terminal.refused(&["register", "bare"]);
    assert!(error.contains("not a complete model"), "{error}");
    let parts = models().join("shapes");
    terminal.succeed(&["register", "bare", "--base-parts", parts.to_str().expect("a path")]);
    let store = terminal.store().await;
    let model = store.get_model_by_name("bare").await.expect("the store").expect("a row");
    let base = store.get_model_by_name("shapes").await.expect("the store").expect("the base");
    assert_eq!(model.base_id, Some(base.id));
    store.close().await;

    // Its origin names the base, which is put beside it.
    terminal.succeed(&["pull", "bare", "--out", "pulled/bare"]);
    let origin: serde_json::Value =
        serde_json::from_slice(&read(terminal.path("pulled/bare/origin.json"))).expect("JSON");
    assert_eq!(origin["base"], "shapes");
    assert!(terminal.path("pulled/shapes/vae").is_dir());
    let spec = "models = ['shapes', 'pulled=pulled/bare']\nsteps = 1\nprompts = { source = 'shapes_held_out', count = 1 }";
    fs::write(terminal.path("spec.toml"), spec).expect("written");
    assert!(terminal.succeed(&["evaluate", "spec.toml"]).contains("pulled against shapes"));
}

/// A finished run that goes on is the same run in the database, and its earlier last model keeps its name.
#[tokio::test(flavor = "multi_thread")]
async fn a_prolonged_run_is_registered_again() {
    let scratch = tempfile::tempdir().expect("a folder");
    let terminal = Terminal::on_sqlite(&scratch);
    terminal.succeed(&["train", &terminal.config("longer", "shapes", 1), "--register"]);
    let output = terminal.succeed(&["train", &terminal.config("longer", "shapes", 2), "--register"]);
    assert!(output.contains("succeeded, step 2 of 2"), "{output}");
    let store = terminal.store().await;
    let run = run_named(&store, "longer").await;
    assert_eq!((run.state, run.step, run.spec.steps), (JobState::Succeeded, 2, 2));
    let models = store.list_models_of_run(run.id).await.expect("models");
    assert_eq!(names(&models), ["longer", "longer-step2"]);
    store.close().await;
}

/// Equal weights do not make two models one: they draw other images with another scheduler.
#[tokio::test(flavor = "multi_thread")]
async fn a_base_with_the_weights_of_another_model_is_a_model_of_its_own() {
    let scratch = tempfile::tempdir().expect("a folder");
    let terminal = Terminal::on_sqlite(&scratch);
    let shapes = models().join("shapes").canonicalize().expect("the bundled model");
    terminal.succeed(&["register", &shapes.to_string_lossy()]);
    copy(&shapes, &terminal.path("mine"));
    let file = terminal.path("mine/scheduler/scheduler_config.json");
    let text = String::from_utf8(read(file.clone())).expect("text");
    fs::write(&file, text.replace("v_prediction", "epsilon")).expect("written");
    terminal.succeed(&["train", &terminal.config("tuned", "mine", 1)]);
    terminal.succeed(&["register", "tuned"]);
    let store = terminal.store().await;
    let model = store.get_model_by_name("tuned").await.expect("the store").expect("a row");
    let base = store.get_model(model.base_id.expect("a base")).await.expect("the store").expect("the base");
    assert_eq!(base.name, "mine");
    let config = read(terminal.artifacts.join(&base.folder).join("scheduler/scheduler_config.json"));
    assert!(String::from_utf8(config).expect("text").contains("epsilon"));
    // Under a name that the other model has, it is refused.
    let error = terminal.refused(&["register", "mine", "--name", "shapes"]);
    assert!(error.contains("scheduler config"), "{error}");
    store.close().await;
}
