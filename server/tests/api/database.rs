//! What a client gets while the database is locked or away, and text that a database cannot hold.

use crate::postgres::Database;
use crate::proxy::{Link, Proxy};
use crate::support::{TestApp, train_spec};
use axum::body::Body;
use axum::http::{Request, header};
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use store::Db;

/// Requests with a NUL, or another control character, and the field that holds it.
fn bodies() -> Vec<(&'static str, Value, &'static str)> {
    let train = |pointer: &str, value: Value| {
        let mut spec = train_spec("run");
        *spec.pointer_mut(pointer).expect("a field of the spec") = value;
        spec
    };
    let evaluate = json!({ "kind": "evaluate", "models": ["tiny", "ti\0ny"], "prompts": { "source": "shapes_held_out", "count": 1 } });
    let written = json!({ "kind": "evaluate", "model": "tiny", "prompts": { "source": "list", "prompts": ["a", "b\0"] } });
    let matchup = "/api/v1/matchups/0199c5a8-7d3e-7f00-8000-0123456789ab/vote";
    vec![
        ("/generate", json!({ "prompt": "a\0cat" }), "prompt"),
        ("/generate", json!({ "prompt": "a", "negative_prompt": "\0" }), "negative_prompt"),
        ("/generate", json!({ "prompt": "a", "model": "ti\0ny" }), "model"),
        ("/generate", json!({ "prompt": "a", "lora": [{ "model": "\0", "scale": 1.0 }] }), "lora[0].model"),
        ("/generate", json!({ "prompt": "red \u{1b}[31m" }), "prompt"),
        ("/generate", json!({ "prompt": "a\u{7f}" }), "prompt"),
        ("/api/v1/jobs", train("/name", json!("a\0b")), "name"),
        ("/api/v1/jobs", train("/base", json!("ti\0ny")), "base"),
        ("/api/v1/jobs", train("/clip", json!("cl\0ip")), "clip"),
        ("/api/v1/jobs", train("/sample_prompts", json!(["a", "a\0"])), "sample_prompts[1]"),
        ("/api/v1/jobs", evaluate, "models[1]"),
        ("/api/v1/jobs", written, "prompts.prompts[1]"),
        ("/api/v1/comparisons", json!({ "models": ["tiny\0"], "prompts": ["a"] }), "models[0]"),
        ("/api/v1/comparisons", json!({ "models": ["tiny"], "prompts": ["a\0"] }), "prompts[0]"),
        (matchup, json!({ "choice": "left", "models": ["tiny\0"] }), "models[0]"),
        ("/api/v1/datasets/check", json!({ "spec": "base = 'tiny'\n\0" }), "spec"),
    ]
}

async fn text_that_no_database_holds_is_refused(app: TestApp) {
    for (path, body, field) in bodies() {
        let message = app.post(path, body.to_string()).await.refuses(422, field);
        assert!(message.contains("control character U+00"), "{path}: {message}");
    }
    for (path, field) in [
        ("/generate?prompt=a%00b", "prompt"),
        ("/generate?prompt=a&model=tiny%00", "model"),
        ("/generate?prompt=a&negative_prompt=%00", "negative_prompt"),
        ("/api/v1/images?prompt=%00", "prompt"),
        ("/api/v1/matchups/next?models=tiny,%00", "models"),
        ("/api/v1/datasets/shapes-winter/pairs?prompt=a%00", "prompt"),
        ("/api/v1/datasets/votes/pairs?model=a%00", "model"),
        ("/api/v1/votes/export?models=a%00", "models"),
    ] {
        app.get(path).await.refuses(422, field);
    }
    for (path, body, field) in [
        ("/judge/vote", "matchup=0199c5a8-7d3e-7f00-8000-0123456789ab&choice=left&models=%00", "models"),
        ("/judge/compare", "model=tiny&prompts=a%00", "prompts"),
    ] {
        let request = Request::post(path).header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
        app.send(request.body(Body::from(body)).expect("a request")).await.refuses(422, field);
    }
    for path in
        ["jobs/%00", "models/%00", "datasets/%00/pairs", "datasets/votes%00/pairs/0", "matchups/%00/left"]
    {
        let reply = app.get(&format!("/api/v1/{path}")).await;
        assert!((400..500).contains(&reply.status.as_u16()), "{path}: {} {}", reply.status, reply.text());
    }
    assert_eq!(app.get("/api/v1/jobs").await.expect(200).json()["items"], json!([]));
    // Line breaks and tabs are text, and what reads like an escape is not one.
    let prompt = "a cat\r\n\ton a \\u0000 mat";
    app.post("/generate", json!({ "prompt": prompt, "steps": 1 }).to_string()).await.expect(200);
}

