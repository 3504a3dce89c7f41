//! A real server and a real worker, ended at random moments by SIGTERM and SIGKILL while people vote and generate, and
//! while runs train and are evaluated. Nothing that was confirmed is lost or counted twice, no client is left without an
//! answer except by SIGKILL, and jobs end as if nobody had disturbed them. `KILLS` sets the number of signals, 4 by
//! default, and `SEED` the moments.

mod client;
mod people;
mod site;
#[path = "../support/mod.rs"]
#[expect(dead_code, reason = "shared with the API's tests, which use another part of it")]
mod support;

use domain::job::{Job, JobSpec, JobState};
use domain::run::metric;
use people::{People, Seen};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha12Rng;
use serde_json::json;
use site::{Signal, Site, end};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use store::Store;
use support::TestApp;

/// Prompts of the pairs that are judged.
const PROMPTS: usize = 60;
/// Training jobs that are queued or running at a time.
const JOBS: usize = 2;

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).map_or(default, |text| text.parse().expect("a number"))
}

fn train_spec(name: &str) -> serde_json::Value {
    json!({
        "kind": "train", "name": name, "base": "shapes",
        "objective": { "kind": "diff_contrast", "beta": 500.0, "tau": 0.5 },
        "data": { "source": "shapes", "set": "winter", "count": 8 },
        "steps": 6, "batch_size": 2, "learning_rate": { "rate": 1e-4 }, "checkpoint_every": 2,
        "sample_every": 3, "sample_prompts": ["a red circle"], "evaluate_prompts": 2,
    })
}

/// All that a training job and its evaluation leave: weights by step, curves, samples and scores.
#[derive(Debug, PartialEq)]
struct Traces {
    models: Vec<(Option<i64>, String)>,
    points: Vec<(String, i64, f64)>,
    samples: Vec<(Option<i64>, String)>,
    scores: Vec<String>,
}

async fn traces(store: &Store, site: &Site, name: &str, jobs: &[Job]) -> Traces {
    let runs = store.list_runs(u32::MAX).await.expect("runs");
    let runs: Vec<_> = runs.into_iter().filter(|run| run.spec.name == name).collect();
    assert_eq!(runs.len(), 1, "runs of {name}");
    let models = store.list_models_of_run(runs[0].id).await.expect("models");
    let points = store.metrics(runs[0].id, -1).await.expect("curves");
    let samples = store.list_samples(runs[0].id).await.expect("samples");
    let bytes = |artifact: &str| std::fs::read(site.folder.join("artifacts").join(artifact)).expect("a file");
    let hash = |artifact: &str| sha256(&bytes(artifact));
    let evaluations: Vec<&Job> = jobs
        .iter()
        .filter(|job| matches!(&job.spec, JobSpec::Evaluate(spec) if spec.all_models().contains(&name)))
        .collect();
    assert_eq!(evaluations.len(), 1, "evaluations of {name}");
    let scores = bytes(&format!("evaluations/{}/scores.csv", evaluations[0].id));
    let scores = String::from_utf8(scores).expect("text").replace(name, "NAME");
    Traces {
        models: models.iter().map(|model| (model.step, model.sha256.clone())).collect(),
        points: points
            .into_iter()
            .filter(|point| point.name != metric::SAMPLES_PER_SECOND && !point.name.starts_with("seconds/"))
            .map(|point| (point.name, point.step, point.value))
            .collect(),
        samples: samples.iter().map(|image| (image.step, hash(&image.artifact))).collect(),
        scores: scores.lines().map(str::to_owned).collect(),
    }
}

fn sha256(bytes: &[u8]) -> String {
    use sha2::{Digest, Sha256};
    format!("{:x}", Sha256::digest(bytes))
}

async fn jobs(store: &Store) -> Vec<Job> {
    store.list_jobs(None, u32::MAX).await.expect("jobs")
}

