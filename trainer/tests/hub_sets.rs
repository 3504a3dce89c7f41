//! Sets of the hub: fetched once from a stand-in on this machine, then read as from any folder.

#[path = "support/hub.rs"]
mod hub;
#[path = "support/model.rs"]
mod model;

use datasets::rows::Pairs;
use domain::data::{DataSpec, PickAPicSpec};
use domain::id::JobId;
use domain::job::{JobSpec, JobState};
use domain::prepare::Manifest;
use domain::train::TrainSpec;
use hub::{COMMIT, Hub, TOKEN};
use model::bundled;
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

/// The files of a fixture's folder, as they lie in a repository's folder.
fn files(fixture: &Path, within: &str) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(fixture).expect("a fixture").map(|entry| entry.expect("an entry").path());
    let name = |path: &Path| format!("{within}{}", path.file_name().expect("a name").to_string_lossy());
    let mut files: BTreeMap<_, _> =
        entries.map(|path| (name(&path), fs::read(&path).expect("a file"))).collect();
    files.insert("README.md".to_owned(), b"# Pairs".to_vec());
    files
}

/// A stand-in with sets, a scratch folder, and how the program is run against them.
struct House {
    scratch: tempfile::TempDir,
    hub: Arc<Hub>,
    address: String,
}

impl House {
    fn new() -> Self {
        let readme = BTreeMap::from([("README.md".to_owned(), b"# Nothing".to_vec())]);
        let repositories = BTreeMap::from([
            ("datasets/someone/pairs", files(&fixture("sound/data"), "data/")),
            ("datasets/someone/deeper", files(&fixture("sound/data"), "all/of/it/data/")),
            ("datasets/someone/urls", {
                let mut files = files(&fixture("urls"), "data/");
                let first = files.remove("data/train.parquet").expect("the fixture");
                files.insert("data/train-1.parquet".to_owned(), first);
                files.insert("data/train-2.parquet".to_owned(), b"never fetched".to_vec());
                files
            }),
            ("datasets/someone/empty", readme.clone()),
            // A model of this name is no set.
            ("someone/model", readme),
        ]);
        let (hub, address) = Hub { repositories, ..Hub::default() }.start();
        let house = Self { scratch: tempfile::tempdir().expect("a folder"), hub, address };
        house.forget();
        house
    }

    /// What was asked until now; large files are sent to the address that is noted.
    fn forget(&self) -> Vec<String> {
        let asked = self.hub.asked();
        let host = format!("host {}", self.address.trim_start_matches("http://"));
        self.hub.asked.lock().expect("a lock").push((host, String::new()));
        asked.into_iter().map(|(path, _)| path).filter(|path| !path.starts_with("host ")).collect()
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

    /// Prepares a set from a line of TOML; the manifest, or what was said.
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
        Ok(serde_json::from_slice(&manifest).expect("a manifest"))
    }
}

const ALLOWED: [(&str, &str); 1] = [("HF_TOKEN", TOKEN)];
const OFFLINE: [(&str, &str); 1] = [("HF_HUB_OFFLINE", "1")];

#[test]
fn a_repository_is_fetched_once_and_read_as_a_folder() {
    let house = House::new();
    let data = "{ source = 'pick_a_pic', hub = 'someone/pairs' }";
    let fetched = house.prepare("fetched", data, &ALLOWED).expect("prepared");
    let asked = house.forget();
    let of = |words: &str| asked.iter().filter(|path| path.contains(words)).count();
    assert_eq!((of("train-00000"), of("train-00001"), of("train-00002")), (2, 2, 2), "{asked:?}");
    assert_eq!((of("validation"), of("README")), (0, 0), "{asked:?}");

    // The very set that a folder of these files is.
    let folder = fixture("sound");
    let local = format!("{{ source = 'pick_a_pic', folder = '{}' }}", folder.display());
    let local = house.prepare("local", &local, &[]).expect("prepared");
    assert_eq!((&fetched.parts, &fetched.report), (&local.parts, &local.report));
    assert!(fetched.report.pairs > 5, "{}", fetched.report);

    // Offline from now on; nothing is asked.
    assert_eq!(house.prepare("again", data, &OFFLINE).expect("prepared").parts, fetched.parts);
    assert_eq!(house.forget(), Vec::<String>::new());
    let other = house.prepare("other", "{ source = 'pick_a_pic', hub = 'someone/deeper' }", &OFFLINE);
    assert!(other.expect_err("never fetched").contains("HF_HUB_OFFLINE"));

    let deeper = "{ source = 'pick_a_pic', hub = 'someone/deeper', folder = 'all/of/it', revision = 'main', split = \
                  'validation_unique' }";
    let deeper = house.prepare("deeper", deeper, &ALLOWED).expect("prepared");
    assert_eq!(deeper.report.pairs, 1);
    assert!(house.forget().iter().all(|path| !path.contains("train-")));
}

