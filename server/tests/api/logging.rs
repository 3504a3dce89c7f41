//! Log lines of requests.

use crate::support::{Reply, TestApp};
use axum::body::Body;
use axum::http::Request;
use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;

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

/// Counts queries by the id of the request that asked them.
#[derive(Clone, Default)]
struct QueryCounter(Arc<Mutex<HashMap<String, usize>>>);

/// The id of a request's span.
struct RequestId(String);

impl Visit for RequestId {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "id" {
            value.clone_into(&mut self.0);
        }
    }

    fn record_debug(&mut self, _: &Field, _: &dyn std::fmt::Debug) {}
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for QueryCounter {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut found = RequestId(String::new());
        attributes.record(&mut found);
        context.span(id).expect("the new span").extensions_mut().insert(found);
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        if event.metadata().target() != "sqlx::query" {
            return;
        }
        for span in context.event_scope(event).into_iter().flatten() {
            if let Some(RequestId(id)) = span.extensions().get() {
                let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
                *counts.entry(id.clone()).or_default() += 1;
            }
        }
    }
}

/// The log and the queries of this process, which are collected from the first call on.
fn collected() -> &'static (Log, QueryCounter) {
    static COLLECTED: OnceLock<(Log, QueryCounter)> = OnceLock::new();
    COLLECTED.get_or_init(|| {
        let (log, queries) = (Log::default(), QueryCounter::default());
        let lines = tracing_subscriber::fmt::layer().with_ansi(false).with_writer(log.clone());
        let counted =
            Targets::new().with_target("sqlx::query", Level::DEBUG).with_target("server", Level::INFO);
        tracing_subscriber::registry()
            .with(lines.with_filter(LevelFilter::INFO))
            .with(queries.clone().with_filter(counted))
            .init();
        (log, queries)
    })
}

/// Sends a GET with this request id, and returns the response and the number of queries that it took.
pub(crate) async fn count_queries(app: &TestApp, id: &str, path: &str) -> (Reply, usize) {
    let (_, queries) = collected();
    let request = Request::get(path).header("x-request-id", id).body(Body::empty()).expect("a request");
    let reply = app.send(request).await;
    let count = queries.0.lock().unwrap_or_else(PoisonError::into_inner).get(id).copied();
    (reply, count.unwrap_or_default())
}

/// The request and its generation are logged with the id of the request, and neither with its prompt.
#[tokio::test]
async fn log_lines_carry_the_request_id_and_no_prompt() {
    let (log, _) = collected();
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

    // A cut prompt is logged once, without its text.
    let long = format!("/generate?prompt={}&steps=1", "a+confidential+zebra+".repeat(40));
    for id in ["first-long", "second-long"] {
        let request = Request::get(&long).header("x-request-id", id).body(Body::empty()).expect("a request");
        app.send(request).await.expect(200);
    }
    let text = log.text();
    let told =
        |id: &str| text.lines().filter(|line| line.contains(id) && line.contains("tokens_cut=")).count();
    assert_eq!((told("first-long"), told("second-long")), (1, 0));
    assert!(!text.contains("zebra"), "{text}");
}
