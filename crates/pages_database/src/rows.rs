//! Rows, many in a statement.

use crate::plan::{ImageRow, Plan, VoteRow, prompt};
use anyhow::Result;
use sqlx::QueryBuilder;
use std::collections::BTreeMap;
use uuid::Uuid;

/// Rows of a statement: fewer values than either database allows.
const ROWS: usize = 1000;

/// The statements for one of the two databases, whose native types differ.
macro_rules! filler {
    ($module:ident, $database:ty) => {
        pub(crate) mod $module {
            use super::*;

            pub(crate) async fn fill(pool: &sqlx::Pool<$database>, plan: &Plan) -> Result<()> {
                runs(pool, plan).await?;
                println!("{} runs", plan.runs.len());
                points(pool, plan).await?;
                println!("{} curves of each", plan.curves.len());
                images(pool, plan).await?;
                println!("{} images", plan.images.len());
                votes(pool, plan).await?;
                println!("{} votes", plan.votes);
                sqlx::query("ANALYZE").execute(pool).await?;
                Ok(())
            }

            async fn runs(pool: &sqlx::Pool<$database>, plan: &Plan) -> Result<()> {
                let mut tx = pool.begin().await?;
                for rows in plan.runs.chunks(ROWS) {
                    let mut query = QueryBuilder::<$database>::new(
                        "INSERT INTO jobs (id, spec, state, attempt, cancel_requested, progress, total, error, \
                         created_at, started_at, finished_at) ",
                    );
                    query.push_values(rows, |mut values, run| {
                        values.push_bind(run.job).push_bind(&run.spec).push_bind(run.state);
                        values.push("1, 0").push_bind(run.points).push_bind(run.points).push_bind(run.error);
                        values.push_bind(run.created_at).push_bind(run.created_at).push_bind(run.finished_at);
                    });
                    query.build().execute(&mut *tx).await?;
                    let mut query = QueryBuilder::<$database>::new("INSERT INTO runs (id, job_id, step) ");
                    query.push_values(rows, |mut values, run| {
                        values.push_bind(run.id).push_bind(run.job).push_bind(run.points);
                    });
                    query.build().execute(&mut *tx).await?;
                    let mut query = QueryBuilder::<$database>::new(
                        "INSERT INTO models (id, name, folder, sha256, base_id, run_id, step, objective, description, created_at) ",
                    );
                    query.push_values(rows, |mut values, run| {
                        // The bundled model's files.
                        values.push_bind(run.model).push_bind(&run.name).push("'models/shapes', ''");
                        values.push_bind(plan.base.0).push_bind(run.id).push_bind(run.points);
                        values.push_bind(run.objective).push("''").push_bind(run.finished_at);
                    });
                    query.build().execute(&mut *tx).await?;
                }
                tx.commit().await?;
                Ok(())
            }

            async fn points(pool: &sqlx::Pool<$database>, plan: &Plan) -> Result<()> {
                for run in &plan.runs {
                    let mut tx = pool.begin().await?;
                    for (n, curve) in plan.curves.iter().enumerate() {
                        // A decay with a ripple; steps from 1 on.
                        sqlx::query(
                            "WITH RECURSIVE steps (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM steps WHERE n < $3) \
                             INSERT INTO metrics (run_id, name, step, value) \
                             SELECT $1, $2, n, $4 / (1.0 + n * 0.01) + (n % 17) * 0.01 FROM steps",
                        )
                        .bind(run.id)
                        .bind(curve)
                        .bind(run.points)
                        .bind(n as f64 + 1.0)
                        .execute(&mut *tx)
                        .await?;
                    }
                    tx.commit().await?;
                }
                Ok(())
            }

            async fn images(pool: &sqlx::Pool<$database>, plan: &Plan) -> Result<()> {
                let mut tx = pool.begin().await?;
                for rows in plan.images.chunks(ROWS) {
                    let mut query = QueryBuilder::<$database>::new(
                        "INSERT INTO images (id, model_id, purpose, prompt, negative_prompt, seed, steps, guidance_scale, \
                         width, height, sampler, params_sha256, artifact, created_at) ",
                    );
                    query.push_values(rows, |mut values, image| {
                        values.push_bind(image.id).push_bind(image.model).push("'evaluation'");
                        values.push_bind(prompt(image.prompt)).push("''").push_bind(image.prompt as i64);
                        values.push("20, 7.5, 64, 64, 'ddim'").push_bind(format!("{:064x}", image.prompt));
                        values.push_bind(format!("images/{}.png", image.id)).push_bind(plan.start);
                    });
                    query.build().execute(&mut *tx).await?;
                    let mut query =
                        QueryBuilder::<$database>::new("INSERT INTO image_scores (image_id, metric, value) ");
                    let scores = rows.iter().flat_map(|image| {
                        [(image.id, "clip_score", image.clip), (image.id, "prompt_followed", image.rule)]
                    });
                    query.push_values(scores, |mut values, (image, metric, value)| {
                        values.push_bind(image).push_bind(metric).push_bind(value);
                    });
                    query.build().execute(&mut *tx).await?;
                }
                for ((model, metric), (count, total, squares)) in score_sums(&plan.images) {
                    sqlx::query(
                        "INSERT INTO model_score_sums (model_id, metric, count, total, total_squares) VALUES ($1, $2, $3, $4, $5)",
                    )
                    .bind(model)
                    .bind(metric)
                    .bind(count)
                    .bind(total)
                    .bind(squares)
                    .execute(&mut *tx)
                    .await?;
                }
                for (a, b) in model_pairs(plan) {
                    sqlx::query("INSERT INTO comparable_models (model_a, model_b) VALUES ($1, $2)")
                        .bind(a)
                        .bind(b)
                        .execute(&mut *tx)
                        .await?;
                }
                tx.commit().await?;
                Ok(())
            }

            async fn votes(pool: &sqlx::Pool<$database>, plan: &Plan) -> Result<()> {
                let mut tx = pool.begin().await?;
                let mut query = QueryBuilder::<$database>::new("INSERT INTO raters (id, created_at) ");
                query.push_values(&plan.raters, |mut values, rater| {
                    values.push_bind(rater).push_bind(plan.start);
                });
                query.build().execute(&mut *tx).await?;
                let mut votes = plan.votes();
                let mut counts = BTreeMap::new();
                loop {
                    let rows: Vec<VoteRow> = votes.by_ref().take(ROWS).collect();
                    if rows.is_empty() {
                        break;
                    }
                    rows.iter().for_each(|vote| count(&plan.images, vote, &mut counts));
                    let mut query = QueryBuilder::<$database>::new(
                        "INSERT INTO matchups (id, prompt, question, left_image, right_image, rater_id, created_at) ",
                    );
                    query.push_values(&rows, |mut values, vote| {
                        values.push_bind(vote.matchup).push_bind(prompt(vote.prompt)).push("'overall'");
                        values.push_bind(plan.images[vote.left].id).push_bind(plan.images[vote.right].id);
                        values.push_bind(vote.rater).push_bind(vote.at);
                    });
                    query.build().execute(&mut *tx).await?;
                    let mut query = QueryBuilder::<$database>::new(
                        "INSERT INTO votes (id, matchup_id, rater_id, choice, created_at) ",
                    );
                    query.push_values(&rows, |mut values, vote| {
                        values.push_bind(vote.id).push_bind(vote.matchup).push_bind(vote.rater);
                        values.push_bind(vote.choice).push_bind(vote.at);
                    });
                    query.build().execute(&mut *tx).await?;
                }
                for ((a, b), [wins_a, wins_b, ties, both_bad]) in counts {
                    sqlx::query(
                        "INSERT INTO pair_votes (question, contestant_a, contestant_b, wins_a, wins_b, ties, both_bad) \
                         VALUES ('overall', $1, $2, $3, $4, $5, $6)",
                    )
                    .bind(a)
                    .bind(b)
                    .bind(wins_a)
                    .bind(wins_b)
                    .bind(ties)
                    .bind(both_bad)
                    .execute(&mut *tx)
                    .await?;
                }
                tx.commit().await?;
                Ok(())
            }
        }
    };
}
filler!(sqlite, sqlx::Sqlite);
filler!(postgres, sqlx::Postgres);

