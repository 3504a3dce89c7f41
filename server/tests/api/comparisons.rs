//! Comparisons of two models, or of one model's images: what is drawn, and the Judge page that is restricted to them.

use crate::support::{TestApp, copy, params};
use axum::body::Body;
use axum::http::{Request, header};
use domain::id::ImageId;
use domain::image::Image;
use domain::model::Model;
use serde_json::{Value, json};
use std::fs;
use std::path::Path;

const COMPARISONS: &str = "/api/v1/comparisons";

/// Evaluation images of a model, prompt i with seed `first` + i.
async fn images(app: &TestApp, model: &Model, prompts: &[&str], first: u64) -> Vec<ImageId> {
    let mut made = Vec::new();
    for (prompt, seed) in prompts.iter().zip(first..) {
        let template = app.image(&app.model("tiny").await, "a template", [90, 90, 90]).await;
        let now = app.now();
        let id = ImageId::new(now, [u8::try_from(seed).expect("a small seed"); 10]);
        let mut params = params(prompt);
        params.seed = seed;
        let image = Image { id, model_id: Some(model.id), params, created_at: now, ..template };
        app.store.insert_images(&[image], None).await.expect("a row");
        made.push(id);
    }
    made
}

async fn post(app: &TestApp, body: Value, status: u16) -> Value {
    app.post(COMPARISONS, body.to_string()).await.expect(status).json()
}

async fn jobs(app: &TestApp) -> Vec<Value> {
    app.get("/api/v1/jobs").await.expect(200).json()["items"].as_array().expect("jobs").clone()
}

/// A new rater's cookie.
async fn rater(app: &TestApp) -> String {
    let reply = app.get("/api/v1/matchups/next").await.expect(200);
    reply.header("set-cookie").split(';').next().expect("a cookie").to_owned()
}

/// Posts a form of a page.
async fn form(app: &TestApp, cookie: &str, path: &str, fields: &str) -> crate::support::Reply {
    let request = Request::post(path)
        .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
        .header(header::COOKIE, cookie)
        .body(Body::from(fields.to_owned()));
    app.send(request.expect("a request")).await
}

#[tokio::test]
async fn models_with_images_are_judged_at_once_and_only_they() {
    let app = TestApp::start().await;
    let models = app.pairs(2).await;
    let other = app.sibling("other", "sft").await;
    app.image(&other, "a small red square number 0", [1, 2, 3]).await;
    let body = json!({ "models": ["tuned-dpo", models[1].id.to_string()], "question": "appeal" });
    let comparison = post(&app, body, 200).await;
    let address = "/judge?question=appeal&models=tuned-dpo,tuned-contrast";
    let expected = json!({
        "models": ["tuned-dpo", "tuned-contrast"], "pairs": 2, "images": 0, "job": null, "judge_url": address,
    });
    assert_eq!(comparison, expected);
    assert_eq!(jobs(&app).await, [] as [Value; 0]);

    let cookie = rater(&app).await;
    let next = "/api/v1/matchups/next?question=appeal&models=tuned-dpo,tuned-contrast";
    let mut shown = app.get_as(&cookie, next).await.expect(200).json();
    let mut judged = 0;
    while let Some(id) = shown["matchup"]["id"].as_str().map(str::to_owned) {
        assert_eq!(shown["models"], json!(["tuned-dpo", "tuned-contrast"]));
        let body = json!({ "choice": "left", "models": ["tuned-dpo", "tuned-contrast"], "reveal": true })
            .to_string();
        let vote =
            app.post_as(&cookie, &format!("/api/v1/matchups/{id}/vote"), body).await.expect(201).json();
        assert!(vote["left_model"] != "other" && vote["right_model"] != "other", "{vote}");
        shown = vote["next"].clone();
        judged += 1;
    }
    assert_eq!(judged, 2);
    let page = app.get_as(&cookie, address).await.expect(200).text();
    assert!(page.contains("No pairs left to judge"), "{page}");
    // Without the restriction there are matchups left.
    let all = app.get_as(&cookie, "/api/v1/matchups/next?question=appeal").await.expect(200).json();
    assert!(all["matchup"].is_object() && all["models"].is_null(), "{all}");

    let unknown = "/api/v1/matchups/next?models=tuned-dpo,nobody";
    app.get_as(&cookie, unknown).await.refuses(422, "models");
    let id = all["matchup"]["id"].as_str().expect("a matchup");
    let body = json!({ "choice": "left", "models": ["nobody"] }).to_string();
    app.post_as(&cookie, &format!("/api/v1/matchups/{id}/vote"), body).await.refuses(422, "models");
}

