//! Data sets of the Hugging Face hub: downloaded once, from a mock on this machine, then read as from a folder.

use crate::hub::{COMMIT, Hub, TOKEN};
use crate::model::bundled;
use datasets::rows::Pairs;
use domain::data::{DataSpec, PickAPicSpec};
use domain::id::JobId;
use domain::job::{JobSpec, JobState};
use domain::prepare::Manifest;
use domain::train::TrainSpec;
use process::ambient::{entropy, now};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;
use store::Store;

fn models() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../models")
}

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/datasets/tests/fixtures/pick_a_pic").join(name)
}

/// The files of a fixture's folder, by their paths in a repository's folder.
fn files(fixture: &Path, folder: &str) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(fixture).expect("a fixture").map(|entry| entry.expect("an entry").path());
    let name = |path: &Path| format!("{folder}{}", path.file_name().expect("a name").to_string_lossy());
    let mut files: BTreeMap<_, _> =
        entries.map(|path| (name(&path), fs::read(&path).expect("a file"))).collect();
    files.insert("README.md".to_owned(), b"# Pairs".to_vec());
    files
}

/// A mock hub with data sets, and a scratch folder for the program that uses it.
struct Environment {
    scratch: tempfile::TempDir,
    hub: Arc<Hub>,
    address: String,
}

impl Environment {
    fn new() -> Self {
        let readme = BTreeMap::from([("README.md".to_owned(), b"# Nothing".to_vec())]);
        let repositories = BTreeMap::from([
            ("datasets/someone/pairs", files(&fixture("sound/data"), "data/")),
            ("datasets/someone/deeper", files(&fixture("sound/data"), "all/of/it/data/")),
            ("datasets/someone/urls", {
                let mut files = files(&fixture("urls"), "data/");
                let first = files.remove("data/train.parquet").expect("the fixture");
                files.insert("data/train-1.parquet".to_owned(), first);
                files.insert("data/train-2.parquet".to_owned(), b"never downloaded".to_vec());
                files
            }),
            ("datasets/someone/empty", readme.clone()),
            // A model, which is not a data set.
            ("someone/model", readme),
        ]);
        let (hub, address) = Hub { repositories, ..Hub::default() }.start();
        Self { scratch: tempfile::tempdir().expect("a folder"), hub, address }
    }

    /// Paths of the requests since the last call.
    fn requested_paths(&self) -> Vec<String> {
        self.hub.take_requests().into_iter().map(|(path, _)| path).collect()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }

    fn trainer(&self, variables: &[(&str, &str)], arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_diff-contrast-trainer"));
        for name in ["HF_HUB_CACHE", "HF_TOKEN", "HF_HUB_OFFLINE", "http_proxy", "HTTP_PROXY"] {
            command.env_remove(name);
        }
        command
            .args(arguments)
            .env("HF_HOME", self.path("hub"))
            .env("HF_ENDPOINT", &self.address)
            .env("CACHE", self.path("cache"))
            .envs(variables.iter().copied())
            .output()
            .expect("the program")
    }

    /// Prepares a data set, given as TOML; returns the manifest, or standard error.
    fn prepare(&self, out: &str, data: &str, variables: &[(&str, &str)]) -> Result<Manifest, String> {
        let (config, out) = (self.path("spec.toml"), self.path(out));
        let text = format!("base = 'shapes'\nout = '{}'\nclip = false\ndata = {data}", out.display());
        fs::write(&config, text).expect("written");
        let models = models();
        let arguments =
            ["prepare", config.to_str().expect("a path"), "--models", models.to_str().expect("a path")];
        let output = self.trainer(variables, &arguments);
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into_owned());
        }
        let manifest = fs::read(out.join("manifest.json")).expect("a manifest");
        let mut manifest: Manifest = serde_json::from_slice(&manifest).expect("a manifest");
        // Of a repository, only files of the split are downloaded: nothing is left out.
        manifest.report.left_out.clear();
        Ok(manifest)
    }
}

const ALLOWED: [(&str, &str); 1] = [("HF_TOKEN", TOKEN)];
const OFFLINE: [(&str, &str); 1] = [("HF_HUB_OFFLINE", "1")];

