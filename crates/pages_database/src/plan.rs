//! What the rows hold.

use chrono::TimeDelta;
use domain::Timestamp;
use domain::id::{ImageId, JobId, MatchupId, ModelId, RaterId, RunId, VoteId};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::json;
use uuid::Uuid;

/// How many rows of each kind.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Counts {
    /// Runs, each with a model.
    #[arg(long, default_value_t = 1000)]
    pub(crate) runs: usize,
    /// Curves of each run.
    #[arg(long, default_value_t = 20)]
    pub(crate) curves: usize,
    /// Points of each curve.
    #[arg(long, default_value_t = 1000)]
    pub(crate) points: i64,
    /// Points of each curve of one more run, the newest.
    #[arg(long, default_value_t = 100_000)]
    pub(crate) long_points: i64,
    /// Evaluation images.
    #[arg(long, default_value_t = 100_000)]
    pub(crate) images: usize,
    /// The newest models share the images, and are judged.
    #[arg(long, default_value_t = 40)]
    pub(crate) judged_models: usize,
    /// Votes.
    #[arg(long, default_value_t = 1_000_000)]
    pub(crate) votes: usize,
    /// People who vote.
    #[arg(long, default_value_t = 500)]
    pub(crate) raters: usize,
}

pub(crate) struct RunRow {
    pub(crate) id: Uuid,
    pub(crate) job: Uuid,
    pub(crate) model: Uuid,
    pub(crate) name: String,
    pub(crate) objective: &'static str,
    pub(crate) spec: String,
    pub(crate) state: &'static str,
    pub(crate) error: Option<&'static str>,
    pub(crate) points: i64,
    pub(crate) created_at: Timestamp,
    pub(crate) finished_at: Timestamp,
}

pub(crate) struct ImageRow {
    pub(crate) id: Uuid,
    pub(crate) model: Uuid,
    pub(crate) prompt: usize,
    pub(crate) clip: f64,
    pub(crate) rule: f64,
}

pub(crate) struct VoteRow {
    pub(crate) id: Uuid,
    pub(crate) matchup: Uuid,
    pub(crate) rater: Uuid,
    pub(crate) prompt: usize,
    /// Indices of images.
    pub(crate) left: usize,
    pub(crate) right: usize,
    pub(crate) choice: &'static str,
    pub(crate) at: Timestamp,
}

pub(crate) struct Plan {
    pub(crate) base: ModelId,
    pub(crate) curves: Vec<String>,
    pub(crate) runs: Vec<RunRow>,
    pub(crate) images: Vec<ImageRow>,
    /// Images of each judged model: image `m * prompts + p` is of model m and prompt p.
    pub(crate) prompts: usize,
    pub(crate) judged_models: usize,
    pub(crate) raters: Vec<Uuid>,
    pub(crate) votes: usize,
    pub(crate) start: Timestamp,
}

/// Seconds between two runs.
const PAUSE: i64 = 1800;
const OBJECTIVES: [&str; 3] = ["sft", "diffusion_dpo", "diff_contrast"];
/// The curves that pages show by name; further ones are numbered.
const CURVES: [&str; 6] =
    ["loss", "implicit_accuracy", "margin", "learning_rate", "grad_norm", "step_seconds"];

impl Plan {
    pub(crate) fn new(counts: &Counts, base: ModelId) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(17);
        let start = Timestamp::from_timestamp_millis(1_767_225_600_000).unwrap_or_default();
        let runs: Vec<RunRow> = (0..=counts.runs).map(|n| run(n, counts, start, &mut rng)).collect();
        let prompts = (counts.images / counts.judged_models).max(1);
        let judged = runs.iter().rev().skip(1).take(counts.judged_models);
        let images = judged
            .enumerate()
            .flat_map(|(m, run)| (0..prompts).map(move |prompt| (m, run.model, prompt)))
            .map(|(m, model, prompt)| ImageRow {
                id: ImageId::new(start + TimeDelta::seconds((m * prompts + prompt) as i64), rng.random()).0,
                model,
                prompt,
                clip: rng.random_range(0.2..0.35),
                rule: f64::from(u8::from(rng.random_bool(0.8))),
            })
            .collect();
        let raters = (0..counts.raters.max(1)).map(|_| RaterId::new(start, rng.random()).0).collect();
        let named = CURVES.iter().map(|&name| name.to_owned());
        let curves =
            named.chain((CURVES.len()..).map(|n| format!("curve_{n}"))).take(counts.curves).collect();
        Self {
            base,
            curves,
            runs,
            images,
            prompts,
            judged_models: counts.judged_models,
            raters,
            votes: counts.votes,
            start,
        }
    }

    /// The votes, oldest first. A rater judges a pair of images at most once, or nearly so.
    pub(crate) fn votes(&self) -> impl Iterator<Item = VoteRow> + '_ {
        let mut rng = ChaCha8Rng::seed_from_u64(18);
        (0..self.votes).map(move |n| {
            let at = self.start + TimeDelta::seconds(30 * n as i64);
            let a = rng.random_range(0..self.judged_models);
            let b = (a + rng.random_range(1..self.judged_models)) % self.judged_models;
            let prompt = rng.random_range(0..self.prompts);
            // Newer models, which come first, are better.
            let left_wins = rng.random_bool(1.0 / (1.0 + ((a as f64 - b as f64) / 20.0).exp()));
            let choice = match rng.random_range(0..10) {
                0 => "tie",
                1 => "both_bad",
                _ if left_wins => "left",
                _ => "right",
            };
            VoteRow {
                id: VoteId::new(at, rng.random()).0,
                matchup: MatchupId::new(at, rng.random()).0,
                rater: self.raters[rng.random_range(0..self.raters.len())],
                prompt,
                left: a * self.prompts + prompt,
                right: b * self.prompts + prompt,
                choice,
                at,
            }
        })
    }
}

/// The text of a prompt.
pub(crate) fn prompt(n: usize) -> String {
    format!("prompt {n} of a large red circle on a blue background")
}

/// The last one is the long run.
fn run(n: usize, counts: &Counts, start: Timestamp, rng: &mut ChaCha8Rng) -> RunRow {
    let created_at = start + TimeDelta::seconds(PAUSE * n as i64);
    let points = if n == counts.runs { counts.long_points } else { counts.points };
    let objective = OBJECTIVES[n % OBJECTIVES.len()];
    let name = format!("run-{n:04}-{}", objective.replace('_', "-"));
    let body = match objective {
        "diffusion_dpo" => json!({"kind": objective, "beta": 500.0}),
        "diff_contrast" => json!({"kind": objective, "beta": 500.0, "tau": 0.1}),
        _ => json!({"kind": objective}),
    };
    let spec = json!({
        "kind": "train", "name": name, "base": "shapes", "steps": points, "batch_size": 16, "seed": n,
        "learning_rate": {"rate": 1e-4},
        "objective": body,
        "data": {"source": "shapes", "set": "quality", "count": 256, "seed": 1},
    });
    let failed = n % 50 == 7;
    RunRow {
        id: RunId::new(created_at, rng.random()).0,
        job: JobId::new(created_at, rng.random()).0,
        model: ModelId::new(created_at, rng.random()).0,
        name,
        objective,
        spec: spec.to_string(),
        state: if failed { "failed" } else { "succeeded" },
        error: failed.then_some("the loss is not finite at step 812: use a smaller learning rate"),
        points,
        created_at,
        finished_at: created_at + TimeDelta::seconds(PAUSE / 2),
    }
}
