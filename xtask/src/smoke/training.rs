//! Training and evaluation jobs: submit, watch, cancel.

use super::bundled::{MODEL, PROMPT};
use super::wait::wait_for;
use crate::http::Client;
use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const STEPS: u32 = 12;
/// Prompts of an evaluation: enough for several matchups.
const PROMPTS: u32 = 8;
/// How long a job may take, with data preparation, on two busy cores.
const TIMEOUT: Duration = Duration::from_secs(900);

/// A run name that no earlier smoke test of this server has used.
#[expect(clippy::disallowed_methods, reason = "the edge of a program; the clock only makes the name unique")]
pub(super) fn fresh_name() -> String {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    format!("smoke-{}", since.as_secs())
}

/// A short Diff-contrast run of the bundled model on generated preference pairs.
pub(super) fn spec(name: &str, steps: u32) -> Value {
    json!({
        "kind": "train",
        "name": name,
        "base": MODEL,
        "objective": { "kind": "diff_contrast", "beta": 2000.0, "tau": 0.1 },
        "data": { "source": "shapes", "set": "quality", "count": 32 },
        "steps": steps,
        "batch_size": 4,
        "learning_rate": { "rate": 1e-5 },
        "sample_every": 6,
        "sample_prompts": [PROMPT],
        "evaluate_prompts": PROMPTS,
    })
}

/// Generates the evaluation images that matchups need.
pub(super) fn evaluate(client: &mut Client, model: &str) -> Result<String> {
    let spec = json!({ "kind": "evaluate", "model": model, "prompts": { "source": "shapes_held_out", "count": PROMPTS } });
    let job = finish(client, &spec)?;
    Ok(format!("{} images", job["progress"]))
}

/// Trains a model and waits for its evaluation, a second job.
pub(super) fn train(client: &mut Client, name: &str) -> Result<String> {
    let job = finish(client, &spec(name, STEPS))?;
    ensure!(job["progress"] == STEPS, "{} of {STEPS} steps completed", job["progress"]);
    let evaluation = wait_for("the evaluation of the new model", TIMEOUT, || {
        let jobs = client.get_json("/api/v1/jobs")?;
        let jobs = jobs["items"].as_array().context("the response has no list of jobs")?;
        let job = jobs.iter().find(|job| job["spec"]["kind"] == "evaluate" && evaluates(client, job, name));
        job.map_or(Ok(None), |job| finished(job.clone()))
    })?;
    Ok(format!("{STEPS} steps, then {} evaluation images", evaluation["progress"]))
}

/// Whether a job evaluates the model `name`; its spec holds the name or the id.
fn evaluates(client: &mut Client, job: &Value, name: &str) -> bool {
    let evaluated = job["spec"]["model"].as_str().unwrap_or_default();
    evaluated == name || model(client, name).is_ok_and(|found| found["model"]["id"] == evaluated)
}

/// The run has sample images, and the last value of each curve is finite.
pub(super) fn curves(client: &mut Client, name: &str) -> Result<String> {
    let runs = client.get_json("/api/v1/runs")?;
    let rows = runs["items"].as_array().context("the response has no list of runs")?;
    let row = rows.iter().find(|row| row["run"]["name"] == name).context("the run is not listed")?;
    let id = row["run"]["id"].as_str().context("the run has no id")?;
    let metrics = client.get_json(&format!("/api/v1/runs/{id}/metrics"))?;
    let points = metrics["points"].as_array().context("the run has no metrics")?;
    for curve in ["loss", "rewards/accuracies", "rewards/margins"] {
        let last = points.iter().rev().find(|point| point["name"] == curve);
        let value = last.and_then(|point| point["value"].as_f64());
        ensure!(value.is_some_and(f64::is_finite), "the last value of {curve} is not finite: {last:?}");
    }
    let samples = client.get_json(&format!("/api/v1/runs/{id}/samples"))?;
    let samples = samples["items"].as_array().context("the response has no list of samples")?;
    ensure!(!samples.is_empty(), "the run has no sample images");
    Ok(format!("{} points, {} sample images", points.len(), samples.len()))
}