#[test]
fn a_repository_is_downloaded_once_and_read_as_a_folder() {
    let environment = Environment::new();
    let data = "{ source = 'pick_a_pic', hub = 'someone/pairs' }";
    let fetched = environment.prepare("fetched", data, &ALLOWED).expect("prepared");
    let paths = environment.requested_paths();
    let of = |words: &str| paths.iter().filter(|path| path.contains(words)).count();
    assert_eq!((of("train-00000"), of("train-00001"), of("train-00002")), (2, 2, 2), "{paths:?}");
    assert_eq!((of("validation"), of("README")), (0, 0), "{paths:?}");

    // The same set as a folder of these files.
    let folder = fixture("sound");
    let local = format!("{{ source = 'pick_a_pic', folder = '{}' }}", folder.display());
    let local = environment.prepare("local", &local, &[]).expect("prepared");
    assert_eq!((&fetched.parts, &fetched.report), (&local.parts, &local.report));
    assert!(fetched.report.pairs > 5, "{}", fetched.report);

    // Offline, without requests.
    assert_eq!(environment.prepare("again", data, &OFFLINE).expect("prepared").parts, fetched.parts);
    assert_eq!(environment.requested_paths(), Vec::<String>::new());
    let other = environment.prepare("other", "{ source = 'pick_a_pic', hub = 'someone/deeper' }", &OFFLINE);
    assert!(other.expect_err("not cached").contains("HF_HUB_OFFLINE"));

    let deeper = "{ source = 'pick_a_pic', hub = 'someone/deeper', folder = 'all/of/it', revision = 'main', split = \
                  'validation_unique' }";
    let deeper = environment.prepare("deeper", deeper, &ALLOWED).expect("prepared");
    assert_eq!(deeper.report.pairs, 1);
    assert!(environment.requested_paths().iter().all(|path| !path.contains("train-")));
}

#[test]
fn no_more_files_are_downloaded_than_the_limits_of_the_spec_need() {
    let folder = fixture("sound").to_string_lossy().into_owned();
    let first = PickAPicSpec { folder: folder.clone(), max_files: Some(1), ..PickAPicSpec::default() };
    let first = Pairs::open(&DataSpec::PickAPic(first)).expect("readable").expect("a set of files").count();
    for (limits, files) in [
        ("max_files = 2".to_owned(), 2),
        ("max_pairs = 1".to_owned(), 1),
        (format!("max_pairs = {first}"), 1),
        (format!("max_pairs = {}", first + 1), 2),
        (format!("max_pairs = {}, max_files = 1", first + 1), 1),
    ] {
        let environment = Environment::new();
        let data = format!("{{ source = 'pick_a_pic', hub = 'someone/pairs', {limits} }}");
        let found = environment.prepare("fetched", &data, &ALLOWED).expect("prepared");
        let paths = environment.requested_paths();
        let downloaded = ["00000", "00001", "00002"]
            .map(|number| paths.iter().any(|path| path.contains(&format!("train-{number}"))));
        assert_eq!(downloaded, [true, files > 1, false], "{limits}: {paths:?}");

        // The same set as a folder of these files.
        let limits = limits.split(',').find(|limit| limit.starts_with("max_pairs"));
        let limits = limits.map_or_else(String::new, |limit| format!(", {limit}"));
        let local = format!("{{ source = 'pick_a_pic', folder = '{folder}', max_files = {files}{limits} }}");
        let local = environment.prepare("local", &local, &[]).expect("prepared");
        assert_eq!((&found.parts, &found.report), (&local.parts, &local.report), "{data}");
    }
}

