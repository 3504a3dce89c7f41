//! Matchups, votes and ratings.

use crate::support::TestApp;
use axum::body::Body;
use axum::http::{Request, header};
use domain::id::{MatchupId, RaterId, VoteId};
use domain::preference::{Choice, Vote};
use serde_json::{Value, json};
use store::{Conflict, StoreError};

/// Gets the next matchup as a new rater: the rater's cookie and the response.
async fn new_rater(app: &TestApp) -> (String, Value) {
    let reply = app.get("/api/v1/matchups/next").await.expect(200);
    let cookie = reply.header("set-cookie").to_owned();
    assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Lax"), "{cookie}");
    let (pair, _) = cookie.split_once(';').expect("attributes");
    (pair.to_owned(), reply.json())
}

#[tokio::test]
async fn a_matchup_hides_its_models_and_a_vote_reveals_them_only_on_request() {
    let app = TestApp::start().await;
    let models = app.pairs(3).await;
    let (cookie, next) = new_rater(&app).await;
    let shown = next.to_string();
    for model in &models {
        assert!(!shown.contains(&model.name) && !shown.contains(&model.id.to_string()), "{shown}");
    }
    for side in ["left_url", "right_url"] {
        let image =
            app.get_as(&cookie, next["matchup"][side].as_str().expect("an address")).await.expect(200);
        assert_eq!(image.header("content-type"), "image/png");
        assert!(image.header("cache-control").contains("private"));
        assert!(
            image.headers.keys().all(|name| !name.as_str().starts_with("x-model")),
            "{:?}",
            image.headers
        );
    }
    // The same matchup until it is judged.
    let again = app.get_as(&cookie, "/api/v1/matchups/next").await.expect(200);
    assert_eq!((again.json(), again.header("set-cookie")), (next.clone(), ""));

    let address = format!("/api/v1/matchups/{}/vote", next["matchup"]["id"].as_str().expect("an id"));
    app.post_as(&cookie, &address, json!({ "choice": "best" }).to_string()).await.refuses(400, "choice");
    let vote =
        app.post_as(&cookie, &address, json!({ "choice": "left" }).to_string()).await.expect(201).json();
    let answered = vote.to_string();
    assert!(models.iter().all(|model| !answered.contains(&model.name)), "{answered}");
    assert_eq!(vote["next"]["votes_cast"], 1);
    let second = vote["next"]["matchup"]["id"].as_str().expect("an id");
    let body = json!({ "choice": "tie", "reveal": true }).to_string();
    let revealed =
        app.post_as(&cookie, &format!("/api/v1/matchups/{second}/vote"), body).await.expect(201).json();
    let mut names =
        [revealed["left_model"].as_str().expect("a name"), revealed["right_model"].as_str().expect("a name")];
    names.sort_unstable();
    assert_eq!(names, ["tuned-contrast", "tuned-dpo"]);
    assert_ne!(vote["next"]["matchup"]["id"], next["matchup"]["id"]);

    let twice = app.post_as(&cookie, &address, json!({ "choice": "right" }).to_string()).await.expect(409);
    assert_eq!(twice.json()["error"]["code"], "conflict");
    let votes = app.get("/api/v1/votes").await.expect(200).json();
    assert_eq!(votes["items"].as_array().map(Vec::len), Some(2));
    assert_eq!(votes["items"][1]["choice"], "left");
}