#[tokio::test]
async fn text_that_no_database_holds_is_refused_on_sqlite() {
    text_that_no_database_holds_is_refused(TestApp::start().await).await;
}

#[tokio::test]
async fn text_that_no_database_holds_is_refused_on_postgres() {
    let database = Database::create("control_characters");
    let app = TestApp::start_with(&["--database-url", &database.url(&database.name)]).await;
    text_that_no_database_holds_is_refused(app).await;
}

/// The status of a request to a database that is away: 503 with the time to retry after, within `most`.
async fn is_told_to_retry(app: &TestApp, request: Request<Body>, most: Duration) {
    let began = Instant::now();
    let address = request.uri().to_string();
    let reply = app.send(request).await;
    assert!(began.elapsed() < most, "{address} took {:?}", began.elapsed());
    let reply = reply.expect(503);
    assert_eq!(reply.json()["error"]["code"], "unavailable");
    let message = reply.json()["error"]["message"].as_str().expect("a sentence").to_owned();
    assert!(message.contains("database"), "{message}");
    if address != "/readyz" {
        assert_eq!(reply.header("retry-after"), "2", "{address}");
    }
}

fn get(path: &str) -> Request<Body> {
    Request::get(path).body(Body::empty()).expect("a request")
}

fn job() -> Request<Body> {
    let spec =
        json!({ "kind": "evaluate", "model": "tiny", "prompts": { "source": "list", "prompts": ["a"] } });
    let request = Request::post("/api/v1/jobs").header(header::CONTENT_TYPE, "application/json");
    request.body(Body::from(spec.to_string())).expect("a request")
}

#[tokio::test(flavor = "multi_thread")]
async fn while_another_program_holds_the_lock_of_sqlite_writes_are_refused_and_reads_answered() {
    let app = TestApp::start().await;
    let Db::Sqlite(pool) = app.store.db() else { panic!("not SQLite") };
    let lock = pool.begin_with("BEGIN IMMEDIATE").await.expect("the lock");
    let write = is_told_to_retry(&app, job(), Duration::from_secs(8));
    let reads = async {
        for path in ["/readyz", "/api/v1/models", "/api/v1/jobs", "/models"] {
            let began = Instant::now();
            app.get(path).await.expect(200);
            assert!(began.elapsed() < Duration::from_secs(8), "{path} took {:?}", began.elapsed());
        }
    };
    tokio::join!(write, reads);
    lock.rollback().await.expect("released");
    app.send(job()).await.expect(202);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_postgres_that_is_away_is_reported_within_two_seconds() {
    let database = Database::create("away");
    let url = database.url(&database.name);
    let (before, rest) = url.split_once('@').expect("a user");
    let (server, rest) = rest.split_once('/').expect("a path");
    let proxy = Proxy::start(server.to_owned()).await;
    let app = TestApp::start_with(&["--database-url", &format!("{before}@{}/{rest}", proxy.address)]).await;
    app.get("/readyz").await.expect(200);
    for away in [Link::Silent, Link::Down] {
        proxy.set(away).await;
        for request in [get("/readyz"), get("/api/v1/jobs"), job(), get("/generate?prompt=a"), get("/readyz")]
        {
            is_told_to_retry(&app, request, Duration::from_secs(2)).await;
        }
        app.get("/livez").await.expect(200);
        proxy.set(Link::Up).await;
        app.get("/readyz").await.expect(200);
        app.send(job()).await.expect(202);
    }
}
