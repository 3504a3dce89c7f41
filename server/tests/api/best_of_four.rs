//! Campaigns that ask for the best of up to four images: judged, ranked, counted, and blind.

use crate::campaigns::{act, campaign, rater};
use crate::support::TestApp;
use domain::model::Model;
use serde_json::{Value, json};

/// Four models with an image of each prompt, and an open campaign of them.
async fn four(prompts: usize, more: Value) -> (TestApp, Vec<Model>, Vec<String>, String, String) {
    let app = TestApp::start().await;
    let mut models = Vec::from(app.pairs(prompts).await);
    for (name, colour) in [("tuned-sft", [40, 220, 40]), ("tuned-lora", [220, 220, 40])] {
        let model = app.sibling(name, "sft").await;
        for index in 0..prompts {
            app.image(&model, &format!("a small red square number {index}"), colour).await;
        }
        models.push(model);
    }
    let listed = app.get("/api/v1/images").await.expect(200).json();
    let images = listed["items"].as_array().expect("images").iter();
    let images: Vec<String> = images.map(|image| image["id"].as_str().expect("an id").to_owned()).collect();
    assert_eq!(images.len(), 4 * prompts);
    let mut body =
        json!({ "form": "best_of_four", "models": models.iter().map(|m| &m.name).collect::<Vec<_>>() });
    body.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
    let (id, key) = campaign(&app, body).await;
    (app, models, images, id, key)
}

async fn rank(app: &TestApp, cookie: &str, shown: &Value, order: &[u8]) -> Value {
    act(app, cookie, shown, "rank", &json!({ "order": order }).to_string()).await.expect(201).json()
}

/// The number of the image of this colour in what is shown, from 1.
async fn number_of(app: &TestApp, cookie: &str, shown: &Value, colour: [u8; 3]) -> u8 {
    let matchup = &shown["matchup"];
    let more = matchup["more_urls"].as_array().expect("a set").iter();
    let addresses = [&matchup["left_url"], &matchup["right_url"]].into_iter().chain(more);
    for (number, address) in (1..).zip(addresses) {
        let image = app.get_as(cookie, address.as_str().expect("an address")).await.expect(200);
        let image = image::load_from_memory(&image.bytes).expect("a PNG").to_rgb8();
        if image.get_pixel(0, 0).0 == colour {
            return number;
        }
    }
    panic!("no image of {colour:?}: {shown}");
}

