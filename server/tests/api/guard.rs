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
    // These pass access control and are rejected for their bodies, which have no type.
    for headers in [
        vec![],
        vec![("sec-fetch-site", "same-origin")],
        vec![("origin", "http://127.0.0.1:8080"), ("host", "127.0.0.1:8080")],
        vec![("origin", "http://localhost"), ("host", "LOCALHOST:80")],
    ] {
        app.send(request("POST", "/api/v1/jobs", &headers)).await.expect(415);
    }
    let link = [("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "navigate")];
    app.send(request("GET", "/generate?prompt=a", &link)).await.expect(200);
}

/// DNS rebinding: a page of another site makes a browser send requests here under its own name, as if they were of that site.
#[tokio::test]
async fn without_a_token_only_own_hosts_are_served() {
    let app = TestApp::start_with(&["--allowed-hosts", "contrast.example,10.1.2.3"]).await;
    let foreign = ["evil.example", "evil.example:8080", "localhost.evil.example", "192.0.2.1", ""];
    for host in foreign {
        for (method, path) in
            [("GET", "/"), ("GET", "/api/v1/runs"), ("GET", "/static/style.css"), ("POST", "/api/v1/jobs")]
        {
            let headers = [("host", host), ("sec-fetch-site", "same-origin")];
            let reply = app.send(request(method, path, &headers)).await.expect(403);
            let error = reply.json()["error"].clone();
            assert_eq!(error["code"], "unauthorized", "{host:?} {path}");
            assert!(
                error["message"].as_str().is_some_and(|message| message.contains("ALLOWED_HOSTS")),
                "{error}"
            );
        }
        app.send(request("GET", "/livez", &[("host", host)])).await.expect(200);
    }
    for host in [
        "localhost",
        "127.0.0.1:8080",
        "[::1]:8080",
        "contrast.example",
        "Contrast.example:443",
        "10.1.2.3:80",
    ] {
        app.send(request("GET", "/api/v1/runs", &[("host", host)])).await.expect(200);
    }
    // An absolute address names the host too.
    app.send(request("GET", "http://evil.example/api/v1/runs", &[("host", "localhost")])).await.expect(403);
    app.send(request("GET", "http://localhost/api/v1/runs", &[("host", "localhost")])).await.expect(200);
    // With a token, the host does not matter: the page of another site has no token.
    let app = TestApp::start_with(&["--access-token", "t"]).await;
    app.send(request("GET", "/api/v1/runs", &[("host", "a.example")])).await.expect(401);
    app.send(request("GET", "/api/v1/runs", &[("host", "a.example"), ("authorization", "Bearer t")]))
        .await
        .expect(200);
}

/// Scripts of a page need the nonce of its response; nothing may frame it.
#[tokio::test]
async fn every_response_has_a_content_security_policy() {
    let app = TestApp::start().await;
    let mut nonces = std::collections::HashSet::new();
    for path in [
        "/",
        "/runs",
        "/models",
        "/playground",
        "/settings",
        "/judge",
        "/judge/compare",
        "/leaderboard",
        "/docs",
        "/datasets",
        "/none",
    ] {
        let page = app.get(path).await;
        let policy = page.header("content-security-policy").to_owned();
        let nonce = policy.split("'nonce-").nth(1).and_then(|rest| rest.split('\'').next()).expect("a nonce");
        assert!(
            nonce.len() >= 16 && nonces.insert(nonce.to_owned()),
            "{path}: the nonce {nonce:?} is short or not new"
        );
        for directive in [
            "default-src 'none'",
            "'wasm-unsafe-eval'",
            "frame-ancestors 'none'",
            "base-uri 'none'",
            "form-action 'self'",
        ] {
            assert!(policy.contains(directive), "{path}: {policy}");
        }
        let scripts =
            policy.split("script-src ").nth(1).and_then(|rest| rest.split(';').next()).expect("script-src");
        assert!(!scripts.contains("unsafe-inline") && !scripts.contains("'unsafe-eval'"), "{policy}");
        let html = page.text();
        let tags: Vec<&str> =
            html.split("<script").skip(1).filter_map(|rest| rest.split('>').next()).collect();
        assert!(tags.len() >= 3, "{path}: {tags:?}");
        for tag in tags {
            assert!(
                tag.contains(&format!("nonce=\"{nonce}\"")) || tag.contains("src="),
                "{path}: <script{tag}>"
            );
        }
        assert_eq!(page.header("x-content-type-options"), "nosniff");
        assert_eq!(page.header("referrer-policy"), "same-origin");
    }
    for path in ["/api/v1/runs", "/api/v1/none", "/static/style.css", "/generate?prompt="] {
        let policy = app.get(path).await.header("content-security-policy").to_owned();
        assert!(
            policy.starts_with("default-src 'none'") && policy.contains("frame-ancestors 'none'"),
            "{path}: {policy}"
        );
    }
}