#[tokio::test]
async fn one_job_draws_the_other_models_images_with_the_same_settings() {
    let app = TestApp::start().await;
    let (one, two) = (app.sibling("one", "sft").await, app.sibling("two", "sft").await);
    images(&app, &one, &["a cat", "a dog", "a bird"], 7).await;
    // Not consecutive, and so not of the same evaluation.
    images(&app, &one, &["a fish"], 30).await;
    let body = json!({ "models": ["one", "two"] });
    let comparison = post(&app, body.clone(), 202).await;
    assert_eq!((&comparison["pairs"], &comparison["images"]), (&json!(0), &json!(3)));
    let queued = jobs(&app).await;
    assert_eq!(queued.len(), 1);
    assert_eq!(queued[0]["id"], comparison["job"]["id"]);
    let expected = json!({
        "kind": "evaluate", "models": ["one", "two"], "seed": 7, "steps": 5, "guidance_scale": 3.0, "sampler": "ddim",
        "prompts": { "source": "list", "prompts": ["a cat", "a dog", "a bird"] },
    });
    assert_eq!(queued[0]["spec"], expected);
    // Twice, in any order: the same job.
    for models in [["one", "two"], ["two", "one"]] {
        let again = post(&app, json!({ "models": models }), 202).await;
        assert_eq!(again["job"], comparison["job"]);
    }
    assert_eq!(jobs(&app).await.len(), 1);

    let address = comparison["judge_url"].as_str().expect("an address");
    let page = app.get(address).await.expect(200);
    let cookie = page.header("set-cookie").split(';').next().expect("a cookie").to_owned();
    let page = page.text();
    assert!(page.contains("Images are being drawn") && page.contains("http-equiv=\"refresh\""), "{page}");
    // The worker has drawn the first one.
    images(&app, &two, &["a cat"], 7).await;
    let next = app.get_as(&cookie, "/api/v1/matchups/next?models=one,two").await.expect(200).json();
    assert_eq!(next["matchup"]["prompt"], "a cat");
    assert_eq!(
        (&next["drawing"]["job"], &next["drawing"]["state"]),
        (&comparison["job"]["id"], &json!("queued"))
    );
    let page = app.get_as(&cookie, address).await.expect(200).text();
    assert!(!page.contains("http-equiv=\"refresh\""), "{page}");

    // Votes of the form keep the restriction.
    let id = next["matchup"]["id"].as_str().expect("a matchup");
    assert!(page.contains(id) && page.contains("name=\"models\" value=\"one,two\""), "{page}");
    let fields = format!("matchup={id}&choice=tie&models=one,two");
    let reply = form(&app, &cookie, "/judge/vote", &fields).await.expect(303);
    assert_eq!(reply.header("location"), "/judge?models=one,two");
}

#[tokio::test]
async fn a_failed_job_is_shown_with_its_error() {
    let app = TestApp::start().await;
    app.sibling("one", "sft").await;
    post(&app, json!({ "models": ["one", "tiny"], "prompts": ["a cat"] }), 202).await;
    let claim =
        app.store.claim_job("test", uuid::Uuid::from_u128(5), app.now(), std::time::Duration::from_secs(60));
    let claim = claim.await.expect("a query").expect("the job");
    let ending = store::Ending::Failed("the disk is full".to_owned());
    app.store.finish_job(&claim, app.now(), &ending).await.expect("an end");
    let page = app.get("/judge?models=one,tiny").await.expect(200).text();
    assert!(page.contains("could not be drawn") && page.contains("the disk is full"), "{page}");
    // It can be tried again.
    post(&app, json!({ "models": ["one", "tiny"], "prompts": ["a cat"] }), 202).await;
    assert_eq!(jobs(&app).await.len(), 2);
}

