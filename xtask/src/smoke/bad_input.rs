//! Input that cannot be accepted: each is refused with a 4xx whose body names the field and the remedy.

use super::{PROMPT, Round};
use crate::http::{Client, Reply};
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

/// What is wrong, the body, and the field that the answer must name (none where no field can be told).
fn cases() -> Vec<(&'static str, Vec<u8>, Option<&'static str>)> {
    let with = |field: &str, value: Value| {
        let mut body = json!({ "prompt": PROMPT });
        body[field] = value;
        body.to_string().into_bytes()
    };
    vec![
        ("empty prompt", with("prompt", json!("")), Some("prompt")),
        ("no prompt", b"{}".to_vec(), Some("prompt")),
        ("prompt of 10 MB", with("prompt", json!("x".repeat(10_000_000))), None),
        ("prompt of 10 kB", with("prompt", json!("x".repeat(10_000))), Some("prompt")),
        ("negative steps", with("steps", json!(-1)), Some("steps")),
        ("no steps", with("steps", json!(0)), Some("steps")),
        ("negative guidance", with("guidance_scale", json!(-1.5)), Some("guidance_scale")),
        ("width not divisible", with("width", json!(65)), Some("width")),
        ("unknown model", with("model", json!("no-such-model")), Some("model")),
        ("unknown sampler", with("sampler", json!("magic")), Some("sampler")),
        ("unknown field", with("colour_of_money", json!(1)), Some("colour_of_money")),
        ("too many images", with("num_images", json!(1000)), Some("num_images")),
        ("NaN in JSON", br#"{"prompt":"a","guidance_scale":NaN}"#.to_vec(), Some("guidance_scale")),
        ("broken JSON", b"{\"prompt\": ".to_vec(), None),
    ]
}

/// Each as a POST, then what only a query can hold, then a spec of a job.
pub(super) fn all(client: &mut Client, round: &mut Round) {
    for (name, body, field) in cases() {
        round.step(&format!("refuses: {name}"), || {
            refused(&client.send("POST", "/generate", &[], Some(&body))?, field)
        });
    }
    round.step("refuses: NaN in a query", || {
        refused(&client.get("/generate?prompt=a&guidance_scale=NaN")?, Some("guidance_scale"))
    });
    round.step("refuses: a job with a negative beta", || {
        let mut spec = super::training::spec("refused", 1);
        spec["objective"]["beta"] = json!(-1.0);
        refused(&client.post("/api/v1/jobs", &spec)?, Some("objective.beta"))
    });
}

fn refused(reply: &Reply, field: Option<&str>) -> Result<String> {
    ensure!((400..500).contains(&reply.status), "status {}: {}", reply.status, reply.text());
    let body = reply.json()?;
    let error = &body["error"];
    let message = error["message"].as_str().filter(|m| !m.is_empty()).context("no message for people")?;
    if let Some(field) = field {
        let fields = error["fields"].as_array().map_or(&[][..], Vec::as_slice);
        let named = fields.iter().find(|problem| problem["field"] == field);
        let remedy =
            named.with_context(|| format!("{field:?} is not among the fields of {body}"))?["message"]
                .as_str();
        return Ok(format!("{} {field}: {}", reply.status, remedy.unwrap_or_default()));
    }
    Ok(format!("{} {message}", reply.status))
}
