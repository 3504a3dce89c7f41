//! Databases of earlier versions keep what they hold.

use crate::contestants::used;
use crate::fixture::{PostgresDatabase, params};
use domain::id::{ContestantId, RaterId};
use domain::preference::{Choice, Question};
use sqlx::migrate::Migrator;
use sqlx::{PgPool, SqlitePool};
use std::path::{Path, PathBuf};
use store::Store;
use uuid::Uuid;

/// Copies the migrations up to a number, and reads them.
async fn migrations_until(last: &str, database: &str, scratch: &Path) -> Migrator {
    let all = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../migrations").join(database);
    for entry in std::fs::read_dir(all).expect("the migrations") {
        let file = entry.expect("an entry").path();
        let name = file.file_name().and_then(|name| name.to_str()).expect("a name").to_owned();
        if name[..4] <= *last {
            std::fs::copy(&file, scratch.join(name)).expect("a copy");
        }
    }
    Migrator::new(scratch).await.expect("migrations")
}

fn id(n: u128) -> Uuid {
    Uuid::from_u128(n)
}

/// What the tests insert as the version before contestants did: a model, an image without adapters (11), two with the same
/// adapters (12, 13) and one with others (14), a rater (21) with an open matchup (31) and a vote (41) on another (32).
macro_rules! insert_old_rows {
    ($pool:expr, $now:expr) => {{
        let (pool, now) = ($pool, $now);
        sqlx::query(
            "INSERT INTO models (id, name, folder, sha256, description, created_at) VALUES ($1, 'shapes', 'f', 's', '', $2)",
        )
        .bind(id(1))
        .bind(now)
        .execute(pool)
        .await
        .expect("a model");
        let snow = serde_json::to_string(&[used("snow", 0.5, "a")]).expect("JSON");
        let star = serde_json::to_string(&[used("star", 1.0, "b")]).expect("JSON");
        for (n, lora) in [(11, None), (13, Some(&snow)), (12, Some(&snow)), (14, Some(&star))] {
            sqlx::query(
                "INSERT INTO images (id, model_id, purpose, prompt, negative_prompt, seed, steps, guidance_scale, width, height, \
                 sampler, lora, params_sha256, artifact, created_at) \
                 VALUES ($1, $2, 'generation', 'p', '', 1, 20, 7.5, 64, 64, 'ddim', $3, 'key', 'a.png', $4)",
            )
            .bind(id(n))
            .bind(id(1))
            .bind(lora)
            .bind(now)
            .execute(pool)
            .await
            .expect("an image");
        }
        sqlx::query(
            "INSERT INTO images (id, model_id, purpose, prompt, negative_prompt, seed, steps, guidance_scale, width, height, \
             sampler, params_sha256, artifact, created_at) \
             VALUES ($1, $2, 'evaluation', 'p', '', 1, 20, 7.5, 64, 64, 'ddim', 'key', 'a.png', $3)",
        )
        .bind(id(15))
        .bind(id(1))
        .bind(now)
        .execute(pool)
        .await
        .expect("an evaluation image");
        sqlx::query("INSERT INTO image_scores (image_id, metric, value) VALUES ($1, 'clip_score', 0.5), ($2, 'clip_score', 9)")
            .bind(id(15))
            .bind(id(11))
            .execute(pool)
            .await
            .expect("scores");
        sqlx::query("INSERT INTO raters (id, created_at) VALUES ($1, $2)")
            .bind(id(21))
            .bind(now)
            .execute(pool)
            .await
            .expect("a rater");
        for (n, right) in [(31, 14), (32, 12)] {
            sqlx::query(
                "INSERT INTO matchups (id, prompt, left_image, right_image, rater_id, created_at) \
                 VALUES ($1, 'p', $2, $3, $4, $5)",
            )
            .bind(id(n))
            .bind(id(11))
            .bind(id(right))
            .bind(id(21))
            .bind(now)
            .execute(pool)
            .await
            .expect("a matchup");
        }
        sqlx::query("INSERT INTO votes (id, matchup_id, rater_id, choice, created_at) VALUES ($1, $2, $3, 'right', $4)")
            .bind(id(41))
            .bind(id(32))
            .bind(id(21))
            .bind(now)
            .execute(pool)
            .await
            .expect("a vote");
    }};
}

/// The vote counts for the model with its adapter; the score of the evaluation image for the model; the matchup is still the rater's own; images keep their parameters.
async fn check(store: &Store) {
    let contestants = store.list_contestants().await.expect("contestants");
    let listed: Vec<_> = contestants.iter().map(|known| (known.id.0, known.name.as_str())).collect();
    assert_eq!(listed, [(id(1), "shapes"), (id(12), "shapes + snow:0.5"), (id(14), "shapes + star")]);
    let tallies = store.tallies(Question::Overall).await.expect("tallies");
    assert_eq!(tallies.len(), 1);
    assert_eq!((tallies[0].a, tallies[0].b), (ContestantId(id(1)), ContestantId(id(12))));
    assert_eq!((tallies[0].wins_a, tallies[0].wins_b), (0, 1));
    let scores = store.model_scores(domain::id::ModelId(id(1))).await.expect("scores");
    assert_eq!((scores.len(), scores[0].mean, scores[0].count), (1, 0.5, 1));
    let votes = store.judged_votes(Question::Overall).await.expect("votes");
    assert_eq!((votes.len(), votes[0].choice, votes[0].rater_id), (1, Choice::Right, RaterId(id(21))));
    assert_eq!(votes[0].images[1].model, "shapes + snow:0.5");
    let open = store.get_matchup(domain::id::MatchupId(id(31))).await.expect("a query").expect("the matchup");
    assert_eq!(open.rater_id, Some(RaterId(id(21))));
    let image = store.get_image(domain::id::ImageId(id(12))).await.expect("a query").expect("the image");
    assert_eq!((image.params.lora, image.params.prompt), (vec![used("snow", 0.5, "a")], params("p").prompt));
}

#[tokio::test]
async fn old_votes_count_for_the_adapters_that_drew_the_image_on_sqlite() {
    let scratch = tempfile::tempdir().expect("a folder");
    let url = format!("sqlite://{}", scratch.path().join("old.db").display());
    let files = scratch.path().join("migrations");
    std::fs::create_dir(&files).expect("a folder");
    let pool = SqlitePool::connect(&format!("{url}?mode=rwc")).await.expect("a database");
    migrations_until("0003", "sqlite", &files).await.run(&pool).await.expect("the old tables");
    insert_old_rows!(&pool, domain::Timestamp::UNIX_EPOCH);
    pool.close().await;
    let store = Store::connect(&url).await.expect("the new tables");
    check(&store).await;
    store.close().await;
}

#[tokio::test]
async fn old_votes_count_for_the_adapters_that_drew_the_image_on_postgres() {
    let scratch = tempfile::tempdir().expect("a folder");
    let database = PostgresDatabase::create().await;
    let pool = PgPool::connect(&database.url).await.expect("the schema");
    migrations_until("0003", "postgres", scratch.path()).await.run(&pool).await.expect("the old tables");
    insert_old_rows!(&pool, domain::Timestamp::UNIX_EPOCH);
    pool.close().await;
    let store = Store::connect(&database.url).await.expect("the new tables");
    check(&store).await;
    store.close().await;
    database.remove().await;
}
