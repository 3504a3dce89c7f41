//! Ratings and agreement by category of prompts, metrics beside the raters, and checks that count for raters.

use crate::campaigns::{campaign, rater, vote};
use crate::support::TestApp;
use domain::evaluate::Metric;
use serde_json::{Value, json};
use store::ImageScore;

/// Two models with an image of each prompt and CLIP scores: `tuned-contrast` has the higher one, unless the prompt's number is a multiple
/// of `other_way`.
async fn score(app: &TestApp, prompts: usize, other_way: usize) {
    let dpo = app.sibling("tuned-dpo", "diffusion_dpo").await;
    let contrast = app.sibling("tuned-contrast", "diff_contrast").await;
    let mut scores = Vec::new();
    for number in 0..prompts {
        let prompt = format!("a small red square number {number}");
        for (model, is_better) in [(&dpo, false), (&contrast, true)] {
            let is_high = is_better != number.is_multiple_of(other_way);
            let value = if is_high { 0.3 } else { 0.2 } + number as f64 * 1e-4;
            let image = app.image(model, &prompt, [220, 40, 40]).await;
            scores.push(ImageScore { image_id: image.id, metric: Metric::ClipScore, value });
        }
    }
    app.store.put_scores(&scores, None).await.expect("scores");
}

#[tokio::test]
async fn metrics_are_compared_with_votes_by_category_and_pair() {
    let app = TestApp::start().await;
    score(&app, 60, 5).await;
    let prompts: Vec<String> = (0..60).map(|n| format!("a small red square number {n}")).collect();
    let categories: Vec<(&str, &str)> = prompts
        .iter()
        .enumerate()
        .map(|(n, prompt)| (prompt.as_str(), if n < 25 { "low" } else { "high" }))
        .collect();
    app.store.put_prompt_categories(&categories).await.expect("categories");
    app.votes(60).await;

    let board = app.get("/api/v1/leaderboard").await.expect(200).json();
    let named: Vec<&Value> = board["categories"].as_array().expect("categories").iter().collect();
    let found: Vec<(&Value, i64)> =
        named.iter().map(|of| (&of["category"], of["votes"].as_i64().expect("a count"))).collect();
    assert_eq!(found, [(&json!("high"), 35), (&json!("low"), 25)]);
    for category in named {
        assert_eq!(category["ratings"][0]["model"], "tuned-contrast", "{category}");
        assert!(category["ratings"][0]["rating"]["value"].as_f64() > Some(1000.0), "{category}");
    }

    let agreement = app.get("/api/v1/leaderboard/agreement").await.expect(200).json();
    let clip =
        agreement["metrics"].as_array().expect("metrics").iter().find(|of| of["metric"] == "clip_score");
    let clip = clip.expect("the CLIP score");
    assert_eq!(clip["votes"], 60);
    let by_category = clip["categories"].as_array().expect("categories");
    assert_eq!(by_category.iter().map(|of| of["votes"].as_i64()).collect::<Vec<_>>(), [Some(35), Some(25)]);
    assert_eq!(clip["drift"], Value::Null, "60 votes are too few");
    assert_eq!(agreement["blend"], Value::Null, "60 votes are too few");
    // Where the metric prefers the other model's image, and the rater does not call it a tie.
    let parted = agreement["parted"].as_array().expect("pairs");
    assert!(!parted.is_empty() && parted.len() <= 6, "{agreement}");
    for pair in parted {
        assert!(pair["preferred_score"].as_f64() < pair["scored_score"].as_f64(), "{pair}");
        assert_eq!((&pair["votes_for"], &pair["votes_against"]), (&json!(1), &json!(0)));
        app.get(pair["preferred_url"].as_str().expect("an address")).await.expect(200);
        assert!(!pair.to_string().contains("tuned-"), "a gallery need not name models: {pair}");
    }
    let page = app.get("/leaderboard").await.expect(200).text();
    for text in
        ["Ratings by category", "Agreement with votes by category", "Where metrics and raters part", "high"]
    {
        assert!(page.contains(text), "{text}: {page}");
    }

    // A campaign that judges one of the models hides the pairs.
    campaign(&app, json!({})).await;
    let hidden = app.get("/api/v1/leaderboard/agreement").await.expect(200).json();
    assert_eq!(hidden["parted"], Value::Null, "{hidden}");
}

