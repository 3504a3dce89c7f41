//! A model in full: its page, lineage, votes, files and deletion; and what is going on.

use crate::support::{TestApp, train_spec};
use axum::body::Body;
use axum::http::{Method, Request};
use domain::id::{JobId, ModelId};
use domain::job::JobSpec;
use domain::model::Model;
use serde_json::json;
use store::Ending;

/// A model with a folder of its own in the artifact store, trained from `base`.
async fn trained(app: &TestApp, name: &str, base: &Model) -> Model {
    let now = app.now();
    let mut entropy = [0; 10];
    entropy.iter_mut().zip(name.bytes()).for_each(|(to, byte)| *to = byte);
    let id = ModelId::new(now, entropy);
    let folder = format!("models/{id}");
    app.artifacts.put(&format!("{folder}/unet/config.json"), b"{\"a\": 1}".to_vec()).await.expect("a file");
    app.artifacts.put(&format!("{folder}/readme.txt"), b"text".to_vec()).await.expect("a file");
    let model = Model {
        id,
        name: name.to_owned(),
        folder,
        base_id: Some(base.id),
        objective: Some("sft".to_owned()),
        created_at: now,
        ..base.clone()
    };
    app.store.insert_model(&model, None).await.expect("a model");
    model
}

async fn delete(app: &TestApp, model: &Model) -> crate::support::Reply {
    let address = format!("/api/v1/models/{}", model.id);
    app.send(Request::builder().method(Method::DELETE).uri(address).body(Body::empty()).expect("a request"))
        .await
}

#[tokio::test]
async fn a_model_has_a_page_with_its_lineage_images_scores_votes_and_files() {
    let app = TestApp::start().await;
    let tiny = app.model("tiny").await;
    let [_, contrast] = app.pairs(4).await;
    app.votes(4).await;
    let child = trained(&app, "grandchild", &contrast).await;
    app.image(&child, "a small red square number 0", [1, 2, 3]).await;

    let detail = app.get(&format!("/api/v1/models/{}/detail", contrast.id)).await.expect(200).json();
    assert_eq!(detail["ancestors"][0]["name"], "tiny");
    assert_eq!(detail["derived"][0]["name"], "grandchild");
    let record = &detail["record"];
    // Of four votes, the first and the fourth are ties.
    assert_eq!((&record["wins"], &record["losses"], &record["ties"]), (&json!(2), &json!(0), &json!(2)));
    assert_eq!(record["win_rate"]["value"], json!(0.75));
    assert_eq!(detail["deletion"]["blocked_by"][0], "model grandchild");

    let html = app.get(&format!("/models/{}", contrast.id)).await.expect(200).text();
    for text in [
        "tuned-contrast",
        "Diff-contrast",
        &format!("/models/{}", tiny.id),
        "grandchild",
        "a small red square number 3",
        "Shape &amp; colour",
        "100.0% ± 0.0",
        "75.0%",
        "/judge/compare?model=tuned-contrast",
        "model grandchild",
    ] {
        assert!(html.contains(text), "no {text:?}: {html}");
    }
    assert!(!html.contains("Delete model"), "a base can be deleted");

    let html = app.get(&format!("/models/{}", child.id)).await.expect(200).text();
    assert!(
        html.contains("unet/config.json") && html.contains("8 bytes") && html.contains("Delete model"),
        "{html}"
    );
    for path in ["/models/garbage", "/models/0199c5a8-7d3e-7f00-8000-0123456789ab"] {
        let page = app.get(path).await.expect(404).text();
        assert!(page.contains("Not found") && page.contains("</html>"), "{path}: {page}");
    }
}

#[tokio::test]
async fn files_of_a_model_are_downloaded_and_nothing_beside_them() {
    let app = TestApp::start().await;
    let model = trained(&app, "trained", &app.model("tiny").await).await;
    let address = |path: &str| format!("/api/v1/models/{}/file?path={path}", model.id);
    let file = app.get(&address("unet/config.json")).await.expect(200);
    assert_eq!(file.text(), "{\"a\": 1}");
    assert_eq!(file.header("content-disposition"), "attachment; filename=\"trained-unet-config.json\"");
    let range =
        Request::builder().uri(address("readme.txt")).header("range", "bytes=1-2").body(Body::empty());
    assert_eq!(app.send(range.expect("a request")).await.expect(206).text(), "ex");
    for path in ["../../test.db", "/etc/passwd", "unet", "none.json"] {
        app.get(&address(path)).await.expect(404);
    }
    app.get(&format!("/api/v1/models/{}/file", model.id)).await.expect(400);
    app.get("/api/v1/models/0199c5a8-7d3e-7f00-8000-0123456789ab/file?path=a").await.expect(404);
}