#[tokio::test]
async fn the_best_is_picked_ranked_taken_back_and_counted() {
    let (app, _, _, id, key) = four(3, json!({ "session": 3 })).await;
    let (cookie, first) = rater(&app, &id).await;
    assert_eq!(first["matchup"]["more_urls"].as_array().map(Vec::len), Some(2), "{first}");
    // An answer about pairs, and orders that name no image of the set.
    act(&app, &cookie, &first, "vote", r#"{"choice":"left"}"#).await.refuses(422, "choice");
    for order in ["[]", "[5]", "[1,1]", "[0]"] {
        let body = format!(r#"{{"order":{order}}}"#);
        act(&app, &cookie, &first, "rank", &body).await.refuses(422, "order");
    }
    let best = number_of(&app, &cookie, &first, [220, 220, 40]).await;
    let second = rank(&app, &cookie, &first, &[best]).await;
    act(&app, &cookie, &first, "rank", r#"{"order":[1]}"#).await.expect(409);
    assert_eq!((&second["campaign"]["answered"], &second["last"]), (&json!(1), &first["matchup"]["id"]));
    let back = act(&app, &cookie, &first, "undo", "{}").await.expect(200).json();
    assert_eq!((&back["matchup"], &back["campaign"]["answered"]), (&first["matchup"], &json!(0)));
    let second = rank(&app, &cookie, &back, &[best]).await;
    // The last of four places follows from three.
    let third = rank(&app, &cookie, &second, &[2, 4, 1]).await;
    let end = act(&app, &cookie, &third, "skip", "{}").await.expect(200).json();
    assert_eq!((&end["matchup"], &end["campaign"]["answered"]), (&Value::Null, &json!(2)));
    let watched = app.get(&format!("/api/v1/campaigns/{id}?key={key}")).await.expect(200).json();
    assert_eq!(
        (&watched["items"], &watched["votes"], &watched["people"][0]["votes"]),
        (&json!(3), &json!(2), &json!(2))
    );
    let votes = watched["results"].as_array().expect("results").iter();
    let votes: i64 =
        votes.map(|r| r["wins"].as_i64().expect("a count") + r["losses"].as_i64().expect("a count")).sum();
    assert_eq!(votes, 3 + 6);
    app.post(&format!("/api/v1/campaigns/{id}/state"), r#"{"state":"closed"}"#).await.expect(200);
    let exported = app.get("/api/v1/votes/export?format=jsonl&per=vote").await.expect(200);
    assert_eq!(exported.text().lines().count(), 9);
    let items = app.get(&format!("/api/v1/campaigns/{id}/items")).await.expect(200).json();
    assert_eq!(items["items"].as_array().map(Vec::len), Some(9));
}

/// Ratings read an answer as one choice among four, not as three votes: the rated order is the same, with fewer answers.
#[tokio::test]
async fn ratings_follow_choices_among_four() {
    let (app, models, _, id, _) = four(12, json!({})).await;
    let (cookie, mut next) = rater(&app, &id).await;
    while next["matchup"].is_object() {
        let best = number_of(&app, &cookie, &next, [220, 220, 40]).await;
        next = rank(&app, &cookie, &next, &[best]).await;
    }
    app.post(&format!("/api/v1/campaigns/{id}/state"), r#"{"state":"closed"}"#).await.expect(200);
    let board = app.get("/api/v1/leaderboard").await.expect(200).json();
    assert_eq!(board["rows"][0]["model"], models[3].name.as_str(), "{board}");
    let rating = |row: usize| board["rows"][row]["rating"]["value"].as_f64().expect("a rating");
    assert!(rating(0) > rating(1) + 50.0, "{board}");
    // The others are never told apart.
    assert!((rating(1) - rating(3)).abs() < 1.0, "{board}");
    assert_eq!(board["votes"], 36, "an answer stands for a vote on each pair that it decides");
}

/// Nothing at the desk of sets tells models: not the body, nor the headers and metadata of any of the images.
#[tokio::test]
async fn the_desk_of_sets_tells_no_model() {
    let (app, models, images, id, _) = four(2, json!({ "reveal": "at_end" })).await;
    let (cookie, next) = rater(&app, &id).await;
    let (stranger, _) = rater(&app, &id).await;
    let desk = app.get_as(&cookie, &format!("/api/v1/campaigns/{id}/desk")).await.expect(200);
    crate::blinding::tells_nothing(&desk, &models, &images);
    let page = app.get_as(&cookie, &format!("/campaigns/{id}/judge")).await.expect(200);
    crate::blinding::tells_nothing(&page, &models, &images);
    let item = next["matchup"]["id"].as_str().expect("a set");
    for side in ["left", "right", "third", "fourth"] {
        let address = format!("/api/v1/campaigns/{id}/desk/{item}/{side}");
        let image = app.get_as(&cookie, &address).await.expect(200);
        assert!(image.bytes.starts_with(b"\x89PNG"));
        assert!(!image.bytes.windows(4).any(|chunk| chunk == b"tEXt" || chunk == b"iTXt"));
        crate::blinding::tells_nothing(&image, &models, &images);
        app.get_as(&stranger, &address).await.expect(404);
    }
    app.get_as(&cookie, &format!("/api/v1/campaigns/{id}/desk/{item}/fifth")).await.expect(404);
    let answered = act(&app, &cookie, &next, "rank", r#"{"order":[1]}"#).await.expect(201);
    crate::blinding::tells_nothing(&answered, &models, &images);
    let history = app.get_as(&cookie, &format!("/api/v1/campaigns/{id}/desk/history")).await.expect(200);
    crate::blinding::tells_nothing(&history, &models, &images);
    // The pairs that an answer has decided take none of their own.
    let decided = history.json()["items"][0]["matchup"]["id"].as_str().expect("a pair").to_owned();
    for (action, body) in [("vote", r#"{"choice":"left"}"#), ("skip", "{}"), ("rank", r#"{"order":[1]}"#)] {
        app.post_as(&cookie, &format!("/api/v1/campaigns/{id}/desk/{decided}/{action}"), body)
            .await
            .expect(404);
    }
    app.post_as(&stranger, &format!("/api/v1/campaigns/{id}/desk/{item}/rank"), r#"{"order":[1]}"#)
        .await
        .expect(404);
}

/// Without JavaScript a button per image picks the best.
#[tokio::test]
async fn the_best_is_picked_without_javascript() {
    let (app, _, _, id, _) = four(1, json!({})).await;
    let (cookie, next) = rater(&app, &id).await;
    let page = app.get_as(&cookie, &format!("/campaigns/{id}/judge")).await.expect(200).text();
    for text in ["Which image is the best for this prompt?", "value=\"best-4\"", "Rank all"] {
        assert!(page.contains(text), "no {text:?}: {page}");
    }
    let item = next["matchup"]["id"].as_str().expect("a set");
    let form = |choice: &str| {
        let request = axum::http::Request::post(format!("/campaigns/{id}/judge/answer"))
            .header("content-type", "application/x-www-form-urlencoded")
            .header("cookie", &cookie);
        request.body(format!("matchup={item}&choice={choice}").into()).expect("a request")
    };
    app.send(form("best-9")).await.expect(422);
    app.send(form("best-x")).await.expect(422);
    app.send(form("best-3")).await.expect(303);
    let done = app.get_as(&cookie, &format!("/api/v1/campaigns/{id}/desk")).await.expect(200).json();
    assert_eq!(done["campaign"]["answered"], 1);
}