#[tokio::test]
async fn prompts_are_given_unless_the_models_belong_to_the_bundled_world() {
    let app = TestApp::start().await;
    app.sibling("one", "sft").await;
    app.post(COMPARISONS, json!({ "models": ["one", "tiny"] }).to_string()).await.refuses(422, "prompts");
    let body = json!({ "models": ["one", "tiny"], "prompts": ["a cat", " a dog "], "images_per_prompt": 2 });
    let comparison = post(&app, body, 202).await;
    assert_eq!(comparison["images"], 8);
    let spec = jobs(&app).await[0]["spec"].clone();
    assert_eq!(spec["prompts"]["prompts"], json!(["a cat", "a cat", "a dog", "a dog"]));
    // Both models use the same defaults, so the spec names no settings.
    assert!(spec["steps"].is_null() && spec["seed"] == 0, "{spec}");

    // The mark is in a file of the base, whatever its name.
    let folder = tempfile::tempdir().expect("a scratch folder");
    let fixture = concat!(env!("CARGO_MANIFEST_DIR"), "/../crates/diffusion/tests/fixtures/model");
    copy(Path::new(fixture), &folder.path().join("models/tiny"));
    let config =
        r#"{ "num_inference_steps": 5, "guidance_scale": 4.0, "sampler": "euler", "world": "shapes" }"#;
    fs::write(folder.path().join("models/tiny/generation_config.json"), config).expect("written");
    let app = TestApp::start_in(folder, &[]).await;
    app.sibling("one", "sft").await;
    let comparison = post(&app, json!({ "models": ["one", "tiny"], "count": 5 }), 202).await;
    assert_eq!(comparison["images"], 10);
    let prompts = jobs(&app).await[0]["spec"]["prompts"].clone();
    assert_eq!(prompts, json!({ "source": "shapes_held_out", "count": 5 }));
    let models = app.get("/api/v1/models").await.expect(200).json();
    assert!(models["items"].as_array().expect("models").iter().all(|model| model["bundled_world"] == true));
}

#[tokio::test]
async fn images_of_one_model_are_judged_and_become_training_data() {
    let app = TestApp::start().await;
    let tiny = app.model("tiny").await;
    let comparison = post(&app, json!({ "models": ["tiny"], "prompts": ["a cat"] }), 202).await;
    assert_eq!((&comparison["images"], &comparison["judge_url"]), (&json!(4), &json!("/judge?models=tiny")));
    let spec = jobs(&app).await[0]["spec"].clone();
    assert_eq!(
        (&spec["models"], &spec["prompts"]["prompts"]),
        (&json!(["tiny"]), &json!(["a cat", "a cat", "a cat", "a cat"]))
    );
    images(&app, &tiny, &["a cat", "a cat"], 0).await;

    let cookie = rater(&app).await;
    let next = app.get_as(&cookie, "/api/v1/matchups/next?models=tiny").await.expect(200).json();
    assert_eq!(next["drawing"]["state"], "queued");
    let id = next["matchup"]["id"].as_str().expect("a matchup");
    let body = json!({ "choice": "left", "models": ["tiny"], "reveal": true }).to_string();
    let vote = app.post_as(&cookie, &format!("/api/v1/matchups/{id}/vote"), body).await.expect(201).json();
    assert_eq!((&vote["left_model"], &vote["right_model"]), (&json!("tiny"), &json!("tiny")));
    assert_eq!(vote["next"]["matchup"], Value::Null);

    let export = app.get("/api/v1/votes/export?format=jsonl").await.expect(200).text();
    assert_eq!(export.lines().count(), 1, "{export}");
    let board = app.get("/api/v1/leaderboard").await.expect(200).json();
    assert_eq!((&board["votes"], &board["raters"]), (&json!(0), &json!(0)));
    assert!(board["rows"].as_array().expect("rows").iter().all(|row| row["rating"].is_null()), "{board}");
    let agreement = app.get("/api/v1/leaderboard/agreement").await.expect(200).json();
    assert_eq!(agreement["models"], json!([]));
    let dataset = app.get("/api/v1/datasets/votes/pairs").await.expect(200).json();
    assert_eq!(dataset["items"].as_array().map(Vec::len), Some(1), "{dataset}");
}

