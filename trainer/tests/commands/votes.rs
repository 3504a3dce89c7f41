//! Training on votes: directly from the database by the worker, and from a file of `export-votes`.

use crate::model::bundled;
use datasets::rows::Pairs;
use domain::data::{DataSpec, PickAPicSpec};
use domain::id::{ImageId, JobId, ModelId, RaterId, VoteId};
use domain::image::{GenerationParams, Image, Purpose, Sampler};
use domain::job::{JobSpec, JobState};
use domain::preference::{Choice, Question, Vote};
use domain::train::TrainSpec;
use process::ambient::{entropy, now};
use rand::SeedableRng;
use rand_chacha::ChaCha12Rng;
use std::path::{Path, PathBuf};
use std::process::Command;
use store::{Artifacts, Store};

fn models() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../models")
}

/// A database and artifact store in a scratch folder.
struct Environment {
    scratch: tempfile::TempDir,
    store: Store,
    artifacts: Artifacts,
}

impl Environment {
    async fn new() -> Self {
        let scratch = tempfile::tempdir().expect("a folder");
        let url = format!("sqlite://{}", scratch.path().join("test.db").display());
        let store = Store::connect(&url).await.expect("a store");
        let artifacts = Artifacts::open(scratch.path().join("artifacts")).expect("artifacts");
        Self { scratch, store, artifacts }
    }

    async fn model(&self, name: &str) -> ModelId {
        let model = bundled(name);
        self.store.insert_model(&model, None).await.expect("a model");
        model.id
    }

    async fn image(&self, model: ModelId, prompt: &str, content: &shapes::Image) -> ImageId {
        let id = ImageId::new(now(), entropy());
        let artifact = format!("images/{id}.png");
        self.artifacts.put(&artifact, content.to_png().expect("a PNG")).await.expect("kept");
        let params = GenerationParams {
            prompt: prompt.to_owned(),
            negative_prompt: String::new(),
            seed: 1,
            steps: 1,
            guidance_scale: 1.0,
            width: 64,
            height: 64,
            sampler: Sampler::Ddim,
            lora: Vec::new(),
        };
        let image = Image {
            id,
            model_id: Some(model),
            run_id: None,
            step: None,
            purpose: Purpose::Evaluation,
            params,
            artifact,
            created_at: now(),
        };
        self.store.insert_images(&[image], None).await.expect("an image");
        id
    }

    /// Casts one vote on each of `pairs` pairs: every third is a tie, and the model `good` wins the others.
    async fn vote(&self, pairs: u64) {
        let [good, bad] = [self.model("good").await, self.model("bad").await];
        let mut rng = ChaCha12Rng::seed_from_u64(1);
        for seed in 0..pairs {
            let pair = shapes::quality::quality_pair(seed);
            let a = self.image(good, &pair.caption, &pair.winner).await;
            let b = self.image(bad, &pair.caption, &pair.loser).await;
            let matchup =
                self.store.create_matchup(a, b, Question::Overall, now(), &mut rng).await.expect("a matchup");
            let rater_id = RaterId::new(now(), entropy());
            self.store.ensure_rater(rater_id, now()).await.expect("a rater");
            let choice = match (seed % 3, matchup.left == a) {
                (2, _) => Choice::Tie,
                (_, true) => Choice::Left,
                (_, false) => Choice::Right,
            };
            let id = VoteId::new(now(), entropy());
            let vote = Vote { id, matchup_id: matchup.id, rater_id, choice, created_at: now() };
            self.store.cast_vote(&vote).await.expect("counted");
        }
    }

    fn trainer(&self, command: &str, arguments: &[&str]) -> Command {
        let mut trainer = Command::new(env!("CARGO_BIN_EXE_diff-contrast-trainer"));
        trainer
            .arg(command)
            .args(arguments)
            .env("DATABASE_URL", format!("sqlite://{}", self.scratch.path().join("test.db").display()))
            .env("ARTIFACTS", self.scratch.path().join("artifacts"))
            .env("MODELS", models())
            .env("CACHE", self.scratch.path().join("cache"));
        trainer
    }
}

fn spec(name: &str, data: &str) -> String {
    format!(
        "name = '{name}'\nbase = 'good'\nsteps = 2\nbatch_size = 2\ncaption_dropout = 0.0\n\
         objective = {{ kind = 'diff_contrast', beta = 500.0, tau = 0.5 }}\n\
         learning_rate = {{ rate = 1e-4 }}\ndata = {data}"
    )
}

