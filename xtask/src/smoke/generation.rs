//! Image generation.

use super::bundled::PROMPT;
use crate::http::Client;
use anyhow::{Context, Result, ensure};

const PNG: &[u8] = b"\x89PNG\r\n\x1a\n";

/// The same prompt, seed and model give the same bytes by GET and by POST; another seed gives another image.
pub(super) fn repeatable(client: &mut Client, model: &str) -> Result<String> {
    let query = format!("/generate?prompt={}&seed=1&model={model}", PROMPT.replace(' ', "+"));
    let first = client.get(&query)?.expect(200)?;
    ensure!(
        first.header("content-type") == Some("image/png"),
        "not a PNG: the content type is {:?}",
        first.header("content-type")
    );
    ensure!(first.body.starts_with(PNG), "the body has no PNG signature");
    let second = client.get(&query)?.expect(200)?;
    ensure!(first.body == second.body, "the second image differs from the first");
    let body = serde_json::json!({ "prompt": PROMPT, "seed": 1, "model": model });
    let posted = client.post("/generate", &body)?.expect(200)?;
    ensure!(first.body == posted.body, "the image by POST differs from that by GET");
    let other = client.get(&query.replace("seed=1", "seed=2"))?.expect(200)?;
    ensure!(first.body != other.body, "another seed gave the same image");
    Ok(format!("{} bytes", first.body.len()))
}

/// With `Accept: application/json` the response names seeds, model and fingerprint; two images differ.
pub(super) fn as_json(client: &mut Client, model: &str) -> Result<String> {
    let body = serde_json::json!({ "prompt": PROMPT, "model": model, "num_images": 2 }).to_string();
    let reply = client.send("POST", "/generate", &[("Accept", "application/json")], Some(body.as_bytes()))?;
    let reply = reply.expect(200)?.json()?;
    let images = reply["images"].as_array().context("the response has no list of images")?;
    ensure!(images.len() == 2, "requested 2 images, received {}", images.len());
    let seed = |i: usize| images[i]["seed"].as_u64().context("an image has no seed");
    ensure!(seed(1)? == seed(0)? + 1, "the seeds {} and {} are not consecutive", seed(0)?, seed(1)?);
    ensure!(images[0]["b64"] != images[1]["b64"], "the two images are the same");
    let sha256 = reply["model_sha256"].as_str().unwrap_or_default();
    ensure!(sha256.len() == 64, "model_sha256 is {sha256:?}");
    Ok(format!("model {}, fingerprint {}..., seed {}", reply["model"], &sha256[..12], seed(0)?))
}
