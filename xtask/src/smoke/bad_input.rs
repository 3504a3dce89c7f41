//! Invalid input: each request is refused with a 4xx status, and the body names the field and what is wrong with it.

use super::bundled::PROMPT;
use super::round::Round;
use super::training;
use crate::http::{Client, Reply};
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

/// Description, body of the request, and the field that the response names (`None` where the body as a whole is wrong).
fn cases() -> Vec<(&'static str, Vec<u8>, Option<&'static str>)> {
    let with = |field: &str, value: Value| {
        let mut body = json!({ "prompt": PROMPT });
        body[field] = value;
        body.to_string().into_bytes()
    };
    vec![
        ("empty prompt", with("prompt", json!("")), Some("prompt")),
        ("missing prompt", b"{}".to_vec(), Some("prompt")),
        ("prompt of 10 MB", with("prompt", json!("x".repeat(10_000_000))), None),
        ("prompt of 10 kB", with("prompt", json!("x".repeat(10_000))), Some("prompt")),
        ("negative steps", with("steps", json!(-1)), Some("steps")),
        ("zero steps", with("steps", json!(0)), Some("steps")),
        ("negative guidance", with("guidance_scale", json!(-1.5)), Some("guidance_scale")),
        ("width not divisible", with("width", json!(65)), Some("width")),
        ("unknown model", with("model", json!("no-such-model")), Some("model")),
        ("unknown sampler", with("sampler", json!("magic")), Some("sampler")),
        ("unknown field", with("colour_of_money", json!(1)), Some("colour_of_money")),
        ("too many images", with("num_images", json!(1000)), Some("num_images")),
        ("NaN in JSON", br#"{"prompt":"a","guidance_scale":NaN}"#.to_vec(), Some("guidance_scale")),
        ("truncated JSON", b"{\"prompt\": ".to_vec(), None),
    ]
}

/// Every case as a POST, a query with NaN, and an invalid job.
pub(super) fn all(client: &mut Client, round: &mut Round) {
    for (name, body, field) in cases() {
        round.step(&format!("refused: {name}"), || {
            refused(&client.send("POST", "/generate", &[], Some(&body))?, field)
        });
    }
    round.step("refused: NaN in a query", || {
        refused(&client.get("/generate?prompt=a&guidance_scale=NaN")?, Some("guidance_scale"))
    });
    round.step("refused: a job with a negative beta", || {
        let mut spec = training::spec("refused", 1);
        spec["objective"]["beta"] = json!(-1.0);
        refused(&client.post("/api/v1/jobs", &spec)?, Some("objective.beta"))
    });
}

fn refused(reply: &Reply, field: Option<&str>) -> Result<String> {
    ensure!((400..500).contains(&reply.status), "status {}: {}", reply.status, reply.text());
    let body = reply.json()?;
    let error = &body["error"];
    let message = error["message"].as_str().filter(|m| !m.is_empty()).context("the error has no message")?;
    if let Some(field) = field {
        let fields = error["fields"].as_array().map_or(&[][..], Vec::as_slice);
        let named = fields.iter().find(|problem| problem["field"] == field);
        let problem = named.with_context(|| format!("{field:?} is not among the fields of {body}"))?;
        return Ok(format!("{} {field}: {}", reply.status, problem["message"].as_str().unwrap_or_default()));
    }
    Ok(format!("{} {message}", reply.status))
}
