//! Log lines of requests.

use crate::support::TestApp;
use axum::body::Body;
use axum::http::Request;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use tracing_subscriber::fmt::MakeWriter;

/// Collects the log of the whole process, including that of tests that run at the same time.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap_or_else(PoisonError::into_inner)).into_owned()
    }
}

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;
    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

/// The request and its generation are logged with the id of the request, and neither with its prompt.
#[tokio::test]
async fn log_lines_carry_the_request_id_and_no_prompt() {
    let log = Log::default();
    tracing_subscriber::fmt()
        .with_max_level(tracing::Level::INFO)
        .with_ansi(false)
        .with_writer(log.clone())
        .init();
    let app = TestApp::start().await;
    let request = Request::get("/generate?prompt=a+confidential+zebra&seed=1")
        .header("x-request-id", "from-the-client")
        .body(Body::empty())
        .expect("a request");
    let reply = app.send(request).await.expect(200);
    assert_eq!(reply.header("x-request-id"), "from-the-client");
    let body = r#"{"prompt": "a confidential zebra", "seed": 1}"#;
    let reply = app.post("/generate", body).await.expect(200);
    let generated_id = reply.header("x-request-id").to_owned();
    assert!(generated_id.len() > 30, "{generated_id}");

    for path in [
        "/playground?prompt=zebra",
        "/api/v1/images?prompt=zebra",
        "/zebra?zebra",
        "/datasets/zebra/1",
        "/static/zebra",
    ] {
        app.get(path).await;
    }
    app.post("/generate", r#"{"prompt": "a zebra", "steps": 0, "zebra": 1}"#).await.expect(400);

    let text = log.text();
    for id in ["from-the-client", &generated_id] {
        let lines: Vec<&str> = text.lines().filter(|line| line.contains(id)).collect();
        for message in ["images generated", "finished processing request"] {
            assert!(lines.iter().any(|line| line.contains(message)), "no {message:?} with {id}: {lines:#?}");
        }
        assert!(lines.iter().all(|line| line.contains("route=\"/generate\"")), "{lines:#?}");
    }
    assert!(text.contains("model loaded"), "{text}");
    for route in ["/playground", "/api/v1/images", "/datasets/{name}/{index}", "-"] {
        assert!(text.contains(&format!("route=\"{route}\"")), "{route}: {text}");
    }
    assert!(!text.contains("zebra") && !text.contains("seed=1"), "{text}");
}
