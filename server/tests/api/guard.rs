//! The access token and cross-site requests.

use crate::support::TestApp;
use axum::body::Body;
use axum::http::{Request, header};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

fn request(method: &str, path: &str, headers: &[(&str, &str)]) -> Request<Body> {
    let builder = Request::builder().method(method).uri(path);
    let builder = headers.iter().fold(builder, |builder, (name, value)| builder.header(*name, *value));
    builder.body(Body::empty()).expect("a request")
}

#[tokio::test]
async fn with_a_token_only_livez_is_open() {
    let app = TestApp::start_with(&["--access-token", "open sesame"]).await;
    app.get("/livez").await.expect(200);
    for path in [
        "/",
        "/models",
        "/readyz",
        "/generate?prompt=a",
        "/api/v1/runs",
        "/static/style.css",
        "/pkg/frontend.js",
        "/docs",
        "/none",
    ] {
        let reply = app.get(path).await.expect(401);
        assert!(reply.header("www-authenticate").starts_with("Basic"), "{path}");
        assert_eq!(reply.json()["error"]["code"], "unauthorized");
    }
    let basic = |text: &str| format!("Basic {}", STANDARD.encode(text));
    for (authorization, status) in [
        ("Bearer open sesame".to_owned(), 200),
        ("bearer open sesame".to_owned(), 200),
        (basic("anybody:open sesame"), 200),
        (basic("open sesame:"), 401),
        ("Bearer open sesam".to_owned(), 401),
        ("Bearer ".to_owned(), 401),
        ("Basic %%%".to_owned(), 401),
        ("open sesame".to_owned(), 401),
    ] {
        let headers = [(header::AUTHORIZATION.as_str(), authorization.as_str())];
        app.send(request("GET", "/api/v1/runs", &headers)).await.expect(status);
        app.send(request("GET", "/runs", &headers)).await.expect(status);
    }
}

#[tokio::test]
async fn cross_site_requests_are_rejected() {
    let app = TestApp::start().await;
    let refused = [
        vec![("sec-fetch-site", "cross-site")],
        vec![("sec-fetch-site", "same-site")],
        vec![("origin", "https://evil.example"), ("host", "127.0.0.1:8080")],
        vec![("origin", "null"), ("host", "127.0.0.1:8080")],
    ];
    for headers in &refused {
        app.send(request("POST", "/api/v1/jobs", headers)).await.expect(403);
        app.send(request("POST", "/judge/vote", headers)).await.expect(403);
        app.send(request("GET", "/generate?prompt=a", headers)).await.expect(403);
        app.send(request("GET", "/api/v1/runs", headers)).await.expect(200);
    }
    // These pass access control and are rejected for their empty bodies.
    for headers in [
        vec![],
        vec![("sec-fetch-site", "same-origin")],
        vec![("origin", "http://127.0.0.1:8080"), ("host", "127.0.0.1:8080")],
    ] {
        app.send(request("POST", "/api/v1/jobs", &headers)).await.expect(400);
    }
    let link = [("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "navigate")];
    app.send(request("GET", "/generate?prompt=a", &link)).await.expect(200);
}