/// What follows is announced, so that its images can be loaded: every response continues the previous one.
#[tokio::test]
async fn the_pairs_after_the_next_one_are_announced_and_come_in_this_order() {
    let app = TestApp::start().await;
    app.pairs(5).await;
    let (cookie, mut next) = new_rater(&app).await;
    for left in (0..5).rev() {
        let ids = |next: &Value| -> Vec<Value> {
            let upcoming = next["upcoming"].as_array().into_iter().flatten();
            std::iter::once(&next["matchup"]).chain(upcoming).map(|matchup| matchup["id"].clone()).collect()
        };
        let announced = ids(&next);
        assert_eq!(announced.len(), (left + 1).min(3));
        let address = format!("/api/v1/matchups/{}/vote", announced[0].as_str().expect("an id"));
        next = app.post_as(&cookie, &address, r#"{"choice":"tie"}"#).await.expect(201).json()["next"].clone();
        if left > 0 {
            assert!(ids(&next).starts_with(&announced[1..]), "{next} after {announced:?}");
        }
    }
    assert_eq!(next["matchup"], Value::Null);
}

/// A vote that was taken back counts nowhere, and the pair is shown again; only the last answer can be taken back.
#[tokio::test]
async fn the_last_answer_is_taken_back_and_counts_nowhere() {
    let app = TestApp::start().await;
    let [_, contrast] = app.pairs(3).await;
    let (cookie, next) = new_rater(&app).await;
    assert_eq!(next["last"], Value::Null);
    let address = |next: &Value, action: &str| {
        format!("/api/v1/matchups/{}/{action}", next["matchup"]["id"].as_str().expect("an id"))
    };
    let vote = |address: String, choice: &str| {
        let body = json!({ "choice": choice }).to_string();
        let (app, cookie) = (&app, &cookie);
        async move { app.post_as(cookie, &address, body).await.expect(201).json()["next"].clone() }
    };
    let second = vote(address(&next, "vote"), "left").await;
    assert_eq!(second["last"], next["matchup"]["id"]);
    let third = vote(address(&second, "vote"), "right").await;
    // An earlier answer, another rater's, and one that does not exist.
    app.post_as(&cookie, &address(&next, "undo"), "{}").await.expect(409);
    app.post_as(&cookie, &address(&third, "undo"), "{}").await.expect(404);
    let (other, _) = new_rater(&app).await;
    app.post_as(&other, &address(&second, "undo"), "{}").await.expect(404);

    let undone = app.post_as(&cookie, &address(&second, "undo"), "{}").await.expect(200).json();
    assert_eq!((&undone["matchup"], &undone["last"]), (&second["matchup"], &next["matchup"]["id"]));
    assert_eq!(undone["upcoming"][0], third["matchup"]);
    assert_eq!(undone["votes_cast"], 1);
    assert_eq!(app.get("/api/v1/leaderboard").await.json()["votes"], 1);
    assert_eq!(app.get("/api/v1/votes").await.json()["items"].as_array().map(Vec::len), Some(1));
    let export = "/api/v1/votes/export?format=jsonl&per=vote";
    assert_eq!(app.get(export).await.expect(200).text().lines().count(), 1);
    let detail = app.get(&format!("/api/v1/models/{}/detail", contrast.id)).await.expect(200).json();
    assert_eq!(detail["record"]["win_rate"]["votes"], 1, "{detail}");
    assert_eq!(app.store.count_undone_votes().await.expect("a query"), 1);

    // The pair is judged anew, and the answer before is no longer the last.
    let again = vote(address(&second, "vote"), "tie").await;
    assert_eq!((&again["matchup"], &again["votes_cast"]), (&third["matchup"], &json!(2)));
    assert_eq!(app.get("/api/v1/votes").await.json()["items"][0]["choice"], "tie");
}

#[tokio::test]
async fn a_skipped_pair_does_not_come_back_unless_the_skip_is_taken_back() {
    let app = TestApp::start().await;
    app.pairs(2).await;
    let (cookie, first) = new_rater(&app).await;
    let id = first["matchup"]["id"].as_str().expect("an id");
    let address = |action: &str| format!("/api/v1/matchups/{id}/{action}");
    let second = app.post_as(&cookie, &address("skip"), "{}").await.expect(200).json();
    assert_eq!((&second["votes_cast"], &second["last"]), (&json!(0), &json!(id)));
    assert_eq!(second["matchup"], first["upcoming"][0]);
    app.post_as(&cookie, &address("skip"), "{}").await.expect(200);
    let back = app.post_as(&cookie, &address("undo"), "{}").await.expect(200).json();
    assert_eq!((&back["matchup"], &back["last"]), (&first["matchup"], &Value::Null));
    app.post_as(&cookie, &address("skip"), "{}").await.expect(200);
    let address = format!("/api/v1/matchups/{}/vote", second["matchup"]["id"].as_str().expect("an id"));
    let end = app.post_as(&cookie, &address, r#"{"choice":"left"}"#).await.expect(201).json();
    assert_eq!(end["next"]["matchup"], Value::Null, "{end}");
    app.post_as(&cookie, &address.replace("vote", "skip"), "{}").await.expect(409);
    app.post_as(&cookie, &address.replace("vote", "skip"), r#"{"models":["nobody"]}"#)
        .await
        .refuses(422, "models");
    let none = format!("/api/v1/matchups/{}/skip", app.now_id());
    app.post_as(&cookie, &none, "{}").await.expect(404);
    app.post_as(&cookie, &none, r#"{"model":[]}"#).await.refuses(400, "model");
}

/// Looking at pairs and pages leaves no rater behind; voting does.
#[tokio::test]
async fn a_get_inserts_no_rater() {
    let app = TestApp::start().await;
    app.pairs(2).await;
    let (cookie, next) = new_rater(&app).await;
    app.get_as(&cookie, "/judge").await.expect(200);
    let rater: RaterId = cookie.strip_prefix("rater=").expect("the cookie").parse().expect("an id");
    let matchup: MatchupId = next["matchup"]["id"].as_str().expect("a matchup").parse().expect("an id");
    let created_at = app.now();
    let id = VoteId::new(created_at, [3; 10]);
    let vote = Vote { id, matchup_id: matchup, rater_id: rater, choice: Choice::Left, created_at };
    let refused = app.store.cast_vote(&vote).await;
    assert!(matches!(refused, Err(StoreError::Missing("rater"))), "{refused:?}");
    let address = format!("/api/v1/matchups/{matchup}/vote");
    app.post_as(&cookie, &address, r#"{"choice":"left"}"#).await.expect(201);
    let again = app.store.cast_vote(&vote).await;
    assert!(matches!(again, Err(StoreError::Conflict(Conflict::AlreadyVoted))), "{again:?}");
}

#[tokio::test]
async fn a_rater_judges_every_pair_once_and_the_leaderboard_follows() {
    let app = TestApp::start().await;
    let [_, contrast] = app.pairs(6).await;
    let (cookie, mut next) = new_rater(&app).await;
    let mut judged = 0;
    while let Some(id) = next["matchup"]["id"].as_str().map(str::to_owned) {
        // The images of `contrast` are blue: vote for them on either side.
        let left = app.get_as(&cookie, &format!("/api/v1/matchups/{id}/left")).await.expect(200);
        let blue = image::load_from_memory(&left.bytes).expect("a PNG").to_rgb8().get_pixel(0, 0).0[2] > 200;
        let choice = if blue { "left" } else { "right" };
        let body = json!({ "choice": choice }).to_string();
        let vote = app.post_as(&cookie, &format!("/api/v1/matchups/{id}/vote"), body).await.expect(201);
        next = vote.json()["next"].clone();
        judged += 1;
    }
    assert_eq!((judged, next["votes_cast"].as_i64()), (6, Some(6)));

    let board = app.get("/api/v1/leaderboard").await.expect(200).json();
    assert_eq!((&board["votes"], &board["raters"]), (&json!(6), &json!(1)));
    let rows = board["rows"].as_array().expect("rows");
    assert_eq!(rows[0]["model"], json!(contrast.name));
    assert_eq!(rows[0]["win_rate"]["value"], 1.0);
    assert_eq!(rows[0]["win_rate"]["votes"], 6);
    let rating = |row: &Value, end: &str| row["rating"][end].as_f64().expect("a rating");
    assert!(rating(&rows[0], "value") > rating(&rows[1], "value"));
    assert!(
        rating(&rows[0], "low") < rating(&rows[0], "value")
            && rating(&rows[0], "value") < rating(&rows[0], "high")
    );
    assert_eq!(rows[0]["scores"][0]["metric"], "shape_and_colour");

    let agreement = app.get("/api/v1/leaderboard/agreement").await.expect(200).json();
    assert_eq!(agreement["models"], json!([rows[0]["model"], rows[1]["model"]]));
    assert_eq!(agreement["win_rates"][0][0], Value::Null);
    assert_eq!(
        (&agreement["win_rates"][0][1]["value"], &agreement["win_rates"][1][0]["value"]),
        (&json!(1.0), &json!(0.0))
    );
    let elo = |place: usize| agreement["elo"][place].as_f64().expect("a rating");
    assert!(elo(0) > 1000.0 && (elo(0) + elo(1) - 2000.0).abs() < 1e-9);
    assert_eq!((&agreement["alpha"], &agreement["judged_by_several"]), (&Value::Null, &json!(0)));
    // The only metric with scores.
    let metric = &agreement["metrics"][0];
    assert_eq!(
        (&metric["metric"], &metric["votes"], &metric["models"]),
        (&json!("shape_and_colour"), &json!(6), &json!(2))
    );

    // A second rater always disagrees: agreement below chance.
    let (other, mut next) = new_rater(&app).await;
    while let Some(id) = next["matchup"]["id"].as_str().map(str::to_owned) {
        let left = app.get_as(&other, &format!("/api/v1/matchups/{id}/left")).await.expect(200);
        let blue = image::load_from_memory(&left.bytes).expect("a PNG").to_rgb8().get_pixel(0, 0).0[2] > 200;
        let body = json!({ "choice": if blue { "right" } else { "left" } }).to_string();
        let vote = app.post_as(&other, &format!("/api/v1/matchups/{id}/vote"), body).await.expect(201);
        next = vote.json()["next"].clone();
    }
    let agreement = app.get("/api/v1/leaderboard/agreement").await.expect(200).json();
    assert_eq!(agreement["judged_by_several"], 6);
    assert!(agreement["alpha"].as_f64().is_some_and(|alpha| alpha < 0.0), "{agreement}");
    assert_eq!(agreement["win_rates"][0][1]["value"], 0.5);
    let page = app.get("/leaderboard").await.expect(200).text();
    assert!(
        page.contains("Head-to-head win rates") && page.contains("on 6 image pairs judged by several raters"),
        "{page}"
    );
}

#[tokio::test]
async fn a_matchup_can_be_created_from_two_images_of_a_prompt() {
    let app = TestApp::start().await;
    let models = [app.sibling("one", "sft").await, app.sibling("two", "sft").await];
    let a = app.image(&models[0], "a cat", [1, 2, 3]).await;
    let b = app.image(&models[1], "a cat", [4, 5, 6]).await;
    let other = app.image(&models[1], "a dog", [7, 8, 9]).await;
    let body = |a: String, b: String| json!({ "image_a": a, "image_b": b }).to_string();
    let made =
        app.post("/api/v1/matchups", body(a.id.to_string(), b.id.to_string())).await.expect(201).json();
    assert_eq!(made["prompt"], "a cat");
    app.post("/api/v1/matchups", body(a.id.to_string(), other.id.to_string())).await.refuses(422, "image_b");
    app.post("/api/v1/matchups", body(a.id.to_string(), "x".into())).await.refuses(400, "image_b");
}

#[tokio::test]
async fn the_form_votes_without_javascript() {
    let app = TestApp::start().await;
    app.pairs(1).await;
    let page = app.get("/judge").await.expect(200);
    let cookie = page.header("set-cookie").split(';').next().expect("a cookie").to_owned();
    let id =
        page.text().split("name=\"matchup\" value=\"").nth(1).expect("the form's field")[..36].to_owned();
    let request = Request::post("/judge/vote")
        .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
        .header(header::COOKIE, &cookie)
        .body(Body::from(format!("matchup={id}&choice=tie")))
        .expect("a request");
    let reply = app.send(request).await.expect(303);
    assert_eq!(reply.header("location"), "/judge");
    let page = app.get_as(&cookie, "/judge").await.expect(200).text();
    assert!(page.contains("You have judged every pair"), "{page}");
    // The page offers to take the vote back; then the pair is skipped.
    for (choice, text) in [("undo", "value=\"both_bad\""), ("skip", "No pairs to judge yet")] {
        assert!(page.contains(&format!("name=\"matchup\" value=\"{id}\"")), "{page}");
        let request = Request::post("/judge/vote")
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header(header::COOKIE, &cookie)
            .body(Body::from(format!("matchup={id}&choice={choice}")))
            .expect("a request");
        app.send(request).await.expect(303);
        let page = app.get_as(&cookie, "/judge").await.expect(200).text();
        assert!(page.contains(text), "after {choice}: {page}");
    }
}

/// Every question has its own page, matchups, export and leaderboard.
#[tokio::test]
async fn questions_are_counted_separately() {
    let app = TestApp::start().await;
    app.pairs(1).await;
    let (cookie, overall) = new_rater(&app).await;
    assert_eq!(overall["matchup"]["question"], "overall");
    let page = app.get_as(&cookie, "/judge?question=appeal").await.expect(200).text();
    assert!(page.contains("which image looks better?") && page.contains("aria-current=\"page\""), "{page}");
    let next = app.get_as(&cookie, "/api/v1/matchups/next?question=appeal").await.expect(200).json();
    let id = next["matchup"]["id"].as_str().expect("a matchup");
    let vote = app.post_as(&cookie, &format!("/api/v1/matchups/{id}/vote"), r#"{"choice":"left"}"#).await;
    let vote = vote.expect(201).json();
    assert_eq!((&vote["next"]["matchup"], &vote["next"]["question"]), (&Value::Null, &json!("appeal")));

    for (question, votes) in [("", 0), ("?question=overall", 0), ("?question=appeal", 1)] {
        let board = app.get(&format!("/api/v1/leaderboard{question}")).await.expect(200).json();
        assert_eq!(board["votes"], votes, "{question}");
    }
    let export = |question: &str| format!("/api/v1/votes/export?format=jsonl&question={question}");
    assert_eq!(app.get(&export("overall")).await.expect(200).text(), "");
    assert_eq!(app.get(&export("appeal")).await.expect(200).text().lines().count(), 1);
    app.get(&export("which")).await.expect(400);
    app.get("/api/v1/leaderboard?question=which").await.expect(400);
}
