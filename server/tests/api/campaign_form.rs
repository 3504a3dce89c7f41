//! The form of a new campaign: pairs with a known answer, the exam, codes and addresses; refused, copied, and what raters are told.

use crate::campaigns::{act, rater, vote};
use crate::support::{Reply, TestApp};
use axum::http::Request;
use domain::evaluate::Metric;
use domain::id::ImageId;
use serde_json::{Value, json};
use store::ImageScore;

async fn submit(app: &TestApp, fields: &[(&str, &str)]) -> Reply {
    let body = serde_urlencoded::to_string(fields).expect("a form");
    let request = Request::post("/campaigns/new").header("content-type", "application/x-www-form-urlencoded");
    app.send(request.body(body.into()).expect("a request")).await
}

/// The fields that every form here has.
const BASE: [(&str, &str); 4] = [
    ("name", "from the form"),
    ("model:tuned-dpo", "1"),
    ("model:tuned-contrast", "1"),
    ("question:overall", "1"),
];

/// Scores the images of `app.pairs`: those of `tuned-contrast` follow their prompts, the other ones do not. Returns the ids of both
/// images of the first prompt, the better one first.
async fn score(app: &TestApp) -> (String, String) {
    let mut pair = Vec::new();
    for (name, value) in [("tuned-contrast", 1.0), ("tuned-dpo", 0.0)] {
        let id = app.model(name).await.id;
        let listed = app.get(&format!("/api/v1/images?model={id}")).await.expect(200).json();
        for image in listed["items"].as_array().expect("images") {
            let text = image["id"].as_str().expect("an id");
            let image_id: ImageId = text.parse().expect("an id");
            let score = ImageScore { image_id, metric: Metric::PromptFollowed, value };
            app.store.put_scores(&[score], None).await.expect("a score");
            if image["params"]["prompt"] == "a small red square number 0" {
                pair.push(text.to_owned());
            }
        }
    }
    (pair[0].clone(), pair[1].clone())
}

async fn made(app: &TestApp, reply: Reply) -> Value {
    let address = reply.expect(303).header("location").to_owned();
    let (page, key) = address.split_once("?key=").unwrap_or_else(|| panic!("no owner's page: {address}"));
    let id = page.rsplit('/').next().expect("an id");
    app.get(&format!("/api/v1/campaigns/{id}?key={key}")).await.expect(200).json()
}