/// Count, sum and sum of squares by model and metric.
fn score_sums(images: &[ImageRow]) -> BTreeMap<(Uuid, &'static str), (i64, f64, f64)> {
    let mut sums: BTreeMap<(Uuid, &'static str), (i64, f64, f64)> = BTreeMap::new();
    for image in images {
        for (metric, value) in [("clip_score", image.clip), ("prompt_followed", image.rule)] {
            let sum = sums.entry((image.model, metric)).or_default();
            *sum = (sum.0 + 1, sum.1 + value, sum.2 + value * value);
        }
    }
    sums
}

/// Every two judged models, the smaller id first.
fn model_pairs(plan: &Plan) -> Vec<(Uuid, Uuid)> {
    let mut models: Vec<Uuid> = plan.images.iter().map(|image| image.model).collect();
    models.sort_unstable();
    models.dedup();
    let pairs = |(n, &a): (usize, &Uuid)| models[n + 1..].iter().map(move |&b| (a, b)).collect::<Vec<_>>();
    models.iter().enumerate().flat_map(pairs).collect()
}

/// Adds a vote to the counts of its pair of models.
fn count(images: &[ImageRow], vote: &VoteRow, counts: &mut BTreeMap<(Uuid, Uuid), [i64; 4]>) {
    let (left, right) = (images[vote.left].model, images[vote.right].model);
    let is_left_first = left < right;
    let pair = if is_left_first { (left, right) } else { (right, left) };
    let place = match vote.choice {
        "left" => usize::from(!is_left_first),
        "right" => usize::from(is_left_first),
        "tie" => 2,
        _ => 3,
    };
    counts.entry(pair).or_default()[place] += 1;
}