/// Submits training jobs until enough are unfinished. A submission without an answer may have been accepted or not.
async fn submit(store: &Store, people: &People, submitted: &mut Vec<String>) {
    let all = jobs(store).await;
    let unfinished =
        all.iter().filter(|job| matches!(job.spec, JobSpec::Train(_)) && !job.state.is_final()).count();
    for _ in unfinished..JOBS {
        let name = format!("run-{}", submitted.len());
        let reply = people.ask("/api/v1/jobs", "", Some(&train_spec(&name).to_string()), &[202]);
        let reply = reply.expect("an answer: the server runs");
        let id = reply.json()["id"].as_str().expect("an id").to_owned();
        assert!(jobs(store).await.iter().any(|job| job.id.to_string() == id), "the job {id} is lost");
        submitted.push(name);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn signals_at_random_moments_lose_nothing() {
    let (kills, seed) = (number("KILLS", 4), number("SEED", 1));
    let app = TestApp::start().await;
    app.pairs(PROMPTS).await;
    let shapes = concat!(env!("CARGO_MANIFEST_DIR"), "/../models/shapes");
    std::os::unix::fs::symlink(shapes, app.folder.path().join("models/shapes")).expect("a link");
    let site = Site::new(app.folder.path());
    let people = Arc::new(People { site: site.clone(), seen: Seen::default().into(), stop: false.into() });
    let mut server = site.server();

    // What an undisturbed job leaves.
    let whole = people.ask("/api/v1/jobs", "", Some(&train_spec("whole").to_string()), &[202]);
    whole.expect("accepted");
    assert!(site.worker(&["--until-empty"]).0.wait().expect("ends").success(), "{}", site.log_text("worker"));
    let expected = traces(&app.store, &site, "whole", &jobs(&app.store).await).await;
    assert_eq!((expected.models.len(), expected.samples.len()), (3, 3), "{expected:?}");

    let mut submitted = Vec::new();
    submit(&app.store, &people, &mut submitted).await;
    let mut worker = site.worker(&[]);
    let clients: Vec<_> = (0..4u64)
        .map(|number| {
            let people = Arc::clone(&people);
            std::thread::spawn(move || if number < 2 { people.vote(number) } else { people.generate(number) })
        })
        .collect();
    let mut rng = ChaCha12Rng::seed_from_u64(seed);
    let mut killed = Vec::new();
    let mut signals: BTreeMap<(&str, &str), u32> = BTreeMap::new();
    for kill in 0..kills {
        std::thread::sleep(Duration::from_millis(rng.random_range(200..2500)));
        submit(&app.store, &people, &mut submitted).await;
        // The first four are one of each kind.
        let kind = if kill < 4 { kill } else { rng.random_range(0..4) };
        let signal = if kind.is_multiple_of(2) { Signal::Term } else { Signal::Kill };
        let program = if [0, 3].contains(&kind) { "server" } else { "worker" };
        *signals.entry((program, if signal == Signal::Term { "SIGTERM" } else { "SIGKILL" })).or_default() +=
            1;
        if program == "server" {
            let began = Instant::now();
            end(server, signal, || site.log_text("server"));
            if signal == Signal::Kill {
                killed.push((began, Instant::now()));
            }
            server = site.server();
        } else {
            end(worker, signal, || site.log_text("worker"));
            worker = site.worker(&[]);
        }
    }

    let began = Instant::now();
    while jobs(&app.store).await.iter().any(|job| !job.state.is_final()) {
        assert!(began.elapsed() < Duration::from_secs(600), "jobs do not end: {}", site.log_text("worker"));
        std::thread::sleep(Duration::from_millis(200));
    }
    people.stop.store(true, Ordering::Relaxed);
    for client in clients {
        client.join().expect("a client's thread");
    }
    end(worker, Signal::Term, || site.log_text("worker"));
    check_clients(&app, &people, &killed).await;
    end(server, Signal::Term, || site.log_text("server"));

    let jobs = jobs(&app.store).await;
    for job in &jobs {
        assert_eq!(job.state, JobState::Succeeded, "{job:?}");
    }
    for name in &submitted {
        assert_eq!(traces(&app.store, &site, name, &jobs).await, expected, "{name}");
    }
    let attempts: i32 = jobs.iter().map(|job| job.attempt).sum();
    let seen = people.seen.lock().expect("a lock");
    println!(
        "signals {signals:?}; {} votes and {} images confirmed, {} answers by status {:?}, {} connections cut by SIGKILL, \
         {} jobs in {attempts} attempts",
        seen.votes.len(),
        seen.images.len(),
        seen.statuses.values().sum::<usize>(),
        seen.statuses,
        seen.cuts.len(),
        jobs.len(),
    );
}

/// Every confirmed vote is counted once and every returned image is kept; only SIGKILL of the server cut connections.
async fn check_clients(app: &TestApp, people: &People, killed: &[(Instant, Instant)]) {
    let counted = app.store.list_votes(u32::MAX).await.expect("votes");
    let seen = people.seen.lock().expect("a lock");
    assert!(seen.wrong.is_empty(), "{:#?}\n{}", seen.wrong, people.site.log_text("server"));
    for cut in &seen.cuts {
        let by_kill = killed.iter().any(|(began, ended)| cut.began <= *ended && cut.ended >= *began);
        assert!(by_kill, "{} was cut off without SIGKILL: {cut:?}", cut.path);
    }
    assert!(
        seen.votes.len() > 20 && seen.images.len() > 5,
        "{} votes, {} images",
        seen.votes.len(),
        seen.images.len()
    );
    let ids: BTreeSet<String> = counted.iter().map(|vote| vote.id.to_string()).collect();
    assert_eq!(ids.len(), counted.len(), "a vote is listed twice");
    for vote in &seen.votes {
        let rows: Vec<_> = counted.iter().filter(|row| row.id.to_string() == vote.id).collect();
        assert_eq!(rows.len(), 1, "the vote {} is not counted once", vote.id);
        let row = (rows[0].matchup_id.to_string(), rows[0].choice.as_str());
        assert_eq!(row, (vote.matchup.clone(), vote.choice), "{}", vote.id);
    }
    let more = counted.len() - seen.votes.len();
    assert!(
        more <= seen.unclear_votes,
        "{more} votes were counted and not confirmed, {} are unclear",
        seen.unclear_votes
    );
    for (id, bytes) in &seen.images {
        let file = client::send(people.site.address, &format!("/api/v1/images/{id}/file"), "", None);
        let client::Outcome::Answered(file) = file else { panic!("no image {id}") };
        assert!(file.status == 200 && file.body == *bytes, "the image {id} is lost");
    }
}
