//! Requests that take much: bounds of generation requests and of work on images, and what becomes of abandoned ones.

use crate::support::TestApp;
use axum::body::Body;
use axum::http::{Request, header};
use serde_json::json;
use server::Connections;
use std::time::{Duration, Instant};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};

#[tokio::test]
async fn a_generation_request_has_a_bound_of_images_pixels_and_steps() {
    let app = TestApp::start().await;
    let large = json!({ "prompt": "a", "width": 1024, "height": 1024, "steps": 20, "num_images": 4 });
    let request = Request::post("/generate")
        .header(header::ACCEPT, "application/json")
        .header(header::CONTENT_TYPE, "application/json")
        .body(Body::from(large.to_string()));
    let message = app.send(request.expect("a request")).await.refuses(422, "steps");
    for part in [
        "4 images of 1024 x 1024 pixels with 20 steps",
        "83.9 megapixel-steps",
        "32 (LARGEST_REQUEST",
        "at most 7 steps",
    ] {
        assert!(message.contains(part), "{part:?} is missing: {message}");
    }
    app.get("/generate?prompt=a&width=1024&height=1024&steps=31").await.refuses(422, "steps");

    let app = TestApp::start_with(&["--largest-request", "1"]).await;
    app.get("/generate?prompt=a&width=64&height=64&steps=245").await.refuses(422, "steps");
    let message = app.get("/generate?prompt=a&width=1024&height=1024&steps=1").await.refuses(422, "steps");
    assert!(message.contains("a smaller size") && !message.contains("at most"), "{message}");
    app.get("/generate?prompt=a&width=64&height=64&steps=4").await.expect(200);
}

/// If the abandoned request went on, the small one would wait behind it and miss the deadline too.
#[tokio::test]
async fn a_generation_request_has_a_deadline_and_the_generator_is_free_after_it() {
    let app = TestApp::start_with(&["--generation-timeout", "2"]).await;
    app.get("/generate?prompt=a&steps=1").await.expect(200);
    let began = Instant::now();
    let large = Request::get("/generate?prompt=a&width=128&height=128&steps=480&num_images=4");
    let large = large.header(header::ACCEPT, "application/json").body(Body::empty()).expect("a request");
    let reply = app.send(large).await.expect(503);
    let waited = began.elapsed();
    assert!(waited >= Duration::from_secs(2) && waited < Duration::from_secs(20), "{waited:?}");
    assert_eq!(reply.header("retry-after"), "30");
    let message = reply.json()["error"]["message"].as_str().expect("a sentence").to_owned();
    assert!(message.contains("2 seconds") && message.contains("GENERATION_TIMEOUT"), "{message}");
    app.get("/generate?prompt=a&steps=1").await.expect(200);
    app.get("/readyz").await.expect(200);
}

/// The whole request would take minutes.
#[tokio::test(flavor = "multi_thread")]
async fn a_generation_request_ends_with_its_connection() {
    let app = TestApp::start_with(&["--queue-size", "1", "--largest-request", "1000"]).await;
    app.get("/generate?prompt=a&steps=1").await.expect(200);
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let _connections = Connections::serve(listener, app.router.clone(), 8);
    let large = "GET /generate?prompt=a&width=128&height=128&steps=1000&num_images=4 HTTP/1.1\r\nHost: localhost\r\n\
                 Accept: application/json\r\n\r\n";
    let began = Instant::now();
    // Sent again if a small request came first and took the only place.
    let client = loop {
        assert!(began.elapsed() < Duration::from_secs(30), "the request does not reach the queue");
        let mut client = TcpStream::connect(address).await.expect("a connection");
        client.write_all(large.as_bytes()).await.expect("sent");
        tokio::time::sleep(Duration::from_millis(300)).await;
        if app.get("/generate?prompt=a&steps=1").await.status == 429 {
            break client;
        }
    };
    drop(client);
    let left = Instant::now();
    while app.get("/generate?prompt=a&steps=1").await.status != 200 {
        assert!(left.elapsed() < Duration::from_secs(20), "the generator works on after its client has left");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Drawing the 1000 pairs of a set takes a minute in a build for tests, reading their captions milliseconds.
#[tokio::test]
async fn a_search_of_the_bundled_world_draws_what_it_finds_and_nothing_else() {
    let app = TestApp::start().await;
    for set in ["van_gogh", "sketch", "winter", "quality", "images"] {
        let began = Instant::now();
        let address = format!("/api/v1/datasets/shapes-{set}/pairs");
        let none = app.get(&format!("{address}?prompt=no+such+words")).await.expect(200).json();
        assert_eq!((&none["items"], &none["next"]), (&json!([]), &json!(null)), "{set}");
        let none = app.get(&format!("{address}?model=no+such+model")).await.expect(200).json();
        assert_eq!(none["items"], json!([]), "{set}");
        let found = app.get(&format!("{address}?prompt=CIRCLE&limit=2")).await.expect(200).json();
        let items = found["items"].as_array().expect("items");
        assert_eq!(items.len(), 2, "{set}");
        for item in items {
            assert!(item["prompt"].as_str().is_some_and(|prompt| prompt.contains("circle")), "{item}");
            app.get(item["winner_url"].as_str().expect("an address")).await.expect(200);
        }
        assert!(found["next"].as_u64() > items[1]["index"].as_u64(), "{found}");
        assert!(began.elapsed() < Duration::from_secs(10), "{set} took {:?}", began.elapsed());
    }
}
