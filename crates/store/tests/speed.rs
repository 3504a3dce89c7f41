//! Time to draw a matchup among many images, to read the curves of a long run, and to list many runs. Run by hand:
//! `cargo test -p store --test speed -- --ignored --nocapture`.

use chrono::TimeDelta;
use domain::Timestamp;
use domain::api::RunSort;
use domain::id::{ImageId, JobId, ModelId, RaterId, RunId, VoteId};
use domain::image::{GenerationParams, Image, Purpose, Sampler};
use domain::job::{Job, JobState};
use domain::model::Model;
use domain::preference::{Choice, Question, Vote};
use domain::run::MetricPoint;
use domain::series::{Grid, buckets, trailing_means};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::time::{Duration, Instant};
use store::{RunCursor, RunFilter, Store};

const MODELS: u32 = 50;
const PROMPTS: u32 = 3200;

#[tokio::test]
#[ignore = "fills a database with 160000 images"]
async fn a_matchup_of_50_models_with_3200_images_is_drawn_within_200_ms() {
    let folder = tempfile::tempdir().unwrap();
    let url = std::env::var("SPEED_DATABASE_URL")
        .unwrap_or_else(|_| format!("sqlite://{}", folder.path().join("a.db").display()));
    let store = Store::connect(&url).await.unwrap();
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let mut now = Timestamp::from_timestamp_millis(1_767_225_600_000).unwrap();
    let filling = Instant::now();
    for m in 0..MODELS {
        let id = ModelId::new(now, rng.random());
        let model = Model {
            id,
            name: format!("model-{m}"),
            folder: "f".to_owned(),
            sha256: "00".repeat(32),
            base_id: None,
            run_id: None,
            step: None,
            objective: None,
            description: String::new(),
            created_at: now,
        };
        store.insert_model(&model, None).await.unwrap();
        // Half of the models have other prompts than the rest, so that some pairs have no comparable images.
        let images: Vec<_> = (0..PROMPTS)
            .map(|p| Image {
                id: ImageId::new(now, rng.random()),
                model_id: Some(id),
                run_id: None,
                step: None,
                purpose: Purpose::Evaluation,
                params: GenerationParams {
                    prompt: format!("set {} prompt {p} of a large red circle on a blue background", m % 2),
                    negative_prompt: String::new(),
                    seed: u64::from(p),
                    steps: 20,
                    guidance_scale: 7.5,
                    width: 64,
                    height: 64,
                    sampler: Sampler::Ddim,
                    lora: Vec::new(),
                },
                artifact: format!("images/{m}/{p}.png"),
                created_at: now,
            })
            .collect();
        store.insert_images(&images, None).await.unwrap();
        now += TimeDelta::seconds(1);
    }
    println!("filled in {:.1?}", filling.elapsed());
    let rater = RaterId::new(now, rng.random());
    store.ensure_rater(rater, now).await.unwrap();
    let mut draws = Vec::new();
    let all = Instant::now();
    for _ in 0..200 {
        let draw = Instant::now();
        let matchup =
            store.next_matchup(rater, Question::Overall, &[], now, &mut rng).await.unwrap().unwrap();
        draws.push(draw.elapsed());
        let vote = Vote {
            id: VoteId::new(now, rng.random()),
            matchup_id: matchup.id,
            rater_id: rater,
            choice: Choice::Left,
            created_at: now,
        };
        store.cast_vote(&vote).await.unwrap();
        now += TimeDelta::seconds(1);
    }
    draws.sort();
    let (median, longest) = (draws[100], draws[199]);
    println!(
        "200 draws and votes in {:.2?}; a draw takes {median:.2?} (longest {longest:.2?})",
        all.elapsed()
    );
    let tallies = Instant::now();
    assert_eq!(
        store.tallies(Question::Overall).await.unwrap().iter().map(store::PairVotes::total).sum::<i64>(),
        200
    );
    println!("tallies in {:.2?}", tallies.elapsed());
    assert!(median < Duration::from_millis(200), "{median:?}");
}

const STEPS: i64 = 100_000;
const CURVES: usize = 20;