#[tokio::test]
async fn every_invalid_field_of_a_comparison_is_named() {
    let folder = tempfile::tempdir().expect("a scratch folder");
    let fixture = concat!(env!("CARGO_MANIFEST_DIR"), "/../crates/diffusion/tests/fixtures/model");
    for name in ["tiny", "large"] {
        copy(Path::new(fixture), &folder.path().join("models").join(name));
    }
    let file = folder.path().join("models/large/unet/config.json");
    let mut config: Value = serde_json::from_slice(&fs::read(&file).expect("the config")).expect("JSON");
    config["sample_size"] = json!(config["sample_size"].as_u64().expect("a size") * 2);
    fs::write(&file, config.to_string()).expect("written");
    let app = TestApp::start_in(folder, &[]).await;
    for (body, status, field) in [
        (json!({}), 400, "models"),
        (json!({ "models": ["tiny"], "rounds": 3 }), 400, "rounds"),
        (json!({ "models": [] }), 422, "models"),
        (json!({ "models": ["tiny", "nobody"] }), 422, "models"),
        (json!({ "models": ["tiny", "tiny"] }), 422, "models"),
        (json!({ "models": ["tiny", "large"], "prompts": ["a cat"] }), 422, "models"),
        (json!({ "models": ["tiny", "large"], "prompts": [""] }), 422, "prompts"),
        (json!({ "models": ["tiny"], "prompts": ["a"], "images_per_prompt": 99 }), 422, "images_per_prompt"),
        (json!({ "models": ["tiny"], "count": 0 }), 422, "count"),
        (json!({ "models": ["tiny"], "seed": 9_007_199_254_740_991_u64 }), 422, "seed"),
    ] {
        app.post(COMPARISONS, body.to_string()).await.refuses(status, field);
    }
    assert_eq!(jobs(&app).await, [] as [Value; 0]);
}

#[tokio::test]
async fn two_clicks_lead_from_a_model_to_its_judge_page() {
    let app = TestApp::start().await;
    app.pairs(1).await;
    app.sibling("fresh", "sft").await;
    let models = app.get("/models").await.expect(200).text();
    assert!(models.contains("href=\"/judge/compare?model=fresh\""), "{models}");
    let page = app.get("/judge/compare?model=fresh").await.expect(200).text();
    let position = |name: &str| page.find(&format!("name=\"against\" value=\"{name}\"")).expect(name);
    // The base comes first, the model itself last.
    assert!(position("tiny") < position("tuned-dpo") && position("tuned-dpo") < position("fresh"), "{page}");

    // Without prompts to draw, the page shows why and keeps what was entered.
    let refused =
        form(&app, "", "/judge/compare", "model=fresh&against=&prompts=a+dog").await.expect(422).text();
    assert!(refused.contains("press the button of a model") && refused.contains("a dog"), "{refused}");
    let fields = "model=fresh&against=tiny&images_per_prompt=many";
    let refused = form(&app, "", "/judge/compare", fields).await.expect(422).text();
    assert!(refused.contains("is not a whole number") && refused.contains("many"), "{refused}");

    let fields = "model=fresh&against=tiny&prompts=a+cat%0D%0A%0D%0A+a+dog%0D%0A";
    let reply = form(&app, "", "/judge/compare", fields).await.expect(303);
    assert_eq!(reply.header("location"), "/judge?models=fresh,tiny");
    assert_eq!(jobs(&app).await[0]["spec"]["prompts"]["prompts"], json!(["a cat", "a dog"]));
    let reply = form(&app, "", "/judge/compare", "model=tuned-dpo&against=tuned-contrast").await.expect(303);
    assert_eq!(reply.header("location"), "/judge?models=tuned-dpo,tuned-contrast");
    let reply = form(&app, "", "/judge/compare", "model=tiny&against=tiny&prompts=a+cat").await.expect(303);
    assert_eq!(reply.header("location"), "/judge?models=tiny");
    assert_eq!(jobs(&app).await.len(), 2);
    // From a desk without pairs, the fields for prompts are unfolded.
    for (address, is_open) in [("?model=tiny", false), ("?prompts=&model=tiny", true)] {
        let page = app.get(&format!("/judge/compare{address}")).await.expect(200).text();
        let tag = page.split("<details").nth(1).and_then(|rest| rest.split('>').next()).expect("the fields");
        assert_eq!(tag.contains("open"), is_open, "{tag}");
    }
    // Without a model the page lists all of them.
    let page = app.get("/judge/compare").await.expect(200).text();
    assert!(page.contains("/judge/compare?model=tuned-dpo"), "{page}");
}