#[tokio::test]
async fn a_model_that_something_needs_is_not_deleted() {
    let app = TestApp::start().await;
    let tiny = app.model("tiny").await;
    let base = trained(&app, "base-in-use", &tiny).await;
    let child = trained(&app, "its-child", &base).await;
    let message = delete(&app, &base).await.expect(409).json()["error"]["message"].to_string();
    assert!(message.contains("model its-child"), "{message}");

    let mut spec = train_spec("waiting");
    spec["base"] = json!("its-child");
    // Not over HTTP, which would refuse a base whose configs are no model's.
    let spec: JobSpec = serde_json::from_value(spec).expect("a spec");
    let job = JobId::new(app.now(), [1; 10]);
    app.store.enqueue_job(job, &spec, app.now()).await.expect("a job");
    let message = delete(&app, &child).await.expect(409).json()["error"]["message"].to_string();
    assert!(message.contains("job waiting"), "{message}");
    app.post(&format!("/api/v1/jobs/{job}/cancel"), "{}").await.expect(200);

    let message = delete(&app, &tiny).await.expect(409).json()["error"]["message"].to_string();
    assert!(message.contains("it is the default") && message.contains("model base-in-use"), "{message}");

    let [dpo, _] = app.pairs(2).await;
    app.votes(1).await;
    let message = delete(&app, &dpo).await.expect(409).json()["error"]["message"].to_string();
    assert!(
        message.contains("1 vote on its images") && message.contains("model tuned-contrast"),
        "{message}"
    );
    assert!(app.store.get_model(dpo.id).await.expect("a query").is_some());
}

#[tokio::test]
async fn a_model_is_deleted_with_its_files_and_images_and_its_base_works_on() {
    let app = TestApp::start().await;
    let tiny = app.model("tiny").await;
    let model = trained(&app, "not-needed", &tiny).await;
    let image = app.image(&model, "a cat", [9, 9, 9]).await;
    let other = app.image(&tiny, "a cat", [8, 8, 8]).await;
    let matchup = json!({"image_a": image.id, "image_b": other.id}).to_string();
    app.post("/api/v1/matchups", matchup).await.expect(201);
    let folder = app.artifacts.path(&model.folder).expect("a folder");
    let page = app.post(&format!("/models/{}/delete", model.id), "").await.expect(303);
    assert_eq!(page.header("location"), "/models");
    assert!(!folder.exists() && app.artifacts.get(&image.artifact).await.expect("the store").is_none());
    app.get(&format!("/models/{}", model.id)).await.expect(404);
    app.get(&format!("/api/v1/images/{}", image.id)).await.expect(404);
    app.get(&format!("/api/v1/images/{}", other.id)).await.expect(200);
    let left: Vec<_> =
        std::fs::read_dir(folder.parent().expect("a parent")).expect("a folder").flatten().collect();
    assert!(left.is_empty(), "{left:?}");
    app.get("/generate?prompt=a+cat&seed=1&model=tiny").await.expect(200);
    delete(&app, &model).await.expect(404);
}

#[tokio::test]
async fn the_front_page_says_what_is_going_on() {
    let app = TestApp::start().await;
    app.run("under-way", 20, None).await;
    app.run("done-before", 20, Some(Ending::Succeeded)).await;
    app.post("/api/v1/jobs", train_spec("waits").to_string()).await.expect(202);
    app.pairs(2).await;
    app.votes(2).await;
    let overview = app.get("/api/v1/overview").await.expect(200).json();
    assert_eq!(
        (&overview["running"], &overview["queued"], &overview["models"]),
        (&json!(1), &json!(1), &json!(3))
    );
    assert_eq!(overview["newest"][0]["model"]["name"], "tuned-contrast");
    assert_eq!(overview["unjudged"][0][1], json!(2));
    let html = app.get("/").await.expect(200).text();
    for text in [
        "under-way",
        "waits",
        "1 running, 1 queued",
        "tuned-contrast",
        "2 votes",
        "Start a run",
        "<math",
        "class=\"weight\"",
    ] {
        assert!(html.contains(text), "no {text:?}: {html}");
    }
}
