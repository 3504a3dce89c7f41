//! Blind matchups, votes and the leaderboard.

use super::training::model;
use crate::http::Client;
use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

/// A server with many models may show other matchups before one of the two models.
const MAX_VOTES: usize = 200;

/// Fetches an evaluation image of each model.
pub(super) fn evaluation_images(client: &mut Client, base: &str, new: &str) -> Result<String> {
    for name in [base, new] {
        let listed = model(client, name)?;
        let samples = listed["samples"].as_array().context("the model has no list of samples")?;
        let id = samples.first().and_then(Value::as_str).with_context(|| format!("{name} has no images"))?;
        let image = client.get(&format!("/api/v1/images/{id}/file"))?.expect(200)?;
        ensure!(image.header("content-type") == Some("image/png"), "the image of {name} is not a PNG");
    }
    Ok(format!("{base} and {new}"))
}

/// Votes until a matchup of the two models has come up, then checks what that vote changed.
pub(super) fn vote(client: &mut Client, base: &str, new: &str) -> Result<String> {
    for votes in 1..=MAX_VOTES {
        let before = client.get_json("/api/v1/leaderboard")?;
        let next = client.get_json("/api/v1/matchups/next")?;
        let matchup = &next["matchup"];
        let id = matchup["id"].as_str().context("the server has no matchup")?.to_owned();
        blind(client, matchup, &[base, new])?;
        let address = format!("/api/v1/matchups/{id}/vote");
        let reply = client.post(&address, &json!({ "choice": "left", "reveal": true }))?;
        ensure!((200..300).contains(&reply.status), "status {}: {}", reply.status, reply.text());
        let reply = reply.json()?;
        let (left, right) = (text(&reply["left_model"]), text(&reply["right_model"]));
        ensure!(reply["next"]["matchup"]["id"] != id.as_str(), "the next matchup is the same one");
        if !([left, right].contains(&base) && [left, right].contains(&new)) {
            continue;
        }
        client
            .post(&address, &json!({ "choice": "right" }))?
            .expect(409)
            .context("a second vote on the same matchup")?;
        let after = client.get_json("/api/v1/leaderboard")?;
        ensure!(
            after["votes"].as_i64() == before["votes"].as_i64().map(|n| n + 1),
            "the number of votes did not increase by one"
        );
        let (loser, winner) = (rating(&after, right)?, rating(&after, left)?);
        ensure!(rows(&before) != rows(&after), "the leaderboard did not change");
        return Ok(format!(
            "{left} {winner:.0}, {right} {loser:.0} after {votes} votes; a second vote is refused"
        ));
    }
    bail!("none of {MAX_VOTES} matchups was of {base} and {new}")
}

/// A campaign of the two models: made, judged by one rater, closed, and then with results for everybody.
pub(super) fn campaign(client: &mut Client, base: &str, new: &str) -> Result<String> {
    let spec = json!({ "name": format!("smoke: {new}"), "models": [base, new] });
    let made = client.post("/api/v1/campaigns", &spec)?.expect(201)?.json()?;
    let address = format!("/api/v1/campaigns/{}", text(&made["campaign"]["id"]));
    let desk = client.post(&format!("{address}/desk/consent"), &json!({}))?.expect(200)?.json()?;
    let item = desk["matchup"]["id"].as_str().context("the campaign has no pair")?.to_owned();
    blind(client, &desk["matchup"], &[base, new])?;
    let vote = format!("{address}/desk/{item}/vote");
    client.post(&vote, &json!({ "choice": "left" }))?.expect(201)?;
    let open = client.get_json(&address)?;
    ensure!(open["results"].is_null(), "an open campaign tells its results");
    let closed =
        client.post(&format!("{address}/state"), &json!({ "state": "closed" }))?.expect(200)?.json()?;
    let result = &closed["results"][0];
    ensure!(closed["votes"] == 1 && !result["win_rate"].is_null(), "no result: {closed}");
    Ok(format!("{} against {}", text(&result["model"]), text(&result["against"])))
}

/// A matchup does not reveal its models: not in its body, its URLs or the bytes of its images.
fn blind(client: &mut Client, matchup: &Value, names: &[&str]) -> Result<()> {
    let sides = ["left_url", "right_url"].map(|side| text(&matchup[side]).to_owned());
    ensure!(sides[0] != sides[1], "both sides have the same URL");
    for url in sides {
        let image = client.get(&url)?.expect(200)?;
        ensure!(image.body.starts_with(b"\x89PNG"), "{url} is not a PNG");
        let bytes = String::from_utf8_lossy(&image.body);
        for name in names.iter().filter(|name| name.len() > 4) {
            ensure!(!bytes.contains(name), "the bytes of {url} contain the model's name");
        }
    }
    let body = matchup.to_string();
    ensure!(!body.contains("model"), "the body mentions a model: {body}");
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