#[test]
fn an_unavailable_set_is_refused_with_the_reason() {
    let environment = Environment::new();
    let problem = |rest: &str, variables: &[(&str, &str)]| {
        let data = format!("{{ source = 'pick_a_pic', {rest} }}");
        environment.prepare("none", &data, variables).expect_err("no such set")
    };
    let has = |problem: String, words: &[&str]| {
        for word in words {
            assert!(problem.contains(word), "{problem} does not contain {word:?}");
        }
    };
    has(problem("hub = 'someone/pairs'", &[]), &["data.hub", "someone/pairs", "HF_TOKEN"]);
    has(problem("hub = 'someone/absent'", &ALLOWED), &["data.hub", "someone/absent", "no such repository"]);
    has(problem("hub = 'someone/model'", &ALLOWED), &["someone/model", "no such repository"]);
    has(problem("hub = 'someone/pairs', revision = 'v9'", &ALLOWED), &["v9", "revision"]);
    has(problem("hub = 'someone/empty'", &ALLOWED), &["someone/empty", "holds no .parquet file"]);
    has(
        problem("hub = 'someone/pairs', folder = 'other'", &ALLOWED),
        &["someone/pairs/other", "no .parquet"],
    );
    let split = problem("hub = 'someone/pairs', split = 'test'", &ALLOWED);
    has(split, &["no split \"test\"", "train, validation_unique"]);
    environment.requested_paths();
    // The first file shows it; the others are not downloaded.
    has(problem("hub = 'someone/urls'", &ALLOWED), &["no-images variant", "jpg_0"]);
    assert!(environment.requested_paths().iter().all(|path| !path.contains("train-2")));
    has(problem("hub = '../pairs'", &[]), &["data.hub", "OWNER/NAME"]);
    has(problem("hub = 'someone/pairs', folder = '../../etc'", &[]), &["data.folder"]);
    has(problem("folder = '/sets', revision = 'main'", &[]), &["data.revision", "data.hub"]);
    has(problem("split = 'train'", &[]), &["data.folder"]);
}

fn spec(base: &str) -> String {
    format!(
        "name = 'on-the-hub'\nbase = '{base}'\nsteps = 1\nbatch_size = 2\n\
         objective = {{ kind = 'diffusion_dpo', beta = 500.0 }}\n\
         learning_rate = {{ rate = 1e-4 }}\ndata = {{ source = 'pick_a_pic', hub = 'someone/pairs' }}"
    )
}

/// A run records the commit that it trains on, and resumes without the hub.
#[test]
fn a_run_trains_on_a_repository() {
    let environment = Environment::new();
    let (config, run) = (environment.path("config.toml"), environment.path("run"));
    fs::write(&config, spec("shapes")).expect("written");
    let train = |variables: &[(&str, &str)]| {
        let models = models();
        let cache = environment.path("cache");
        let paths = [&config, &models, &run, &cache].map(|path| path.to_str().expect("a path"));
        let [config, models, run, cache] = paths;
        let arguments = ["train", config, "--models", models, "--out", run, "--cache", cache];
        let output = environment.trainer(variables, &arguments);
        (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (ok, output) = train(&[]);
    assert!(!ok && output.contains("HF_TOKEN"), "{output}");
    let (ok, output) = train(&ALLOWED);
    assert!(ok, "{output}");
    let fetched = fs::read_to_string(run.join("fetched.json")).expect("the record");
    assert!(fetched.contains(COMMIT), "{fetched}");
    assert!(run.join("models/step-0000001/unet").is_dir());
    environment.requested_paths();
    let (ok, output) = train(&[]);
    assert!(ok, "{output}");
    assert_eq!(environment.requested_paths(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_downloads_the_set_of_a_job() {
    let environment = Environment::new();
    let url = format!("sqlite://{}", environment.path("environment.db").display());
    let store = Store::connect(&url).await.expect("a store");
    store.insert_model(&bundled("shapes"), None).await.expect("a model");
    let train: TrainSpec = toml::from_str(&spec("shapes")).expect("a spec");
    let train = TrainSpec { evaluate_prompts: 0, ..train };
    let id = JobId::new(now(), entropy());
    store.enqueue_job(id, &JobSpec::Train(train), now()).await.expect("enqueued");
    let (models, artifacts) = (models(), environment.path("artifacts"));
    let variables = [
        ("HF_TOKEN", TOKEN),
        ("DATABASE_URL", url.as_str()),
        ("ARTIFACTS", artifacts.to_str().expect("a path")),
        ("MODELS", models.to_str().expect("a path")),
    ];
    let output = environment.trainer(&variables, &["worker", "--until-empty"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let job = store.get_job(id).await.expect("the store").expect("the job");
    assert_eq!(job.state, JobState::Succeeded, "{job:?}");
}