/// The checkpoint is listed as a model with its base, its objective and scores.
pub(super) fn listed(client: &mut Client, name: &str) -> Result<String> {
    let found = model(client, name)?;
    ensure!(found["base_name"] == MODEL, "its base is {}", found["base_name"]);
    ensure!(
        found["model"]["objective"] == "diff_contrast",
        "its objective is {}",
        found["model"]["objective"]
    );
    ensure!(found["problem"].is_null(), "it cannot generate: {}", found["problem"]);
    let scores = found["scores"].as_array().context("the model has no list of scores")?;
    ensure!(!scores.is_empty(), "the model has no scores");
    let mean = |score: &Value| score["mean"].as_f64().unwrap_or(f64::NAN);
    let scores: Vec<String> = scores
        .iter()
        .map(|s| format!("{} {:.3}", s["metric"].as_str().unwrap_or_default(), mean(s)))
        .collect();
    Ok(scores.join(", "))
}

/// The listed model with this name.
pub(super) fn model(client: &mut Client, name: &str) -> Result<Value> {
    let models = client.get_json("/api/v1/models")?;
    let rows = models["items"].as_array().context("the response has no list of models")?;
    rows.iter()
        .find(|row| row["model"]["name"] == name)
        .cloned()
        .with_context(|| format!("{name} is not listed"))
}

/// Submits a job of hours, cancels it during training and waits for its end.
pub(super) fn cancel(client: &mut Client) -> Result<String> {
    let id = submit(client, &spec(&format!("{}-cancelled", fresh_name()), 1_000_000))?;
    wait_for("the first step of the job to cancel", TIMEOUT, || {
        let job = client.get_json(&format!("/api/v1/jobs/{id}"))?;
        ensure!(
            job["state"] == "queued" || job["state"] == "running",
            "the job is {}: {}",
            job["state"],
            job["error"]
        );
        Ok((job["progress"].as_i64() > Some(0)).then_some(()))
    })?;
    let reply = client.post(&format!("/api/v1/jobs/{id}/cancel"), &json!({}))?;
    ensure!((200..300).contains(&reply.status), "status {}: {}", reply.status, reply.text());
    let job = wait_for("the end of the cancelled job", TIMEOUT, || {
        let job = client.get_json(&format!("/api/v1/jobs/{id}"))?;
        Ok((job["state"] == "cancelled").then_some(job))
    })?;
    Ok(format!("after {} of {} steps", job["progress"], job["total"]))
}

fn submit(client: &mut Client, spec: &Value) -> Result<String> {
    let accepted = client.post("/api/v1/jobs", spec)?.expect(202)?.json()?;
    Ok(accepted["id"].as_str().context("the response has no id")?.to_owned())
}

/// Submits a job and waits until it succeeds. Prints every tenth of its progress.
fn finish(client: &mut Client, spec: &Value) -> Result<Value> {
    let id = submit(client, spec)?;
    let mut printed = -1;
    wait_for("the end of the job", TIMEOUT, || {
        let job = client.get_json(&format!("/api/v1/jobs/{id}"))?;
        let (progress, total) = (job["progress"].as_i64().unwrap_or(0), job["total"].as_i64().unwrap_or(0));
        let tenth = progress * 10 / total.max(1);
        if tenth > printed && total > 0 {
            printed = tenth;
            println!("                  {} {progress}/{total}", job["state"].as_str().unwrap_or_default());
        }
        finished(job)
    })
}

/// The job if it has succeeded, `None` while it is queued or running.
fn finished(job: Value) -> Result<Option<Value>> {
    match job["state"].as_str() {
        Some("succeeded") => Ok(Some(job)),
        Some("queued" | "running") => Ok(None),
        _ => bail!("the job is {}: {}", job["state"], job["error"]),
    }
}
