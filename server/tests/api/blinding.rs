//! Every way to find out which model made an image that is being judged, tried. docs/judging.md lists them.

use crate::campaigns::{act, campaign, rater, vote};
use crate::support::{Reply, TestApp};
use domain::model::Model;
use serde_json::{Value, json};

/// Fails if a reply has, in its body or its headers, the name or id of a model or the id of one of its images.
#[track_caller]
pub(crate) fn tells_nothing(reply: &Reply, models: &[Model], images: &[String]) {
    let headers: String = reply.headers.iter().map(|(name, value)| format!("{name}: {value:?}\n")).collect();
    let text = format!("{headers}{}", reply.text());
    for model in models {
        assert!(!text.contains(&model.name) && !text.contains(&model.id.to_string()), "{text}");
    }
    for image in images {
        assert!(!text.contains(image), "an image's id: {text}");
    }
    assert!(!headers.contains("x-model") && !headers.contains("x-image"), "{headers}");
}

/// A site with pairs of two models, the ids of their images, and an open campaign.
async fn open_campaign(more: Value) -> (TestApp, Vec<Model>, Vec<String>, String, String) {
    let app = TestApp::start().await;
    let models: Vec<Model> = app.pairs(3).await.into();
    let listed = app.get("/api/v1/images").await.expect(200).json();
    let images: Vec<String> = listed["items"]
        .as_array()
        .expect("images")
        .iter()
        .map(|image| image["id"].as_str().expect("an id").to_owned())
        .collect();
    assert_eq!(images.len(), 6);
    let (id, key) = campaign(&app, more).await;
    (app, models, images, id, key)
}