/// What the page of a run of 100,000 steps reads and computes for all of its 20 charts.
#[tokio::test]
#[ignore = "fills a database with 2000000 points"]
async fn charts_of_a_run_of_100000_steps_are_read_within_50_ms() {
    let folder = tempfile::tempdir().unwrap();
    let url = std::env::var("SPEED_DATABASE_URL")
        .unwrap_or_else(|_| format!("sqlite://{}", folder.path().join("a.db").display()));
    let store = Store::connect(&url).await.unwrap();
    let now = Timestamp::from_timestamp_millis(1_767_225_600_000).unwrap();
    let spec = serde_json::json!({
        "kind": "train", "name": "long", "base": "shapes", "objective": { "kind": "sft" },
        "data": { "source": "shapes", "set": "winter", "count": 64 },
        "steps": STEPS, "batch_size": 4, "learning_rate": { "rate": 1e-5 }
    });
    let job = Job {
        id: JobId::new(now, [1; 10]),
        spec: serde_json::from_value(spec).unwrap(),
        state: JobState::Succeeded,
        attempt: 1,
        cancel_requested: false,
        worker: None,
        progress: STEPS,
        total: STEPS,
        error: None,
        run_id: None,
        priority: 0,
        position: None,
        created_at: now,
        queued_at: now,
        started_at: Some(now),
        finished_at: Some(now),
    };
    let run = RunId::new(now, [2; 10]);
    store.register_run(&job, run, STEPS).await.unwrap();
    let filling = Instant::now();
    let names: Vec<String> = (0..CURVES).map(|n| format!("group/metric_{n}")).collect();
    let points: Vec<MetricPoint> = (1..=STEPS)
        .flat_map(|step| {
            names.iter().map(move |name| {
                let value = ((step * 7919) % 1009) as f64 / 7.0;
                MetricPoint { name: name.clone(), step, value }
            })
        })
        .collect();
    store.add_points(run, &points).await.unwrap();
    println!("filled in {:.1?}", filling.elapsed());
    for (label, names) in [("all 20 curves", Vec::new()), ("one curve", names[..1].to_vec())] {
        let mut times = Vec::new();
        for _ in 0..40 {
            let began = Instant::now();
            let curves = store.curves(run, &names, 0, STEPS).await.unwrap();
            let read = began.elapsed();
            let grid = Grid::new(0, STEPS, 240);
            let count: usize = curves
                .values()
                .map(|points| buckets(points, &trailing_means(points, 2000), grid).len())
                .sum();
            assert_eq!(count, 240 * curves.len());
            times.push((began.elapsed(), read));
        }
        times.sort();
        println!("{label}: p50 {:.1?} (read {:.1?}), p95 {:.1?}", times[20].0, times[20].1, times[38].0);
    }
}

/// What a page of the list of runs reads: the runs in each order, of a filter, and in the middle, with the last points of their curves.
#[tokio::test]
#[ignore = "fills a database with 10000 runs"]
async fn a_page_of_10000_runs_is_read_within_50_ms() {
    let folder = tempfile::tempdir().unwrap();
    let url = std::env::var("SPEED_DATABASE_URL")
        .unwrap_or_else(|_| format!("sqlite://{}", folder.path().join("a.db").display()));
    let store = Store::connect(&url).await.unwrap();
    let begin = Timestamp::from_timestamp_millis(1_767_225_600_000).unwrap();
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let filling = Instant::now();
    for n in 0..10_000i64 {
        let now = begin + TimeDelta::seconds(n);
        let spec = serde_json::json!({
            "kind": "train", "name": format!("run-{n}"), "base": "shapes", "objective": { "kind": "sft" },
            "data": { "source": "shapes", "set": "winter", "count": 64 },
            "steps": 100, "batch_size": 4, "learning_rate": { "rate": 1e-5 }
        });
        let job = Job {
            id: JobId::new(now, rng.random()),
            spec: serde_json::from_value(spec).unwrap(),
            state: if n % 50 == 0 { JobState::Failed } else { JobState::Succeeded },
            attempt: 1,
            cancel_requested: false,
            worker: None,
            progress: 100,
            total: 100,
            error: None,
            run_id: None,
            priority: 0,
            position: None,
            created_at: now,
            queued_at: now,
            started_at: Some(now),
            finished_at: Some(now + TimeDelta::seconds(n * 7919 % 1009)),
        };
        let run = RunId::new(now, rng.random());
        store.register_run(&job, run, 100).await.unwrap();
        let point = |step| MetricPoint { name: "loss".to_owned(), step, value: 0.5 };
        store.add_points(run, &[point(1), point(100)]).await.unwrap();
    }
    println!("filled in {:.1?}", filling.elapsed());
    let all = RunFilter::default();
    let failed = RunFilter { state: Some(JobState::Failed), ..all.clone() };
    let searched = RunFilter { search: Some("99".to_owned()), ..all.clone() };
    let middle = store.list_run_page(&all, RunSort::Name, None, 5000).await.unwrap().pop().unwrap();
    let middle = RunCursor::of(&middle, RunSort::Name);
    for (label, filter, sort, after) in [
        ("newest", &all, RunSort::Newest, None),
        ("by name", &all, RunSort::Name, None),
        ("by name, from the middle", &all, RunSort::Name, Some(&middle)),
        ("longest", &all, RunSort::Duration, None),
        ("failed", &failed, RunSort::Newest, None),
        ("searched", &searched, RunSort::Newest, None),
    ] {
        let mut times = Vec::new();
        for _ in 0..40 {
            let began = Instant::now();
            let runs = store.list_run_page(filter, sort, after, 50).await.unwrap();
            assert_eq!(runs.len(), 50, "{label}");
            let ids: Vec<RunId> = runs.iter().map(|run| run.id).collect();
            assert_eq!(store.last_points(&ids, &["loss", "validation/loss"]).await.unwrap().len(), 50);
            times.push(began.elapsed());
        }
        times.sort();
        println!("{label}: p50 {:.1?}, p95 {:.1?}", times[20], times[38]);
        assert!(times[38] < Duration::from_millis(50), "{label}: {:?}", times[38]);
    }
}
