//! Campaigns: made, judged, watched, closed; invitations, exam, checks, completion, erasure.

use crate::support::{Reply, TestApp};
use serde_json::{Value, json};

/// A campaign of the two models of `TestApp::pairs`, with further fields. Returns its id and its owner's key.
pub(crate) async fn campaign(app: &TestApp, more: Value) -> (String, String) {
    let mut body = json!({ "name": "a campaign", "models": ["tuned-dpo", "tuned-contrast"] });
    body.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
    let made = app.post("/api/v1/campaigns", body.to_string()).await.expect(201);
    let location = made.header("location").to_owned();
    let made = made.json();
    let id = made["campaign"]["id"].as_str().expect("an id").to_owned();
    assert_eq!(location, format!("/api/v1/campaigns/{id}"));
    (id, made["owner_key"].as_str().expect("a key").to_owned())
}

/// A rater who has agreed: the cookie, and the first pair.
pub(crate) async fn rater(app: &TestApp, campaign: &str) -> (String, Value) {
    let reply = app.post(&format!("/api/v1/campaigns/{campaign}/desk/consent"), "{}").await.expect(200);
    let cookie = reply.header("set-cookie").split(';').next().expect("a cookie").to_owned();
    (cookie, reply.json())
}

/// Sends an action on the pair that is shown.
pub(crate) async fn act(app: &TestApp, cookie: &str, shown: &Value, action: &str, body: &str) -> Reply {
    let campaign = shown["campaign"]["id"].as_str().expect("a campaign");
    let item = shown["matchup"]["id"].as_str().expect("a pair");
    app.post_as(cookie, &format!("/api/v1/campaigns/{campaign}/desk/{item}/{action}"), body).await
}

pub(crate) async fn vote(app: &TestApp, cookie: &str, shown: &Value, choice: &str) -> Value {
    act(app, cookie, shown, "vote", &json!({ "choice": choice }).to_string()).await.expect(201).json()
}

async fn set_state(app: &TestApp, campaign: &str, state: &str) -> Reply {
    let body = json!({ "state": state }).to_string();
    app.post(&format!("/api/v1/campaigns/{campaign}/state"), body).await
}

async fn watch(app: &TestApp, campaign: &str, key: &str) -> Value {
    app.get(&format!("/api/v1/campaigns/{campaign}?key={key}")).await.expect(200).json()
}

/// Two raters judge every item of both questions once; the third finds nothing.
#[tokio::test]
async fn every_item_gets_its_raters_and_no_more() {
    let app = TestApp::start().await;
    app.pairs(3).await;
    let (id, key) =
        campaign(&app, json!({ "questions": ["overall", "alignment"], "raters_per_item": 2 })).await;
    let before = watch(&app, &id, "").await;
    assert_eq!((&before["items"], &before["wanted"], &before["votes"]), (&json!(6), &json!(12), &json!(0)));
    for _ in 0..2 {
        let (cookie, mut next) = rater(&app, &id).await;
        let mut seen = std::collections::BTreeSet::new();
        while next["matchup"].is_object() {
            let pair = format!("{}{}", next["matchup"]["prompt"], next["matchup"]["question"]);
            assert!(seen.insert(pair), "twice: {next}");
            next = vote(&app, &cookie, &next, "left").await;
        }
        assert_eq!((seen.len(), &next["campaign"]["answered"]), (6, &json!(6)));
    }
    let (_, third) = rater(&app, &id).await;
    assert_eq!(third["matchup"], Value::Null);
    let after = watch(&app, &id, &key).await;
    assert_eq!((&after["votes"], &after["raters"]), (&json!(12), &json!(2)));
    let results = after["results"].as_array().expect("results");
    assert_eq!(results.len(), 2);
    for result in results {
        let sum = ["wins", "losses", "ties", "both_bad"].map(|name| result[name].as_i64().expect("a count"));
        assert_eq!(sum.iter().sum::<i64>(), 6, "{result}");
    }
}