#[tokio::test]
async fn gold_pairs_come_from_a_metric_from_ids_and_by_eye() {
    let app = TestApp::start().await;
    app.pairs(4).await;
    let (better, worse) = score(&app).await;
    let lines = format!("{better} {worse}");
    let (first, second) = if better < worse { (&better, &worse) } else { (&worse, &better) };
    let radio = format!("gold:{first}:{second}");
    let ways: [(&[(&str, &str)], usize); 3] = [
        (&[("gold_metric", "prompt_followed"), ("gold_count", "3"), ("exam", "2")], 3),
        (&[("gold", &lines), ("exam", "1")], 1),
        (&[(&radio, &better), ("gold_every", "5"), ("repeat_every", "7")], 1),
    ];
    for (index, (fields, count)) in ways.into_iter().enumerate() {
        let mut form = BASE.to_vec();
        let name = format!("campaign {index}");
        form[0].1 = &name;
        form.extend_from_slice(fields);
        let summary = made(&app, submit(&app, &form).await).await;
        let spec = &summary["campaign"]["spec"];
        let gold = spec["gold"].as_array().expect("gold");
        assert_eq!(gold.len(), count, "{spec}");
        let known = json!({ "better": better, "worse": worse });
        assert!(count == 3 || gold.contains(&known), "{spec}");
        for pair in gold {
            let image: ImageId = pair["better"].as_str().expect("an id").parse().expect("an id");
            let image = app.store.get_image(image).await.expect("a query").expect("an image");
            assert_eq!(image.model_id, Some(app.model("tuned-contrast").await.id), "{spec}");
        }
        let id = summary["campaign"]["id"].as_str().expect("an id");
        app.post(&format!("/api/v1/campaigns/{id}/state"), r#"{"state":"closed"}"#).await.expect(200);
    }
}

#[tokio::test]
async fn pairs_to_choose_from_are_shown_without_their_models() {
    let app = TestApp::start().await;
    app.pairs(2).await;
    let (better, worse) = score(&app).await;
    let mut form = BASE.to_vec();
    form.extend([("pick", "1"), ("gold_metric", "prompt_followed"), ("instructions", "Look closely.")]);
    let address = submit(&app, &form).await.expect(303).header("location").to_owned();
    let page = app.get(address.trim_end_matches("#gold")).await.expect(200).text();
    for text in [
        better.as_str(),
        worse.as_str(),
        "1 is better",
        "a small red square number 0",
        "Look closely.",
        "from the form",
    ] {
        assert!(page.contains(text), "no {text:?}: {page}");
    }
    // Images of models that are being judged are not proposed.
    let body = json!({ "name": "other", "models": ["tuned-dpo", "tiny"] }).to_string();
    app.post("/api/v1/campaigns", body).await.expect(201);
    let candidates = "/api/v1/gold-candidates?models=tuned-dpo,tuned-contrast&metric=prompt_followed";
    let left = app.get(candidates).await.expect(200).json();
    assert_eq!(left["items"], json!([]));
    app.get(&format!("{candidates}&limit=0")).await.refuses(422, "limit");
    app.get("/api/v1/gold-candidates?models=nobody&metric=clarity").await.refuses(422, "models");
}

#[tokio::test]
async fn a_refused_form_and_a_copy_keep_what_was_entered() {
    let app = TestApp::start().await;
    app.pairs(2).await;
    let (better, worse) = score(&app).await;
    let lines = format!("{better} {worse}");
    let mut form = BASE.to_vec();
    form.extend([
        ("gold", lines.as_str()),
        ("exam", "1"),
        ("completion_code", "DONE1"),
        ("failed_code", "FAIL2"),
        ("withdrawn_code", "STOP3"),
        ("return_url", "https://panel.example/done"),
        ("repeat_every", "one"),
    ]);
    let refused = submit(&app, &form).await.expect(303).header("location").to_owned();
    assert!(refused.starts_with("/campaigns/new?problem="), "{refused}");
    let kept =
        [better.as_str(), "DONE1", "FAIL2", "STOP3", "https://panel.example/done", "is not a whole number"];
    let page = app.get(&refused).await.expect(200).text();
    for text in kept {
        assert!(page.contains(text), "no {text:?}: {page}");
    }
    for (field, value) in
        [("gold", "x y"), ("gold", "one"), ("gold_count", "2"), ("withdrawn_url", "http://a")]
    {
        let mut form = BASE.to_vec();
        form.extend([("gold_metric", "aesthetic"), (field, value)]);
        let refused = submit(&app, &form).await.expect(303).header("location").to_owned();
        assert!(refused.contains("problem="), "{field}={value}: {refused}");
    }
    form.retain(|(name, _)| *name != "repeat_every");
    let summary = made(&app, submit(&app, &form).await).await;
    let id = summary["campaign"]["id"].as_str().expect("an id");
    // Without the owner's key, a copy has neither gold pairs nor codes.
    let anybodys = app.get(&format!("/campaigns/new?copy={id}")).await.expect(200).text();
    assert!(anybodys.contains("from the form (copy)"), "{anybodys}");
    for text in &kept[..5] {
        assert!(!anybodys.contains(text), "{text:?}: {anybodys}");
    }
}

/// Three ways to leave a campaign, three codes.
#[tokio::test]
async fn each_way_to_leave_has_its_code() {
    let app = TestApp::start().await;
    app.pairs(3).await;
    let (better, worse) = score(&app).await;
    let body = json!({
        "name": "codes", "models": ["tuned-dpo", "tuned-contrast"], "exam": 1, "session": 1,
        "gold": [{ "better": better, "worse": worse }],
        "completion_code": "DONE1", "return_url": "https://panel.example/done",
        "failed_code": "FAIL2", "failed_url": "https://panel.example/failed",
        "withdrawn_code": "STOP3", "withdrawn_url": "https://panel.example/stopped",
    });
    let made = app.post("/api/v1/campaigns", body.to_string()).await.expect(201).json();
    let id = made["campaign"]["id"].as_str().expect("an id");
    // For all but the owner the codes are no part of the rules.
    let others = app.get(&format!("/api/v1/campaigns/{id}")).await.expect(200).text();
    for text in ["DONE1", "FAIL2", "STOP3", "panel.example"] {
        assert!(!others.contains(text), "{others}");
    }
    let agreement = app.get(&format!("/campaigns/{id}/judge")).await.expect(200).text();
    assert!(
        agreement.contains("STOP3") && agreement.contains("https://panel.example/stopped"),
        "{agreement}"
    );
    assert!(!agreement.contains("DONE1") && !agreement.contains("FAIL2"), "{agreement}");
    let (passes, first) = rater(&app, id).await;
    let right =
        app.get_as(&passes, first["matchup"]["right_url"].as_str().expect("an address")).await.expect(200);
    let right = image::load_from_memory(&right.bytes).expect("a PNG").to_rgb8().get_pixel(0, 0).0;
    let good = if right == [40, 40, 220] { "right" } else { "left" };
    let item = vote(&app, &passes, &first, good).await;
    assert_eq!(
        (&item["campaign"]["passed"], &item["campaign"]["completion_code"]),
        (&json!(true), &Value::Null)
    );
    let done = vote(&app, &passes, &item, "tie").await;
    assert_eq!(done["campaign"]["completion_code"], "DONE1");
    assert_eq!(done["campaign"]["return_url"], "https://panel.example/done");
    let (fails, first) = rater(&app, id).await;
    let right =
        app.get_as(&fails, first["matchup"]["right_url"].as_str().expect("an address")).await.expect(200);
    let right = image::load_from_memory(&right.bytes).expect("a PNG").to_rgb8().get_pixel(0, 0).0;
    let wrong = if right == [40, 40, 220] { "left" } else { "right" };
    let failed =
        act(&app, &fails, &first, "vote", &json!({ "choice": wrong }).to_string()).await.expect(201).json();
    assert_eq!(failed["campaign"]["completion_code"], "FAIL2");
    assert_eq!(failed["campaign"]["return_url"], "https://panel.example/failed");
    let page = app.get_as(&fails, &format!("/campaigns/{id}/judge")).await.expect(200).text();
    assert!(page.contains("FAIL2") && !page.contains("DONE1"), "{page}");
}

/// What the owner sees of raters, and everybody of a closed campaign.
#[tokio::test]
async fn habits_pace_and_judged_images() {
    let app = TestApp::start().await;
    app.pairs(3).await;
    let body = json!({ "name": "habits", "models": ["tuned-dpo", "tuned-contrast"] }).to_string();
    let made = app.post("/api/v1/campaigns", body).await.expect(201).json();
    let (id, key) =
        (made["campaign"]["id"].as_str().expect("an id"), made["owner_key"].as_str().expect("a key"));
    let (cookie, mut next) = rater(&app, id).await;
    for choice in ["left", "left", "right"] {
        next = vote(&app, &cookie, &next, choice).await;
    }
    let items = format!("/api/v1/campaigns/{id}/items");
    app.get(&items).await.expect(403);
    app.get(&format!("{items}?key=wrong")).await.refuses(422, "key");
    assert_eq!(
        app.get(&format!("{items}?key={key}")).await.expect(200).json()["items"].as_array().map(Vec::len),
        Some(3)
    );
    app.get(&format!("{items}?key={key}&limit=0")).await.refuses(422, "limit");
    let open = app.get(&format!("/api/v1/campaigns/{id}")).await.expect(200).json();
    assert_eq!((&open["pace"], &open["people"]), (&Value::Null, &Value::Null));
    let owners = app.get(&format!("/api/v1/campaigns/{id}?key={key}")).await.expect(200).json();
    let person = &owners["people"][0];
    assert_eq!((&person["left"], &person["right"]), (&json!(2), &json!(1)), "{person}");
    assert!(person["seconds"].as_f64().is_some_and(|seconds| (0.0..60.0).contains(&seconds)), "{person}");
    let votes: i64 = owners["pace"]
        .as_array()
        .expect("hours")
        .iter()
        .map(|p| p["answers"].as_i64().expect("a count"))
        .sum();
    assert_eq!(votes, 3);
    let page = app.get(&format!("/campaigns/{id}?key={key}")).await.expect(200).text();
    assert!(page.contains("Votes per hour") && !page.contains("the most disputed first"), "{page}");
    app.post(&format!("/api/v1/campaigns/{id}/state"), r#"{"state":"closed"}"#).await.expect(200);
    let listed = app.get(&items).await.expect(200).json();
    let item = &listed["items"][0];
    assert_eq!(
        (&item["dispute"], item["wins"].as_i64().zip(item["losses"].as_i64()).map(|(w, l)| w + l)),
        (&json!(0.0), Some(1))
    );
    let page = app.get(&format!("/campaigns/{id}")).await.expect(200).text();
    assert!(page.contains("the most disputed first"), "{page}");
    assert!(page.contains(item["image"].as_str().expect("an id")), "{page}");
}
