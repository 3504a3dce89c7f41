//! The pages as the server renders them, without JavaScript.

use crate::support::TestApp;
use domain::job::JobSpec;
use serde_json::{Map, Value};
use std::collections::HashSet;
use store::Ending;

#[tokio::test]
async fn empty_pages_say_how_to_fill_them() {
    let app = TestApp::start().await;
    for (path, text) in [
        ("/", "Nothing has been trained yet"),
        ("/runs", "No runs yet"),
        ("/studies", "No studies yet"),
        ("/workers", "No worker has reported yet"),
        ("/evaluations", "No evaluations here"),
        ("/models", "tiny"),
        ("/playground", "Generate"),
        ("/settings", "DATABASE_URL"),
        ("/judge", "No pairs to judge yet"),
        ("/leaderboard", "No ranking yet"),
        ("/docs", "/api/v1/matchups/next"),
    ] {
        let page = app.get(path).await.expect(200);
        assert!(page.header("content-type").starts_with("text/html"), "{path}");
        let html = page.text();
        assert!(html.contains(text), "{path} lacks {text:?}: {html}");
        assert!(
            html.contains("<title>") && html.contains("· Diff-contrast</title>"),
            "{path} has no title: {html}"
        );
    }
}

#[tokio::test]
async fn pages_can_be_read_without_javascript() {
    let app = TestApp::start().await;
    app.run("a-watched-run", 40, Some(Ending::Succeeded)).await;
    app.pairs(2).await;
    let run =
        app.get("/api/v1/runs").await.json()["items"][0]["run"]["id"].as_str().expect("an id").to_owned();
    for (path, texts) in [
        ("/runs".to_owned(), vec!["a-watched-run", "succeeded", "Diff-contrast"]),
        (
            format!("/runs/{run}"),
            vec![
                "a-watched-run",
                "Finished after 40 steps",
                "mean of the last 40 steps",
                "<path",
                "a sample",
                "batch_size",
                "series.csv?metric=loss",
                "Lineage",
            ],
        ),
        (
            format!("/runs/{run}?from=10&to=20&x=images&scale=log&smoothing=5&large=Loss&against={run}"),
            vec!["means of the last 5 steps", "value=\"10\"", "0 settings differ", "chart large"],
        ),
        (
            format!("/runs/compare?run={run}&metric=loss"),
            vec!["a-watched-run", "<path", "Choose runs", "a sample", "Choose metrics"],
        ),
        (
            "/models".to_owned(),
            vec!["tuned-dpo", "tuned-contrast", "Shape &amp; colour", "100.0%", "href=\"/models/"],
        ),
        (
            "/playground?prompt=a+dog&seed=5&model=tiny".to_owned(),
            vec!["a dog", "name=\"seed\"", "tuned-dpo"],
        ),
        ("/judge".to_owned(), vec!["a small red square", "/left", "value=\"both_bad\""]),
        (
            "/leaderboard".to_owned(),
            vec!["tuned-contrast", "No votes on this question yet", "100.0% ± 0.0", "Bradley-Terry"],
        ),
    ] {
        let html = app.get(&path).await.expect(200).text();
        for text in texts {
            assert!(html.contains(text), "{path} lacks {text:?}: {html}");
        }
    }
    // The Judge page does not name the models.
    let page = app.get("/judge").await.text();
    assert!(!page.contains("tuned-"), "{page}");
}

#[tokio::test]
async fn reports_are_linked_from_runs_and_from_their_models() {
    let app = TestApp::start().await;
    app.sibling("tuned", "diffusion_dpo").await;
    app.sibling("aloof", "sft").await;
    let job = app.evaluation(&["tiny", "tuned"], "<!doctype html>").await;
    let link = |file: &str| format!("href=\"/api/v1/jobs/{job}/report/{file}\"");
    let runs = app.get("/runs").await.expect(200).text();
    for file in ["report.html", "report.json", "scores.csv"] {
        assert!(runs.contains(&link(file)), "no link to {file}: {runs}");
    }
    let models = app.get("/models").await.expect(200).text();
    let card = |name: &str| {
        let from = models.find(&format!("id=\"{name}\"")).expect("a card");
        models[from..].split("</article>").next().expect("its text").to_owned()
    };
    for (name, linked) in [("tiny", true), ("tuned", true), ("aloof", false)] {
        assert_eq!(card(name).contains(&link("report.html")), linked, "{name}: {}", card(name));
    }
}