#[tokio::test]
async fn a_campaign_is_paused_closed_for_good_and_closed_by_its_votes() {
    let app = TestApp::start().await;
    app.pairs(4).await;
    let (id, _) = campaign(&app, json!({ "votes": 2 })).await;
    let (cookie, first) = rater(&app, &id).await;
    set_state(&app, &id, "paused").await.expect(200);
    act(&app, &cookie, &first, "vote", r#"{"choice":"left"}"#).await.expect(409);
    act(&app, &cookie, &first, "skip", "{}").await.expect(409);
    let paused = app.get_as(&cookie, &format!("/api/v1/campaigns/{id}/desk")).await.expect(200).json();
    assert_eq!((&paused["matchup"], &paused["campaign"]["state"]), (&Value::Null, &json!("paused")));
    set_state(&app, &id, "open").await.expect(200);
    let second = vote(&app, &cookie, &first, "left").await;
    let end = vote(&app, &cookie, &second, "right").await;
    assert_eq!((&end["matchup"], &end["campaign"]["state"]), (&Value::Null, &json!("closed")));
    set_state(&app, &id, "open").await.expect(409);
    set_state(&app, &id, "closed").await.expect(200);
    set_state(&app, &app.now_id(), "closed").await.expect(404);
    set_state(&app, &id, "over").await.refuses(400, "state");
    // An end in the future closes it when the time comes.
    let body = json!({ "name": "late", "models": ["tuned-dpo", "tuned-contrast"], "ends_at": "2020-01-01T00:00:00Z" });
    app.post("/api/v1/campaigns", body.to_string()).await.refuses(422, "ends_at");
}

#[tokio::test]
async fn answers_in_a_campaign_are_taken_back_skipped_and_counted_once() {
    let app = TestApp::start().await;
    app.pairs(3).await;
    let (id, _) = campaign(&app, json!({})).await;
    let (cookie, first) = rater(&app, &id).await;
    let second = vote(&app, &cookie, &first, "left").await;
    act(&app, &cookie, &first, "vote", r#"{"choice":"right"}"#).await.expect(409);
    let back = act(&app, &cookie, &first, "undo", "{}").await.expect(200).json();
    assert_eq!((&back["matchup"], &back["campaign"]["answered"]), (&first["matchup"], &json!(0)));
    act(&app, &cookie, &first, "undo", "{}").await.expect(404);
    let again = vote(&app, &cookie, &back, "tie").await;
    assert_eq!(again["matchup"], second["matchup"]);
    let third = act(&app, &cookie, &again, "skip", "{}").await.expect(200).json();
    assert_ne!(third["matchup"], again["matchup"]);
    let own = app.get_as(&cookie, &format!("/api/v1/campaigns/{id}/desk/history")).await.expect(200).json();
    assert_eq!((own["items"].as_array().map(Vec::len), &own["items"][0]["choice"]), (Some(1), &json!("tie")));
    assert_eq!(app.store.count_undone_votes().await.expect("a query"), 1);
}

#[tokio::test]
async fn every_invalid_field_of_a_campaign_is_named() {
    let app = TestApp::start().await;
    app.pairs(1).await;
    let image = app.get("/api/v1/images").await.json()["items"][0]["id"].clone();
    let other = app.image(&app.model("tuned-dpo").await, "something else", [1, 2, 3]).await.id;
    let post = |more: Value| {
        let mut body = json!({ "name": "n", "models": ["tuned-dpo", "tuned-contrast"] });
        body.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        let app = &app;
        async move { app.post("/api/v1/campaigns", body.to_string()).await }
    };
    post(json!({ "models": ["tuned-dpo", "nobody"] })).await.refuses(422, "models");
    post(json!({ "models": ["tuned-dpo", "tuned-dpo"] })).await.refuses(422, "models");
    post(json!({ "raters_per_item": 0 })).await.refuses(422, "raters_per_item");
    post(json!({ "gold": [{ "better": image, "worse": other }] })).await.refuses(422, "gold[0]");
    post(json!({ "exam": 3 })).await.refuses(422, "exam");
    post(json!({ "colour": 3 })).await.refuses(400, "colour");
    post(json!({})).await.expect(201);
    post(json!({})).await.expect(409);
    app.get("/api/v1/campaigns/garbage").await.expect(404);
    app.get(&format!("/api/v1/campaigns/{}", app.now_id())).await.expect(404);
}

/// Gold pairs of two further models: the better image is bright.
async fn gold(app: &TestApp, count: usize) -> Vec<Value> {
    let (good, bad) = (app.sibling("good", "sft").await, app.sibling("bad", "sft").await);
    let mut pairs = Vec::new();
    for index in 0..count {
        let prompt = format!("a gold prompt {index}");
        let better = app.image(&good, &prompt, [250, 250, 250]).await.id;
        let worse = app.image(&bad, &prompt, [5, 5, 5]).await.id;
        pairs.push(json!({ "better": better, "worse": worse }));
    }
    pairs
}

/// The side of the bright image, or `left` for a pair without one.
async fn bright(app: &TestApp, cookie: &str, shown: &Value) -> &'static str {
    let right =
        app.get_as(cookie, shown["matchup"]["right_url"].as_str().expect("an address")).await.expect(200);
    let right = image::load_from_memory(&right.bytes).expect("a PNG").to_rgb8().get_pixel(0, 0).0;
    if right == [250, 250, 250] { "right" } else { "left" }
}

#[tokio::test]
async fn an_exam_is_passed_by_three_of_four() {
    let app = TestApp::start().await;
    app.pairs(4).await;
    let gold = gold(&app, 4).await;
    let (id, key) = campaign(&app, json!({ "gold": gold, "exam": 4 })).await;
    for (wrong, passes) in [(1, true), (2, false)] {
        let (cookie, mut next) = rater(&app, &id).await;
        assert_eq!((&next["campaign"]["exam_left"], &next["campaign"]["passed"]), (&json!(4), &Value::Null));
        for index in 0..4 {
            let right = bright(&app, &cookie, &next).await;
            let choice = if index < wrong { "tie" } else { right };
            let answered = vote(&app, &cookie, &next, choice).await;
            // Answers of an exam are final.
            act(&app, &cookie, &next, "undo", "{}").await.expect(409);
            next = answered;
        }
        assert_eq!(next["campaign"]["passed"], json!(passes));
        assert_eq!(next["matchup"].is_object(), passes, "{next}");
        assert_eq!(next["campaign"]["answered"], 0);
    }
    let watched = watch(&app, &id, &key).await;
    assert_eq!(watched["votes"], 0);
    let right: Vec<_> =
        watched["people"].as_array().expect("raters").iter().map(|r| r["exam_right"].clone()).collect();
    assert_eq!(right, [json!(3), json!(2)]);
}

/// Checks look like all pairs, come at their turns, are measured, and are no votes.
#[tokio::test]
async fn checks_are_mixed_in_and_measured() {
    let app = TestApp::start().await;
    app.pairs(6).await;
    let gold = gold(&app, 2).await;
    let more = json!({ "gold": gold, "gold_every": 3, "repeat_every": 4, "session": 8, "completion_code": "C0DE",
        "return_url": "https://panel.example/done" });
    let (id, key) = campaign(&app, more).await;
    let (cookie, mut next) = rater(&app, &id).await;
    let mut shapes = std::collections::BTreeSet::new();
    for answered in 0..8 {
        assert_eq!(
            (&next["campaign"]["answered"], &next["campaign"]["completion_code"]),
            (&json!(answered), &Value::Null)
        );
        shapes.insert(next["matchup"].as_object().expect("a pair").keys().cloned().collect::<Vec<_>>());
        let choice = bright(&app, &cookie, &next).await;
        next = vote(&app, &cookie, &next, choice).await;
    }
    assert_eq!(shapes.len(), 1, "checks look different: {shapes:?}");
    assert_eq!(next["campaign"]["completion_code"], "C0DE");
    assert_eq!(next["campaign"]["return_url"], "https://panel.example/done");
    let watched = watch(&app, &id, &key).await;
    let rater = &watched["people"][0];
    assert_eq!((&rater["gold_answered"], &rater["gold_right"]), (&json!(2), &json!(2)), "{watched}");
    // The same answer "left" to exchanged sides is the other answer.
    assert_eq!(rater["repeats_same"], 0, "{watched}");
    assert!(rater["repeats_answered"].as_i64() >= Some(1), "{watched}");
    let counted = 8 - 2 - rater["repeats_answered"].as_i64().expect("a count");
    assert_eq!((watched["votes"].as_i64(), rater["votes"].as_i64()), (Some(counted), Some(counted)));
}

#[tokio::test]
async fn a_rater_has_a_pseudonym_and_is_erased() {
    let app = TestApp::start().await;
    app.pairs(3).await;
    let (id, key) = campaign(&app, json!({})).await;
    let address = format!("/api/v1/campaigns/{id}/desk");
    let before = app.get(&address).await.expect(200).json();
    assert_eq!((&before["matchup"], &before["campaign"]["has_agreed"]), (&Value::Null, &json!(false)));
    let agreed = app.post(&format!("{address}/consent"), r#"{"external_id":"panel-7"}"#).await.expect(200);
    let cookie = agreed.header("set-cookie").split(';').next().expect("a cookie").to_owned();
    let first = agreed.json();
    let second = vote(&app, &cookie, &first, "left").await;
    act(&app, &cookie, &second, "skip", "{}").await.expect(200);
    let people = watch(&app, &id, &key).await["people"].clone();
    assert_eq!(people[0]["external_id"], "panel-7");
    assert_eq!(people[0]["pseudonym"], first["campaign"]["pseudonym"]);
    let rater = cookie.strip_prefix("rater=").expect("an id");
    assert!(!people.to_string().contains(rater), "{people}");
    let erased = app.post_as(&cookie, &format!("{address}/erase"), "{}").await.expect(200).json();
    assert_eq!(
        (&erased["campaign"]["has_agreed"], &erased["campaign"]["answered"]),
        (&json!(false), &json!(0))
    );
    let watched = watch(&app, &id, &key).await;
    assert_eq!((&watched["votes"], &watched["people"]), (&json!(0), &Value::Null));
    app.post(&format!("{address}/consent"), r#"{"external_id":" "}"#).await.refuses(422, "external_id");
}