#[tokio::test]
async fn many_votes_give_a_blend_and_a_comparison_over_time() {
    let app = TestApp::start().await;
    score(&app, 320, 1000).await;
    app.votes(320).await;
    let before = app.get("/api/v1/leaderboard/agreement").await.expect(200).json();
    let blend = &before["blend"];
    assert_eq!(blend["weights"][0]["metric"], "clip_score", "{before}");
    assert!(blend["weights"][0]["weight"].as_f64() > Some(0.5), "{blend}");
    assert!(blend["accuracy"].as_f64() > Some(0.9) && blend["log_loss"].as_f64() < Some(0.6), "{blend}");
    let drift = &before["metrics"][0]["drift"];
    assert_eq!((&drift["earlier_votes"], &drift["newest_votes"]), (&json!(240), &json!(80)), "{before}");
    assert_eq!(drift["has_drifted"], false, "{drift}");
    let page = app.get("/leaderboard").await.expect(200).text();
    assert!(
        page.contains("A blend of the metrics") && page.contains("Predicted and observed shares"),
        "{page}"
    );
    assert!(!page.contains("have drifted"), "{page}");
}

/// A rater who fails the checks of a closed campaign counts less, and the leaderboard shows both.
#[tokio::test]
async fn checks_count_for_raters_once_their_campaign_is_closed() {
    let app = TestApp::start().await;
    app.pairs(30).await;
    let (good, bad) = (app.sibling("good", "sft").await, app.sibling("bad", "sft").await);
    let mut gold = Vec::new();
    for index in 0..10 {
        let prompt = format!("a gold prompt {index}");
        let better = app.image(&good, &prompt, [250, 250, 250]).await.id;
        let worse = app.image(&bad, &prompt, [5, 5, 5]).await.id;
        gold.push(json!({ "better": better, "worse": worse }));
    }
    let more = json!({ "gold": gold, "gold_every": 2, "raters_per_item": 1 });
    let (id, _) = campaign(&app, more).await;
    let (cookie, mut next) = rater(&app, &id).await;
    for _ in 0..20 {
        let side = |name: &str| next["matchup"][name].as_str().expect("an address").to_owned();
        let right = app.get_as(&cookie, &side("right_url")).await.expect(200);
        let pixel = image::load_from_memory(&right.bytes).expect("a PNG").to_rgb8().get_pixel(0, 0).0;
        // Always the dark one of a gold pair, and the left one of others.
        let choice = if pixel == [5, 5, 5] { "right" } else { "left" };
        next = vote(&app, &cookie, &next, choice).await;
    }
    let board = app.get("/api/v1/leaderboard").await.expect(200).json();
    assert_eq!(board["votes"], 0, "an open campaign counts nowhere");
    let close = json!({ "state": "closed" }).to_string();
    app.post(&format!("/api/v1/campaigns/{id}/state"), close).await.expect(200);

    let board = app.get("/api/v1/leaderboard").await.expect(200).json();
    let rater = &board["evidence"]["raters"][0];
    assert_eq!((&rater["checks"], &rater["checks_passed"]), (&json!(10), &json!(0)), "{board}");
    let [with, without] =
        ["reliability", "reliability_without_checks"].map(|key| rater[key].as_f64().expect("a number"));
    assert!(with < without - 0.1, "{rater}");
    assert!(board["rows"][0]["rating_without_checks"].is_f64(), "{board}");
    let page = app.get("/leaderboard").await.expect(200).text();
    for text in ["Checks passed", "0 of 10", "Without checks"] {
        assert!(page.contains(text), "{text}: {page}");
    }
}
