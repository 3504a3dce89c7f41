//! The stream of changes.

use crate::support::{TestApp, train_spec};
use axum::body::{Body, BodyDataStream};
use axum::http::{Request, header};
use axum::response::Response;
use domain::id::RunId;
use serde_json::{Value, json};
use std::time::Duration;
use store::{Claim, Ending};
use tokio_stream::StreamExt;
use tower::ServiceExt;

/// Generous, for a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

async fn request(app: &TestApp, path: &str, last: &str) -> Response {
    let mut request = Request::get(path).header(header::ACCEPT_ENCODING, "gzip, br");
    if !last.is_empty() {
        request = request.header("last-event-id", last);
    }
    let request = request.body(Body::empty()).expect("a request");
    app.router.clone().oneshot(request).await.expect("an answer")
}

async fn follow(app: &TestApp, query: &str, last: &str) -> BodyDataStream {
    let response = request(app, &format!("/api/v1/events{query}"), last).await;
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    assert!(!response.headers().contains_key("content-encoding"), "a compressed stream is held back");
    response.into_body().into_data_stream()
}

/// The next event: its id and its changes.
async fn next(events: &mut BodyDataStream) -> (String, Value) {
    let text = loop {
        let bytes = tokio::time::timeout(PATIENCE, events.next()).await.expect("an event in time");
        let text = String::from_utf8(bytes.expect("more").expect("bytes").to_vec()).expect("text");
        // A comment, on a slow machine.
        if !text.starts_with(':') {
            break text;
        }
    };
    let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
    assert_eq!(field("event"), Some("change"), "{text}");
    let data = serde_json::from_str(field("data").expect("data")).expect("JSON");
    (field("id").expect("an id").to_owned(), data)
}

/// The next event that tells of this job: a job may change several times.
async fn told(events: &mut BodyDataStream, job: &Value) -> Value {
    loop {
        let (_, changes) = next(events).await;
        if changes["jobs"].as_array().expect("jobs").contains(job) {
            return changes;
        }
    }
}

async fn cursor(app: &TestApp) -> String {
    let cursor = app.get("/api/v1/events/cursor").await.expect(200).json()["cursor"].clone();
    cursor.as_str().expect("a cursor").to_owned()
}

async fn run_of(app: &TestApp, claim: &Claim) -> RunId {
    app.store.get_job(claim.job.id).await.expect("a query").expect("the job").run_id.expect("its run")
}

#[tokio::test]
async fn a_stream_tells_what_changes_after_its_cursor() {
    let app = TestApp::start().await;
    let start = cursor(&app).await;
    // Between the cursor and the stream.
    let first = app.run("first", 2, None).await;
    let run = run_of(&app, &first).await;
    let mut events = follow(&app, &format!("?cursor={start}"), "").await;
    let (id, changes) = next(&mut events).await;
    assert_eq!(changes, json!({ "all": false, "jobs": [first.job.id], "runs": [run] }));
    drop(events);

    // A browser repeats the address with its old cursor; the id of the last event goes before.
    let second = app.run("second", 2, None).await;
    let mut events = follow(&app, &format!("?cursor={start}"), &id).await;
    told(&mut events, &json!(second.job.id)).await;

    // A stream of one run.
    let mut of_first = follow(&app, &format!("?run={run}"), "").await;
    app.store.finish_job(&second, app.now(), &Ending::Succeeded).await.expect("ended");
    told(&mut events, &json!(second.job.id)).await;
    app.store.finish_job(&first, app.now(), &Ending::Succeeded).await.expect("ended");
    assert_eq!(next(&mut of_first).await.1["runs"], json!([run]));
    told(&mut events, &json!(first.job.id)).await;

    // Jobs without a run.
    let accepted = app.post("/api/v1/jobs", train_spec("third").to_string()).await.expect(202).json();
    let changes = told(&mut events, &accepted["id"]).await;
    assert_eq!((&changes["all"], &changes["runs"]), (&json!(false), &json!([])));
}

#[tokio::test]
async fn a_cursor_of_an_earlier_server_says_that_all_may_have_changed() {
    let app = TestApp::start().await;
    let mut events = follow(&app, "?cursor=00-7", "").await;
    let (id, changes) = next(&mut events).await;
    assert_eq!(changes, json!({ "all": true, "jobs": [], "runs": [] }));
    assert_eq!(id, cursor(&app).await);
    for cursor in ["x", "-", "00-", "00-x"] {
        app.get(&format!("/api/v1/events?cursor={cursor}")).await.refuses(422, "cursor");
    }
    app.get("/api/v1/events?run=x").await.refuses(400, "run");
    app.get("/api/v1/events?colour=red").await.refuses(400, "colour");
}

#[tokio::test]
async fn streams_are_bounded_and_a_place_is_free_again_when_one_ends() {
    let app = TestApp::start().await;
    let mut streams = Vec::new();
    let refused = loop {
        let response = request(&app, "/api/v1/events", "").await;
        if response.status() != 200 {
            break response;
        }
        streams.push(response);
        assert!(streams.len() <= 1000, "streams are not bounded");
    };
    assert_eq!((refused.status().as_u16(), streams.len()), (503, 256));
    assert!(refused.headers().contains_key("retry-after"));
    streams.clear();
    let freed = async {
        while request(&app, "/api/v1/events", "").await.status() != 200 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, freed).await.expect("a free place");
}

#[tokio::test]
async fn a_stream_needs_the_access_token() {
    let app = TestApp::start_with(&["--access-token", "secret"]).await;
    app.get("/api/v1/events").await.expect(401);
    let request = Request::get("/api/v1/events").header(header::AUTHORIZATION, "Bearer secret");
    let response = app.router.clone().oneshot(request.body(Body::empty()).expect("a request")).await;
    assert_eq!(response.expect("an answer").status(), 200);
}