#[tokio::test]
async fn the_desk_tells_no_model() {
    let (app, models, images, id, _) = open_campaign(json!({ "reveal": "at_end" })).await;
    let (cookie, next) = rater(&app, &id).await;
    let desk = format!("/api/v1/campaigns/{id}/desk");
    tells_nothing(&app.get_as(&cookie, &desk).await.expect(200), &models, &images);
    for side in ["left_url", "right_url"] {
        let address = next["matchup"][side].as_str().expect("an address");
        tells_nothing(&app.get_as(&cookie, address).await.expect(200), &models, &images);
    }
    let vote = act(&app, &cookie, &next, "vote", r#"{"choice":"left"}"#).await.expect(201);
    tells_nothing(&vote, &models, &images);
    let undo = act(&app, &cookie, &next, "undo", "{}").await.expect(200);
    tells_nothing(&undo, &models, &images);
    tells_nothing(&act(&app, &cookie, &next, "skip", "{}").await.expect(200), &models, &images);
    tells_nothing(&app.get_as(&cookie, &format!("{desk}/history")).await.expect(200), &models, &images);
    tells_nothing(
        &app.get_as(&cookie, &format!("/campaigns/{id}/judge")).await.expect(200),
        &models,
        &images,
    );
}

#[tokio::test]
async fn images_of_the_desk_have_no_metadata() {
    let (app, _, images, id, _) = open_campaign(json!({})).await;
    // As if a model's name were in the file of every image.
    for image in &images {
        let key = format!("images/{image}.png");
        let file = app.artifacts.get(&key).await.expect("the artifacts").expect("a file");
        let text = b"model\0tuned-dpo";
        let mut chunk = u32::try_from(text.len()).expect("short").to_be_bytes().to_vec();
        chunk.extend_from_slice(b"tEXt");
        chunk.extend_from_slice(text);
        chunk.extend_from_slice(&[0; 4]);
        // Behind the signature and the header.
        let file = [&file[..33], &chunk, &file[33..]].concat();
        app.artifacts.put(&key, file).await.expect("a file");
    }
    let (cookie, next) = rater(&app, &id).await;
    for side in ["left_url", "right_url"] {
        let file =
            app.get_as(&cookie, next["matchup"][side].as_str().expect("an address")).await.expect(200).bytes;
        assert!(!file.windows(5).any(|bytes| bytes == b"tuned"), "the file names its model");
        image::load_from_memory(&file).expect("still a PNG");
    }
}

#[tokio::test]
async fn a_pair_is_for_its_rater_only() {
    let (app, _, _, id, _) = open_campaign(json!({})).await;
    let (_, next) = rater(&app, &id).await;
    let (other, _) = rater(&app, &id).await;
    let pair = next["matchup"]["id"].as_str().expect("an id");
    app.get_as(&other, next["matchup"]["left_url"].as_str().expect("an address")).await.expect(404);
    act(&app, &other, &next, "vote", r#"{"choice":"left"}"#).await.expect(404);
    act(&app, &other, &next, "skip", "{}").await.expect(404);
    act(&app, &other, &next, "undo", "{}").await.expect(404);
    // The general routes do not know the pair, whoever asks.
    app.get(&format!("/api/v1/matchups/{pair}/left")).await.expect(404);
    let body = r#"{"choice":"left","reveal":true}"#;
    app.post(&format!("/api/v1/matchups/{pair}/vote"), body).await.expect(404);
    app.post(&format!("/api/v1/matchups/{pair}/skip"), "{}").await.expect(404);
    app.post(&format!("/api/v1/matchups/{pair}/undo"), "{}").await.expect(404);
}

#[tokio::test]
async fn images_of_judged_models_are_withheld() {
    let (app, models, images, id, _) = open_campaign(json!({})).await;
    for query in ["", "&purpose=evaluation", &format!("&model={}", models[0].id), "&prompt=square"] {
        let listed = app.get(&format!("/api/v1/images?limit=500{query}")).await.expect(200).json();
        assert_eq!(listed["items"], json!([]), "{query}");
    }
    for image in &images {
        for path in [format!("/api/v1/images/{image}"), format!("/api/v1/images/{image}/file")] {
            let refused = app.get(&path).await.expect(403).json();
            assert_eq!(refused["error"]["code"], "withheld");
        }
    }
    // Images of other models are not.
    let other = app.image(&app.model("tiny").await, "a small red square number 0", [9, 9, 9]).await;
    app.get(&format!("/api/v1/images/{}/file", other.id)).await.expect(200);
    app.post(&format!("/api/v1/campaigns/{id}/state"), r#"{"state":"paused"}"#).await.expect(200);
    app.get(&format!("/api/v1/images/{}", images[0])).await.expect(403);
    app.post(&format!("/api/v1/campaigns/{id}/state"), r#"{"state":"closed"}"#).await.expect(200);
    app.get(&format!("/api/v1/images/{}", images[0])).await.expect(200);
}

#[tokio::test]
async fn pages_show_no_images_of_judged_models() {
    let (app, models, images, id, key) = open_campaign(json!({})).await;
    let mut paths = vec![
        "/".to_owned(),
        "/models".to_owned(),
        "/judge".to_owned(),
        "/leaderboard".to_owned(),
        "/playground?prompt=a+small+red+square+number+0".to_owned(),
        "/judge/compare".to_owned(),
        "/datasets".to_owned(),
        "/campaigns".to_owned(),
        format!("/campaigns/{id}"),
        format!("/campaigns/{id}?key={key}"),
        "/api/v1/overview".to_owned(),
        "/api/v1/models".to_owned(),
    ];
    for model in &models {
        paths.push(format!("/models/{}", model.id));
        paths.push(format!("/api/v1/models/{}", model.id));
        paths.push(format!("/api/v1/models/{}/detail", model.id));
    }
    for path in paths {
        let page = app.get(&path).await.expect(200);
        tells_nothing(&page, &[], &images);
    }
}

/// Images that were requested before the campaign, of a prompt that is now judged.
#[tokio::test]
async fn the_history_shows_no_images_of_judged_models() {
    let app = TestApp::start().await;
    let models: Vec<Model> = app.pairs(3).await.into();
    let draw = |prompt: &'static str| {
        let address = format!("/generate?model={}&seed=1&prompt={prompt}", models[0].name);
        let app = &app;
        async move { app.get(&address).await.expect(200).header("x-image-id").to_owned() }
    };
    let (judged, other) = (draw("a+small+red+square+number+0").await, draw("something+else").await);
    let (id, _) = campaign(&app, json!({})).await;
    let forms = [format!("image={judged}&image={other}"), String::new()];
    for path in ["/playground", "/playground?search=square", "/playground?search=number+0"] {
        tells_nothing(&app.get(path).await.expect(200), &[], std::slice::from_ref(&judged));
    }
    assert!(app.get("/playground").await.expect(200).text().contains(&other), "the others are shown");
    // Nor is it deleted, or put into a pair, by its id.
    for (path, fields) in
        [("/playground/pair".to_owned(), &forms[0]), (format!("/images/{judged}/delete"), &forms[1])]
    {
        let request = axum::http::Request::post(&path)
            .header("content-type", "application/x-www-form-urlencoded")
            .body(axum::body::Body::from(fields.clone()));
        let reply = app.send(request.expect("a request")).await.expect(303);
        assert!(reply.header("location").starts_with("/playground?problem="), "{path}");
    }
    app.post(&format!("/api/v1/campaigns/{id}/state"), r#"{"state":"closed"}"#).await.expect(200);
    assert!(app.get("/playground").await.expect(200).text().contains(&judged));
}

#[tokio::test]
async fn judged_prompts_are_not_drawn_again() {
    let (app, ..) = open_campaign(json!({})).await;
    let draw = |model: &str, prompt: &str| {
        let address = format!("/generate?model={model}&seed=1&prompt={}", prompt.replace(' ', "+"));
        let app = &app;
        async move { app.get(&address).await }
    };
    let refused = draw("tuned-dpo", "a small red square number 0").await.expect(403).json();
    assert_eq!(refused["error"]["code"], "withheld");
    let body = json!({ "model": "tuned-dpo", "prompt": "a small red square number 0" }).to_string();
    app.post("/generate", body).await.expect(403);
    draw("tuned-dpo", "something else").await.expect(200);
    draw("tiny", "a small red square number 0").await.expect(200);
}

#[tokio::test]
async fn reports_of_judged_models_are_withheld() {
    let (app, ..) = open_campaign(json!({})).await;
    let judged = app.evaluation(&["tiny", "tuned-dpo"], "<!doctype html>").await;
    let other = app.evaluation(&["tiny"], "<!doctype html>").await;
    app.get(&format!("/api/v1/evaluations/{judged}")).await.expect(403);
    app.get(&format!("/evaluations/{judged}")).await.expect(403);
    app.get(&format!("/api/v1/evaluations/{other}")).await.expect(200);
    for file in ["report.html", "report.json", "scores.csv"] {
        app.get(&format!("/api/v1/jobs/{judged}/report/{file}")).await.expect(403);
        app.get(&format!("/api/v1/jobs/{other}/report/{file}")).await.expect(200);
    }
}

#[tokio::test]
async fn votes_of_an_open_campaign_are_counted_nowhere() {
    let (app, models, _, id, _) = open_campaign(json!({})).await;
    let (cookie, next) = rater(&app, &id).await;
    vote(&app, &cookie, &next, "left").await;
    let export = "/api/v1/votes/export?format=jsonl&per=vote";
    let counts = || async {
        let listed = app.get("/api/v1/votes").await.expect(200).json()["items"].as_array().map(Vec::len);
        let board = app.get("/api/v1/leaderboard").await.expect(200).json();
        let detail = app.get(&format!("/api/v1/models/{}/detail", models[0].id)).await.expect(200).json();
        let record =
            ["wins", "losses"].map(|name| detail["record"][name].as_i64().unwrap_or(-1)).iter().sum::<i64>();
        let exported = app.get(export).await.expect(200).text().lines().count();
        (listed, board["votes"].as_i64(), board["raters"].as_i64(), record, exported)
    };
    assert_eq!(counts().await, (Some(0), Some(0), Some(0), 0, 0));
    let agreement = app.get("/api/v1/leaderboard/agreement").await.expect(200).json();
    assert_eq!(agreement["models"], json!([]));
    app.post(&format!("/api/v1/campaigns/{id}/state"), r#"{"state":"closed"}"#).await.expect(200);
    assert_eq!(counts().await, (Some(1), Some(1), Some(1), 1, 1));
}

/// Votes from before the campaign stay listed, but not beside their images.
#[tokio::test]
async fn earlier_votes_show_no_images_of_judged_models() {
    let app = TestApp::start().await;
    let models: Vec<Model> = app.pairs(2).await.into();
    let reply = app.get("/api/v1/matchups/next").await.expect(200);
    let cookie = reply.header("set-cookie").split(';').next().expect("a cookie").to_owned();
    let pair = reply.json()["matchup"]["id"].as_str().expect("a pair").to_owned();
    app.post_as(&cookie, &format!("/api/v1/matchups/{pair}/vote"), r#"{"choice":"left"}"#).await.expect(201);
    let (export, browse) = ("/api/v1/votes/export?format=jsonl", "/api/v1/datasets/votes/pairs");
    let seen = || async {
        let listed = app.get(browse).await.expect(200).json()["items"].as_array().map_or(0, Vec::len);
        (listed, app.get(export).await.expect(200).text().lines().count())
    };
    assert_eq!(seen().await, (1, 1));
    let (id, _) = campaign(&app, json!({})).await;
    assert_eq!(seen().await, (0, 0));
    app.get("/api/v1/datasets/votes/pairs/0/winner").await.expect(404);
    app.get(&format!("/api/v1/matchups/{pair}/left")).await.expect(403);
    // The list names models and no images; the counts go on.
    let listed = app.get("/api/v1/votes").await.expect(200);
    assert!(listed.text().contains(&models[0].name), "{}", listed.text());
    app.post(&format!("/api/v1/campaigns/{id}/state"), r#"{"state":"closed"}"#).await.expect(200);
    assert_eq!(seen().await, (1, 1));
}

#[tokio::test]
async fn the_general_desk_shows_no_judged_model() {
    let app = TestApp::start().await;
    let models: Vec<Model> = app.pairs(3).await.into();
    // A pair that was drawn before the campaign.
    let reply = app.get("/api/v1/matchups/next").await.expect(200);
    let cookie = reply.header("set-cookie").split(';').next().expect("a cookie").to_owned();
    let old = reply.json()["matchup"]["id"].as_str().expect("a pair").to_owned();
    let image = |model: &Model| {
        let address = format!("/api/v1/images?model={}", model.id);
        let app = &app;
        async move { app.get(&address).await.json()["items"][0]["id"].clone() }
    };
    let (a, b) = (image(&models[0]).await, image(&models[1]).await);
    campaign(&app, json!({})).await;
    for query in ["", "?models=tuned-dpo", "?models=tuned-dpo,tuned-contrast"] {
        let next = app.get_as(&cookie, &format!("/api/v1/matchups/next{query}")).await.expect(200).json();
        assert_eq!(next["matchup"], Value::Null, "{query}");
    }
    let body = json!({ "image_a": a, "image_b": b }).to_string();
    app.post("/api/v1/matchups", body).await.expect(403);
    let voted = app
        .post_as(&cookie, &format!("/api/v1/matchups/{old}/vote"), r#"{"choice":"left","reveal":true}"#)
        .await;
    tells_nothing(&voted.expect(201), &models, &[]);
}

#[tokio::test]
async fn a_campaign_reveals_when_its_rules_say_so() {
    for (reveal, after_session, at_end) in
        [("never", false, false), ("at_end", false, true), ("after_session", true, true)]
    {
        let (app, models, images, id, _) = open_campaign(json!({ "reveal": reveal, "session": 2 })).await;
        let (cookie, first) = rater(&app, &id).await;
        let history = format!("/api/v1/campaigns/{id}/desk/history");
        let second = vote(&app, &cookie, &first, "left").await;
        tells_nothing(&app.get_as(&cookie, &history).await.expect(200), &models, &images);
        let done = vote(&app, &cookie, &second, "left").await;
        let names = || async {
            let own = app.get_as(&cookie, &history).await.expect(200).json();
            own["items"][0]["left_model"].is_string()
        };
        assert_eq!(names().await, after_session, "{reveal}");
        // Who has learned the models gets no more pairs.
        assert_eq!(done["matchup"].is_null(), after_session, "{reveal}");
        app.post(&format!("/api/v1/campaigns/{id}/state"), r#"{"state":"closed"}"#).await.expect(200);
        assert_eq!(names().await, at_end, "{reveal}");
    }
}

#[tokio::test]
async fn only_the_owner_sees_results_before_the_end() {
    let (app, _, images, id, key) = open_campaign(json!({})).await;
    app.post(&format!("/api/v1/campaigns/{id}/state"), r#"{"state":"closed"}"#).await.expect(200);
    let gold = json!([{ "better": images[0], "worse": images[1] }]);
    let more = json!({ "name": "second", "gold": gold, "gold_every": 2, "completion_code": "C0DE" });
    let (second, second_key) = campaign(&app, more).await;
    let (cookie, next) = rater(&app, &second).await;
    vote(&app, &cookie, &next, "left").await;
    let address = format!("/api/v1/campaigns/{second}");
    let open = app.get(&address).await.expect(200);
    tells_nothing(&open, &[], &images);
    let open = open.json();
    assert_eq!((&open["results"], &open["people"]), (&Value::Null, &Value::Null));
    assert!(!open.to_string().contains("C0DE"), "{open}");
    let owners = app.get(&format!("{address}?key={second_key}")).await.expect(200).json();
    assert_eq!(owners["campaign"]["spec"]["completion_code"], "C0DE");
    assert_eq!(owners["people"].as_array().map(Vec::len), Some(1));
    app.get(&format!("{address}?key={key}")).await.refuses(422, "key");
    tells_nothing(&app.get("/api/v1/campaigns").await.expect(200), &[], &images);
}
