//! The Generate page's history and its form, and requests that are followed and cancelled.

use crate::support::{Reply, TestApp};
use axum::body::Body;
use axum::http::{Request, header};
use domain::preference::Choice;
use serde_json::json;
use std::time::Duration;

async fn generate(app: &TestApp, body: serde_json::Value) -> Reply {
    let request = Request::post("/generate")
        .header(header::ACCEPT, "application/json")
        .header(header::CONTENT_TYPE, "application/json")
        .body(Body::from(body.to_string()));
    app.send(request.expect("a request")).await
}

/// The id of a new image.
async fn drawn(app: &TestApp, model: &str, prompt: &str, seed: u32) -> String {
    let answer =
        generate(app, json!({ "model": model, "prompt": prompt, "seed": seed })).await.expect(200).json();
    answer["images"][0]["id"].as_str().expect("an id").to_owned()
}

async fn submit(app: &TestApp, path: &str, fields: &str) -> Reply {
    let request = Request::post(path)
        .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
        .body(Body::from(fields.to_owned()));
    app.send(request.expect("a request")).await.expect(303)
}

async fn delete(app: &TestApp, path: &str) -> Reply {
    app.send(Request::delete(path).body(Body::empty()).expect("a request")).await
}

#[tokio::test]
async fn a_request_is_followed_and_cancelled_by_its_ticket() {
    let app = TestApp::start_with(&["--largest-request", "1000000"]).await;
    let message =
        generate(&app, json!({ "prompt": "a cat", "ticket": "too/short" })).await.refuses(422, "ticket");
    assert!(message.contains("8 to 64"), "{message}");
    let address = "/api/v1/generations/ticket-1";
    app.get(address).await.expect(204);
    delete(&app, address).await.expect(404);

    let body = json!({ "prompt": "a cat", "steps": 1000, "num_images": 4, "ticket": "ticket-1" });
    let followed = async {
        loop {
            tokio::time::sleep(Duration::from_millis(5)).await;
            let reply = app.get(address).await;
            if reply.status == 200 {
                let progress = reply.json();
                if progress["step"].as_u64() > Some(0) {
                    break progress;
                }
            }
        }
    };
    let following = async {
        let progress = followed.await;
        assert_eq!(
            (&progress["running"], &progress["ahead"], &progress["steps"]),
            (&json!(true), &json!(0), &json!(4000))
        );
        // The same ticket again is refused, and one behind it sees what is before it.
        generate(&app, json!({ "prompt": "a dog", "ticket": "ticket-1" })).await.expect(409);
        delete(&app, address).await.expect(204);
    };
    let (answer, ()) = tokio::join!(generate(&app, body), following);
    let error = answer.expect(409).json();
    assert!(error["error"]["message"].as_str().is_some_and(|text| text.contains("cancelled")), "{error}");
    app.get(address).await.expect(204);
    let listed = app.get("/api/v1/images").await.expect(200).json();
    assert_eq!(listed["items"], json!([]), "nothing of it is kept");
}

#[tokio::test]
async fn the_history_lists_searches_and_deletes() {
    let app = TestApp::start().await;
    let empty = app.get("/playground").await.expect(200).text();
    assert!(!empty.contains("history-card"));
    let kept = drawn(&app, "tiny", "a red \"circle\"", 5).await;
    let gone = drawn(&app, "tiny", "a blue square", 6).await;
    let page = app.get("/playground").await.expect(200).text();
    assert!(page.contains(&kept) && page.contains(&gone));
    // Everything that makes the image again.
    for part in
        ["prompt=a+red+%22circle%22", "model=tiny", "seed=5", "sampler=", "guidance_scale=", "curl -sf"]
    {
        assert!(page.contains(part), "no {part}");
    }
    let found = app.get("/playground?search=CIRCLE").await.expect(200).text();
    assert!(found.contains(&kept) && !found.contains(&gone));
    let older = app.get(&format!("/playground?before={gone}")).await.expect(200).text();
    assert!(older.contains(&kept) && !older.contains(&gone));

    let answered = submit(&app, &format!("/images/{gone}/delete"), "").await;
    assert_eq!(answered.header("location"), "/playground#history");
    app.get(&format!("/api/v1/images/{gone}/file")).await.expect(404);
    assert!(!app.get("/playground").await.expect(200).text().contains(&gone));
    delete(&app, &format!("/api/v1/images/{gone}")).await.expect(404);
    // An image of an evaluation is no image of the history, and stays.
    let evaluated = app.image(&app.model("tiny").await, "a ring", [1, 2, 3]).await.id;
    assert!(!app.get("/playground").await.expect(200).text().contains(&evaluated.to_string()));
    delete(&app, &format!("/api/v1/images/{evaluated}")).await.expect(409);
}

#[tokio::test]
async fn the_address_fills_the_form() {
    let app = TestApp::start().await;
    app.sibling("other", "sft").await;
    app.sibling("third", "sft").await;
    let page = app.get("/playground?prompt=a+dog&seed=5&model=tiny,other&steps=7&sampler=euler&lora=snow:0.5&negative_prompt=fog");
    let page = page.await.expect(200).text();
    for part in [
        ">a dog</textarea>",
        "value=\"7\"",
        "value=\"snow:0.5\"",
        "value=\"fog\"",
        "<details open class=\"more\"",
    ] {
        assert!(page.contains(part), "no {part}");
    }
    let checked = |name: &str| {
        let place = page.find(&format!("value=\"{name}\"")).expect("a checkbox");
        let start = page[..place].rfind("<input").expect("an input");
        let end = place + page[place..].find('>').expect("an end");
        page[start..end].contains("checked")
    };
    assert_eq!(["tiny", "other", "third"].map(checked), [true, true, false]);
}

#[tokio::test]
async fn two_images_of_the_history_become_a_pair() {
    let app = TestApp::start().await;
    app.sibling("other", "sft").await;
    let (a, b) = (drawn(&app, "tiny", "a ring", 1).await, drawn(&app, "other", "a ring", 2).await);
    let unlike = drawn(&app, "tiny", "a star", 3).await;
    let refused = submit(&app, "/playground/pair", &format!("image={a}")).await;
    assert!(refused.header("location").starts_with("/playground?problem="), "{}", refused.header("location"));
    let refused = submit(&app, "/playground/pair", &format!("image={a}&image={unlike}")).await;
    let page = app.get(refused.header("location").trim_end_matches("#history")).await.expect(200).text();
    assert!(page.contains("note bad"), "the reason is shown");

    let made = submit(&app, "/playground/pair", &format!("image={a}&image={b}")).await;
    assert_eq!(made.header("location"), "/judge?models=tiny,other");
    let next = app.get("/api/v1/matchups/next?models=tiny,other").await.expect(200).json();
    assert_eq!(next["matchup"]["prompt"], "a ring");
    // Once judged, its images stay.
    let matchup = next["matchup"]["id"].as_str().expect("an id");
    let vote = json!({ "choice": Choice::Left }).to_string();
    app.post(&format!("/api/v1/matchups/{matchup}/vote"), vote).await.expect(201);
    let refused = submit(&app, &format!("/images/{a}/delete"), "").await;
    assert!(refused.header("location").contains("in+use"), "{}", refused.header("location"));
    app.get(&format!("/api/v1/images/{a}")).await.expect(200);
}
