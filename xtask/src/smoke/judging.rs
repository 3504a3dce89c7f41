//! Blind pairs, votes and what they move.

use super::training::model;
use crate::http::Client;
use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

/// A shared server may hold matchups of many models before it shows one of ours.
const MOST_VOTES: usize = 200;

/// Both models have evaluation images that can be fetched.
pub(super) fn evaluation_images(client: &mut Client, base: &str, new: &str) -> Result<String> {
    for name in [base, new] {
        let listed = model(client, name)?;
        let samples = listed["samples"].as_array().context("no list of samples")?;
        let id = samples.first().and_then(Value::as_str).with_context(|| format!("{name} has no images"))?;
        let image = client.get(&format!("/api/v1/images/{id}/file"))?.expect(200)?;
        ensure!(image.header("content-type") == Some("image/png"), "the image of {name} is no PNG");
    }
    Ok(format!("of {base} and of {new}"))
}

/// Judges until a pair of both models has come up, then looks at what the vote did.
pub(super) fn vote(client: &mut Client, base: &str, new: &str) -> Result<String> {
    for votes in 1..=MOST_VOTES {
        let before = client.get_json("/api/v1/leaderboard")?;
        let next = client.get_json("/api/v1/matchups/next")?;
        let matchup = &next["matchup"];
        let id = matchup["id"].as_str().context("there is nothing to judge")?.to_owned();
        blind(client, matchup, &[base, new])?;
        let address = format!("/api/v1/matchups/{id}/vote");
        let answer = client.post(&address, &json!({ "choice": "left" }))?;
        ensure!((200..300).contains(&answer.status), "status {}: {}", answer.status, answer.text());
        let answer = answer.json()?;
        let (left, right) = (text(&answer["left_model"]), text(&answer["right_model"]));
        ensure!(answer["next"]["matchup"]["id"] != id.as_str(), "the same matchup comes next again");
        if !([left, right].contains(&base) && [left, right].contains(&new)) {
            continue;
        }
        client.post(&address, &json!({ "choice": "right" }))?.expect(409).context("a second vote")?;
        let after = client.get_json("/api/v1/leaderboard")?;
        ensure!(
            after["votes"].as_i64() == before["votes"].as_i64().map(|n| n + 1),
            "the count of votes did not rise by one"
        );
        let (loser, winner) = (rating(&after, right)?, rating(&after, left)?);
        ensure!(rows(&before) != rows(&after), "the leaderboard did not move");
        return Ok(format!(
            "{left} {winner:.0} over {right} {loser:.0} after {votes} votes; a second vote is a 409"
        ));
    }
    bail!("{MOST_VOTES} matchups came without one of {base} and {new}")
}

/// What a rater sees tells nothing of the models: neither the body, nor an address, nor the images' bytes.
fn blind(client: &mut Client, matchup: &Value, names: &[&str]) -> Result<()> {
    let sides = ["left_url", "right_url"].map(|side| text(&matchup[side]).to_owned());
    ensure!(sides[0] != sides[1], "both sides have one address");
    for url in sides {
        let image = client.get(&url)?.expect(200)?;
        ensure!(image.body.starts_with(b"\x89PNG"), "{url} is no PNG");
        let bytes = String::from_utf8_lossy(&image.body);
        for name in names.iter().filter(|name| name.len() > 4) {
            ensure!(!bytes.contains(name), "the bytes of {url} hold the model's name");
        }
    }
    let body = matchup.to_string();
    ensure!(!body.contains("model"), "the body speaks of models: {body}");
    Ok(())
}

fn rating(leaderboard: &Value, name: &str) -> Result<f64> {
    let row = leaderboard["rows"].as_array().and_then(|rows| rows.iter().find(|row| row["model"] == name));
    let value = row.and_then(|row| row["rating"]["value"].as_f64());
    value.with_context(|| format!("{name} has no rating"))
}

fn rows(leaderboard: &Value) -> &Value {
    &leaderboard["rows"]
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
