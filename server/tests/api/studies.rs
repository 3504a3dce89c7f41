//! Studies over HTTP. The jobs themselves are run in the trainer's tests.

use crate::support::TestApp;
use serde_json::{Value, json};

fn spec(name: &str) -> Value {
    json!({
        "name": name, "base": "tiny", "seeds": [1, 2], "budget": { "pairs": 32 },
        "train": { "batch_size": 4, "learning_rate": { "rate": 1e-4 } },
        "data": [{ "name": "winter", "set": { "source": "shapes", "set": "winter", "count": 16 } }],
        "methods": [{ "name": "sft", "objective": { "kind": "sft" } }],
        "evaluate": [{ "name": "cats", "prompts": { "source": "list", "prompts": ["a cat"] } }],
    })
}

#[tokio::test]
async fn a_study_becomes_jobs_and_is_shown_with_its_cells() {
    let app = TestApp::start().await;
    assert_eq!(app.get("/api/v1/studies").await.expect(200).json()["items"], json!([]));
    let reply = app.post("/api/v1/studies", spec("first").to_string()).await.expect(202);
    let url = reply.json()["url"].as_str().expect("an address").to_owned();
    assert_eq!(reply.header("location"), url);
    let study = app.get(&url).await.expect(200).json();
    let cells: Vec<(&str, &str)> = study["cells"]
        .as_array()
        .expect("cells")
        .iter()
        .filter_map(|cell| Some((cell["key"].as_str()?, cell["state"].as_str()?)))
        .collect();
    let expected = [
        ("final/sft/winter/seed1", "queued"),
        ("final/sft/winter/seed2", "queued"),
        ("evaluate/cats/winter/seed1", "waiting"),
        ("evaluate/cats/winter/seed2", "waiting"),
    ];
    assert_eq!(cells, expected);
    let jobs = app.get("/api/v1/jobs?state=queued").await.expect(200).json();
    assert_eq!(jobs["items"].as_array().map(Vec::len), Some(2));
    // The same study again is the same; another of its name is refused.
    let again = app.post("/api/v1/studies", spec("first").to_string()).await.expect(202);
    assert_eq!(again.json()["url"], url.as_str());
    let mut other = spec("first");
    other["budget"]["pairs"] = json!(64);
    let refused = app.post("/api/v1/studies", other.to_string()).await.expect(409).json();
    assert!(
        refused["error"]["message"].as_str().is_some_and(|text| text.contains("budget.pairs")),
        "{refused}"
    );

    for (path, texts) in [
        ("/studies".to_owned(), vec!["first", "0 of 4"]),
        (url.replace("/api/v1", ""), vec!["final/sft/winter/seed1", "queued", "waiting", "batch_size"]),
    ] {
        let html = app.get(&path).await.expect(200).text();
        for text in texts {
            assert!(html.contains(text), "{path} lacks {text:?}: {html}");
        }
    }
    app.get(&format!("{url}/report/report.html")).await.expect(404);
    // No cell has begun a run.
    assert_eq!(app.get(&format!("{url}/runs")).await.expect(200).json(), json!([]));
    app.get("/api/v1/studies/0199c5a8-7d3e-7f00-8000-0123456789ab/runs").await.expect(404);
}

#[tokio::test]
async fn a_study_is_cancelled_and_its_cells_are_tried_again() {
    let app = TestApp::start().await;
    let reply = app.post("/api/v1/studies", spec("stopped").to_string()).await.expect(202);
    let url = reply.json()["url"].as_str().expect("an address").to_owned();
    let cancelled = app.post(&format!("{url}/cancel"), "").await.expect(200).json();
    assert_eq!(cancelled["study"]["state"], "cancelled");
    assert_eq!(cancelled["cells"][0]["state"], "cancelled");
    let retried = app.post(&format!("{url}/retry?cell=final/sft/winter/seed1"), "").await.expect(200).json();
    assert_eq!(retried["study"]["state"], "running");
    let states = |study: &Value| [study["cells"][0]["state"].clone(), study["cells"][1]["state"].clone()];
    assert_eq!(states(&retried), [json!("queued"), json!("cancelled")]);
    app.post(&format!("{url}/retry?cell=final/nobody"), "").await.refuses(422, "cell");
    let unknown = "/api/v1/studies/0199c5a8-7d3e-7f00-8000-0123456789ab";
    app.get(unknown).await.expect(404);
    for action in ["cancel", "retry"] {
        app.post(&format!("{unknown}/{action}"), "").await.expect(404);
    }
}

#[tokio::test]
async fn an_invalid_study_is_refused_with_its_field() {
    let app = TestApp::start().await;
    for (field, value, refused) in [
        ("base", json!("nobody"), "base"),
        ("seeds", json!([]), "seeds"),
        ("budget", json!({ "pairs": 30 }), "budget.pairs"),
        ("train", json!({ "batch_size": 4, "steps": 3, "learning_rate": { "rate": 1e-4 } }), "train.steps"),
    ] {
        let mut spec = spec("wrong");
        spec[field] = value;
        app.post("/api/v1/studies", spec.to_string()).await.refuses(422, refused);
    }
    let mut unknown = spec("wrong");
    unknown["hours"] = json!(1);
    app.post("/api/v1/studies", unknown.to_string()).await.expect(400);
}

#[tokio::test]
async fn a_study_whose_runs_could_not_begin_is_refused() {
    let app = TestApp::start().await;
    let mut votes = spec("votes");
    votes["data"][0]["set"] = json!({ "source": "votes" });
    app.post("/api/v1/studies", votes.to_string()).await.refuses(422, "data");
    assert_eq!(app.get("/api/v1/studies").await.expect(200).json()["items"], json!([]));
}