/// The export holds the six pairs with a winner, with the images that were judged.
fn check_exported_pairs(folder: &str) {
    let set = DataSpec::PickAPic(PickAPicSpec { folder: folder.to_owned(), ..PickAPicSpec::default() });
    let pairs =
        Pairs::open(&set).expect("opens").expect("a set").collect::<Result<Vec<_>, _>>().expect("pairs");
    assert_eq!(pairs.len(), 6);
    for pair in &pairs {
        assert_eq!(pair.models, [Some("good".to_owned()), Some("bad".to_owned())]);
        let seed =
            (0..9).find(|&seed| shapes::quality::quality_pair(seed).caption == pair.prompt).expect("a seed");
        assert_eq!(
            &*pair.winner,
            shapes::quality::quality_pair(seed).winner.to_png().expect("a PNG").as_slice()
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn training_on_votes_equals_training_on_their_export() {
    let environment = Environment::new().await;
    let train: TrainSpec = toml::from_str(&spec("on-votes", "{ source = 'votes' }")).expect("a spec");
    train.validate().expect("a valid spec");
    let enqueue = async || {
        let id = JobId::new(now(), entropy());
        environment.store.enqueue_job(id, &JobSpec::Train(train.clone()), now()).await.expect("enqueued");
        id
    };
    let state = async |job: JobId| environment.store.get_job(job).await.expect("the store").expect("the job");

    // Without votes the job fails.
    let too_early = {
        environment.model("lonely").await;
        let id = JobId::new(now(), entropy());
        let spec = TrainSpec { base: "lonely".into(), name: "too-early".into(), ..train.clone() };
        environment.store.enqueue_job(id, &JobSpec::Train(spec), now()).await.expect("enqueued");
        id
    };
    assert!(environment.trainer("worker", &["--until-empty"]).status().expect("the worker").success());
    let job = state(too_early).await;
    assert_eq!(job.state, JobState::Failed);
    assert!(job.error.as_deref().is_some_and(|error| error.contains("collect votes first")), "{job:?}");

    environment.vote(9).await;
    // Directly from the database.
    let job = enqueue().await;
    assert!(environment.trainer("worker", &["--until-empty"]).status().expect("the worker").success());
    let job = state(job).await;
    assert_eq!(job.state, JobState::Succeeded, "{job:?}");
    let runs = environment.scratch.path().join("artifacts/runs");
    let written = std::fs::read_dir(runs).expect("runs").map(|run| run.expect("a run").path());
    let written: Vec<PathBuf> = written.map(|run| run.join("votes")).filter(|votes| votes.is_dir()).collect();
    assert_eq!(written.len(), 1);

    // From an exported file.
    let exported = environment.scratch.path().join("exported");
    std::fs::create_dir(&exported).expect("made");
    let file = exported.join("votes.parquet");
    let output = environment
        .trainer("export-votes", &[file.to_str().expect("a path")])
        .output()
        .expect("export-votes");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && text.contains("9 rows, 3 ties"), "{text}");
    assert!(
        std::fs::read(&file).expect("the export")
            == std::fs::read(written[0].join("votes.parquet")).expect("the run's"),
        "the run trained on other rows than were exported"
    );
    let folder = exported.to_string_lossy().into_owned();
    check_exported_pairs(&folder);
    let config = environment.scratch.path().join("config.toml");
    let data = format!("{{ source = 'pick_a_pic', folder = '{folder}' }}");
    std::fs::write(&config, spec("on-export", &data).replace("'good'", "'shapes'")).expect("written");
    let run = environment.scratch.path().join("run");
    let status = environment
        .trainer("train", &[config.to_str().expect("a path")])
        .arg("--models")
        .arg(models())
        .arg("--out")
        .arg(&run)
        .arg("--cache")
        .arg(environment.scratch.path().join("cache"))
        .status()
        .expect("train");
    assert!(status.success());
    // The same pairs and seed give the same weights.
    let weights = |folder: &Path| {
        std::fs::read(folder.join("models/step-0000002/unet/diffusion_pytorch_model.safetensors"))
            .expect("a model")
    };
    let from_store = written[0].parent().expect("the run's folder");
    assert!(
        weights(from_store) == weights(&run),
        "training on votes and on their export gives different weights"
    );
}

/// Votes go out as a set, come back as another tool's answers, and count once.
#[tokio::test(flavor = "multi_thread")]
async fn votes_made_elsewhere_are_imported() {
    let environment = Environment::new().await;
    environment.vote(3).await;
    let votes = environment.store.judged_votes(Question::Overall).await.expect("votes");
    let [first, second] = votes[0].images.each_ref().map(|image| image.id);
    let tasks = format!(
        r#"[{{"data": {{"image1": "http://x/api/v1/images/{first}/file", "image2": "http://x/api/v1/images/{second}/file"}},
            "annotations": [{{"completed_by": 7, "result": [{{"type": "pairwise", "value": {{"selected": "right"}}}}]}}]}},
           {{"data": {{"image1": "a.png"}}, "annotations": []}}]"#
    );
    let file = environment.scratch.path().join("label-studio.json");
    std::fs::write(&file, tasks).expect("written");
    let file = file.to_string_lossy().into_owned();
    for expected in
        ["1 votes imported, 0 known already, 1 left out", "0 votes imported, 1 known already, 1 left out"]
    {
        let output = environment.trainer("import-votes", &[&file]).output().expect("the program");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success() && text.contains(expected), "{text} {output:?}");
        assert!(text.contains("row 2 does not name two images of this site"), "{text}");
    }
    assert_eq!(environment.store.judged_votes(Question::Overall).await.expect("votes").len(), 4);
    std::fs::write(&file, "[5]").expect("written");
    let output = environment.trainer("import-votes", &[&file]).output().expect("the program");
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("no vote could be imported"), "{output:?}");
}
