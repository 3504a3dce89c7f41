//! Time to draw a matchup among many images. Run by hand:
//! `cargo test -p store --test speed -- --ignored --nocapture`.

use chrono::TimeDelta;
use domain::Timestamp;
use domain::id::{ImageId, ModelId, RaterId, VoteId};
use domain::image::{GenerationParams, Image, Purpose, Sampler};
use domain::model::Model;
use domain::preference::{Choice, Question, Vote};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::time::{Duration, Instant};
use store::Store;

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
