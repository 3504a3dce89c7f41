//! Evaluations: the list, and one with figures and images.

use crate::support::TestApp;
use serde_json::json;

#[tokio::test]
async fn an_evaluation_is_listed_and_shown_with_its_figures_and_images() {
    let app = TestApp::start().await;
    let (tiny, tuned) = (app.model("tiny").await, app.sibling("tuned", "diffusion_dpo").await);
    let ours = app.image(&tuned, "a cat", [200, 0, 0]).await;
    let theirs = app.image(&tiny, "a cat", [0, 0, 200]).await;
    let job = app.evaluation(&["tiny", "tuned"], "<!doctype html>").await;
    // The spec's seed is 0.
    let index = ours.params.seed;
    let rate = json!({ "value": 1.0, "low": 0.2, "high": 1.0, "votes": 1 });
    let wins = json!({ "wins": 1, "losses": 0, "ties": 0, "win_rate": rate });
    let scored = |model: &str, sha256: &str, mean: f64| {
        let metric =
            json!({ "metric": "clip_score", "count": 1, "mean": mean, "median": mean, "categories": {} });
        json!({ "model": model, "sha256": sha256, "metrics": [metric], "fid": null })
    };
    let report = json!({
        "prompts": 2, "seed": 0, "baseline": "tiny",
        "models": [scored("tiny", &tiny.sha256, 0.25), scored("tuned", "other", 0.31)],
        "comparisons": [{
            "model": "tuned", "metric": "clip_score", "overall": wins, "categories": { "animals": wins },
            "difference": [0.06, 0.01, 0.11], "lost_most": [],
            "won_most": [{ "index": index, "prompt": "a cat", "score": 0.31, "baseline": 0.25 }],
        }],
        "agreements": [], "statements": { "clip_score": "cosine times one" }, "not_measured": { "aesthetic": "its file" },
    });
    let file = domain::evaluate::ReportFile::Figures.artifact(job);
    app.artifacts.put(&file, report.to_string().into_bytes()).await.expect("a file");

    let list = app.get("/api/v1/evaluations").await.expect(200).json();
    assert_eq!(list["items"][0]["id"], job.to_string(), "{list}");
    let older = app.get(&format!("/api/v1/evaluations?before={job}")).await.expect(200).json();
    assert_eq!(older["items"], json!([]));
    app.get("/api/v1/evaluations?before=yesterday").await.refuses(400, "before");
    app.get("/api/v1/evaluations?limit=0").await.refuses(422, "limit");

    let detail = app.get(&format!("/api/v1/evaluations/{job}")).await.expect(200).json();
    assert_eq!(detail["report"]["comparisons"][0]["difference"][0], 0.06, "{detail}");
    assert_eq!(detail["models"][0]["images"][index.to_string()], theirs.id.to_string(), "{detail}");
    assert_eq!(detail["models"][1]["images"][index.to_string()], ours.id.to_string(), "{detail}");
    assert_eq!(
        (&detail["models"][0]["is_unchanged"], &detail["models"][1]["is_unchanged"]),
        (&json!(true), &json!(false))
    );

    for (path, texts) in [
        ("/evaluations".to_owned(), vec!["tuned", "baseline", "shapes held out"]),
        (
            format!("/evaluations/{job}"),
            vec![
                "100.0% [20.0%, 100.0%]",
                "other weights since",
                "animals",
                "a cat",
                "its file",
                "cosine times one",
            ],
        ),
    ] {
        let html = app.get(&path).await.expect(200).text();
        for text in texts {
            assert!(html.contains(text), "{path} lacks {text:?}: {html}");
        }
    }
    let html = app.get(&format!("/evaluations/{job}")).await.text();
    assert!(html.contains(&format!("/api/v1/images/{}/file", ours.id)), "{html}");
}

#[tokio::test]
async fn an_evaluation_without_readable_figures_is_shown_with_its_state() {
    let app = TestApp::start().await;
    // Its figures are of a version that this one does not know.
    let job = app.evaluation(&["tiny"], "<!doctype html>").await;
    let detail = app.get(&format!("/api/v1/evaluations/{job}")).await.expect(200).json();
    assert_eq!(detail["report"], json!(null));
    let html = app.get(&format!("/evaluations/{job}")).await.expect(200).text();
    assert!(html.contains("HTML with its images"), "{html}");
    let run = app.run("a-run", 1, None).await;
    for unknown in [run.job.id.to_string(), "0199c5a8-7d3e-7f00-8000-0123456789ab".to_owned()] {
        app.get(&format!("/api/v1/evaluations/{unknown}")).await.expect(404);
        app.get(&format!("/evaluations/{unknown}")).await.expect(404);
    }
    app.get("/evaluations/garbage").await.expect(404);
    app.get("/evaluations?before=garbage").await.expect(404);
}