/// Nobody fetches hundreds of files for a thousand pairs.
#[test]
fn no_more_files_are_fetched_than_pairs_are_wanted() {
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
        let house = House::new();
        let data = format!("{{ source = 'pick_a_pic', hub = 'someone/pairs', {limits} }}");
        let found = house.prepare("fetched", &data, &ALLOWED).expect("prepared");
        let asked = house.forget();
        let fetched = ["00000", "00001", "00002"]
            .map(|number| asked.iter().any(|path| path.contains(&format!("train-{number}"))));
        assert_eq!(fetched, [true, files > 1, false], "{limits}: {asked:?}");

        // The very set that these files are.
        let limits = limits.split(',').find(|limit| limit.starts_with("max_pairs"));
        let limits = limits.map_or_else(String::new, |limit| format!(", {limit}"));
        let local = format!("{{ source = 'pick_a_pic', folder = '{folder}', max_files = {files}{limits} }}");
        let local = house.prepare("local", &local, &[]).expect("prepared");
        assert_eq!((&found.parts, &found.report), (&local.parts, &local.report), "{data}");
    }
}

#[test]
fn what_cannot_be_had_says_why() {
    let house = House::new();
    let problem = |rest: &str, variables: &[(&str, &str)]| {
        let data = format!("{{ source = 'pick_a_pic', {rest} }}");
        house.prepare("none", &data, variables).expect_err("no such set")
    };
    let has = |problem: String, words: &[&str]| {
        for word in words {
            assert!(problem.contains(word), "{problem} does not say {word:?}");
        }
    };
    has(problem("hub = 'someone/pairs'", &[]), &["data.hub", "someone/pairs", "HF_TOKEN"]);
    has(problem("hub = 'someone/absent'", &ALLOWED), &["data.hub", "someone/absent", "no such thing"]);
    has(problem("hub = 'someone/model'", &ALLOWED), &["someone/model", "no such thing"]);
    has(problem("hub = 'someone/pairs', revision = 'v9'", &ALLOWED), &["v9", "revision"]);
    has(problem("hub = 'someone/empty'", &ALLOWED), &["someone/empty", "holds no .parquet file"]);
    has(
        problem("hub = 'someone/pairs', folder = 'other'", &ALLOWED),
        &["someone/pairs/other", "no .parquet"],
    );
    let split = problem("hub = 'someone/pairs', split = 'test'", &ALLOWED);
    has(split, &["no split \"test\"", "train, validation_unique"]);
    house.forget();
    // Shown by the first file; the others are never asked for.
    has(problem("hub = 'someone/urls'", &ALLOWED), &["no-images variant", "jpg_0"]);
    assert!(house.forget().iter().all(|path| !path.contains("train-2")));
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

/// A run notes the commit it learns from, and needs the hub no more.
#[test]
fn a_run_learns_from_a_repository() {
    let house = House::new();
    let (config, run) = (house.path("config.toml"), house.path("run"));
    fs::write(&config, spec("shapes")).expect("written");
    let train = |variables: &[(&str, &str)]| {
        let models = models();
        let cache = house.path("cache");
        let paths = [&config, &models, &run, &cache].map(|path| path.to_str().expect("a path"));
        let [config, models, run, cache] = paths;
        let arguments = ["train", config, "--models", models, "--out", run, "--cache", cache];
        let output = house.trainer(variables, &arguments);
        (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (ok, told) = train(&[]);
    assert!(!ok && told.contains("HF_TOKEN"), "{told}");
    let (ok, told) = train(&ALLOWED);
    assert!(ok, "{told}");
    let fetched = fs::read_to_string(run.join("fetched.json")).expect("what was fetched");
    assert!(fetched.contains(COMMIT), "{fetched}");
    assert!(run.join("models/step-0000001/unet").is_dir());
    house.forget();
    let (ok, told) = train(&[]);
    assert!(ok, "{told}");
    assert_eq!(house.forget(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_fetches_what_a_job_learns_from() {
    let house = House::new();
    let url = format!("sqlite://{}", house.path("house.db").display());
    let store = Store::connect(&url).await.expect("a store");
    store.insert_model(&bundled("shapes"), None).await.expect("a model");
    let train: TrainSpec = toml::from_str(&spec("shapes")).expect("a spec");
    let train = TrainSpec { evaluate_prompts: 0, ..train };
    let id = JobId::new(now(), entropy());
    store.enqueue_job(id, &JobSpec::Train(train), now()).await.expect("enqueued");
    let (models, artifacts) = (models(), house.path("artifacts"));
    let variables = [
        ("HF_TOKEN", TOKEN),
        ("DATABASE_URL", url.as_str()),
        ("ARTIFACTS", artifacts.to_str().expect("a path")),
        ("MODELS", models.to_str().expect("a path")),
    ];
    let output = house.trainer(&variables, &["worker", "--until-empty"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let job = store.get_job(id).await.expect("the store").expect("the job");
    assert_eq!(job.state, JobState::Succeeded, "{job:?}");
}