#[tokio::test]
async fn an_unknown_address_is_a_404_page() {
    let app = TestApp::start().await;
    for path in ["/no-such-page", "/runs/0199c5a8-7d3e-7f00-8000-0123456789ab", "/runs/garbage"] {
        let page = app.get(path).await.expect(404);
        assert!(page.header("content-type").starts_with("text/html"), "{path}");
        assert!(page.text().contains("</html>"), "{path}");
    }
    let style = app.get("/static/style.css").await.expect(200);
    assert_eq!((style.header("content-type"), style.header("cache-control")), ("text/css", "no-cache"));
    app.get("/static/../Cargo.toml").await.expect(404);
    app.get("/static/none.css").await.expect(404);
}

#[tokio::test]
async fn the_document_describes_every_route() {
    let app = TestApp::start().await;
    let document = app.get("/api/openapi.json").await.expect(200).json();
    let paths = document["paths"].as_object().expect("paths");
    for path in [
        "/generate",
        "/api/v1/jobs",
        "/api/v1/jobs/{id}/cancel",
        "/api/v1/runs/{id}/metrics",
        "/api/v1/models/{id}",
        "/api/v1/images/{id}/file",
        "/api/v1/matchups/{id}/vote",
        "/api/v1/leaderboard",
        "/readyz",
    ] {
        assert!(paths.contains_key(path), "{path} is missing");
    }
    let text = document.to_string();
    let schemas = document["components"]["schemas"].as_object().expect("schemas");
    for reference in text.split("#/components/schemas/").skip(1) {
        let name = reference.split('"').next().expect("a name");
        assert!(schemas.contains_key(name), "{name} is referenced but not described");
    }
    assert!(schemas.contains_key("GenerateRequest") && schemas.contains_key("TrainSpec"));
}

/// Every operation has an id of its own, every parameter and response a description, and every request body an example.
/// Tests of `domain` check the examples of its types; those of jobs are part of the route.
#[tokio::test]
async fn the_document_has_complete_descriptions_and_examples() {
    let app = TestApp::start().await;
    let document = app.get("/api/openapi.json").await.expect(200).json();
    let operations = document["paths"].as_object().expect("paths").iter().flat_map(|(path, methods)| {
        methods.as_object().expect("methods").iter().map(move |(method, body)| (path, method, body))
    });
    let mut ids = HashSet::new();
    for (path, method, operation) in operations {
        assert!(ids.insert(&operation["operationId"]), "{method} {path}: the operation id is not unique");
        let described = |value: &Value, name: &str| {
            let text = value[name].as_str().unwrap_or_default();
            assert!(!text.is_empty(), "{method} {path} lacks a {name}: {value}");
        };
        described(operation, "summary");
        for parameter in operation["parameters"].as_array().into_iter().flatten() {
            described(parameter, "description");
        }
        for (status, response) in operation["responses"].as_object().expect("responses") {
            described(response, "description");
            let content = response["content"].as_object().map_or(0, Map::len);
            assert_eq!(content > 0, status != "204", "{method} {path}, content for {status}");
        }
        let Some(body) = operation["requestBody"]["content"]["application/json"].as_object() else {
            continue;
        };
        if let Some(examples) = body.get("examples") {
            assert_eq!(path, "/api/v1/jobs");
            for (name, example) in examples.as_object().expect("examples") {
                let spec: JobSpec = serde_json::from_value(example["value"].clone()).expect(name);
                spec.validate().expect(name);
            }
        } else {
            let name = body["schema"]["$ref"].as_str().and_then(|name| name.rsplit('/').next());
            let schema = &document["components"]["schemas"][name.expect("a named schema")];
            assert!(schema["example"].is_object(), "{method} {path} has no example of its body");
        }
    }
}
