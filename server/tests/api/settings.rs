//! What the server says of its configuration.

use crate::support::TestApp;
use axum::body::Body;
use axum::http::Request;

#[tokio::test]
async fn settings_are_shown_without_secrets() {
    let secret = "an-access-token-of-the-test";
    let arguments = ["--access-token", secret, "--queue-size", "7", "--refused-terms", "one,two"];
    let app = TestApp::start_with(&arguments).await;
    app.get("/api/v1/settings").await.expect(401);
    for path in ["/api/v1/settings", "/settings"] {
        let request =
            Request::get(path).header("authorization", format!("Bearer {secret}")).body(Body::empty());
        let text = app.send(request.expect("a request")).await.expect(200).text();
        assert!(!text.contains(secret), "{path} shows the token");
        assert!(text.contains("SQLite") && text.contains("models") && text.contains('7'), "{text}");
    }
    let request = Request::get("/api/v1/settings")
        .header("authorization", format!("Bearer {secret}"))
        .body(Body::empty());
    let settings = app.send(request.expect("a request")).await.expect(200).json();
    assert_eq!(settings["has_access_token"], true);
    assert_eq!((&settings["queue_size"], &settings["refused_terms"]), (&7.into(), &2.into()));
    assert_eq!(settings["version"], env!("CARGO_PKG_VERSION"));
}
