//! Jobs, runs and models.

use crate::support::{TestApp, copy, train_spec};
use serde_json::json;
use store::Ending;

#[tokio::test]
async fn a_job_is_queued_and_cancelled() {
    let app = TestApp::start().await;
    let reply = app.post("/api/v1/jobs", train_spec("first").to_string()).await.expect(202);
    let accepted = reply.json();
    assert_eq!(reply.header("location"), accepted["url"].as_str().expect("an address"));
    let job = app.get(accepted["url"].as_str().expect("an address")).await.expect(200).json();
    assert_eq!((&job["state"], &job["spec"]["name"]), (&json!("queued"), &json!("first")));
    let queued = app.get("/api/v1/jobs?state=queued").await.expect(200).json();
    assert_eq!(queued["items"].as_array().map(Vec::len), Some(1));

    let cancel = format!("/api/v1/jobs/{}/cancel", job["id"].as_str().expect("an id"));
    assert_eq!(app.post(&cancel, "").await.expect(200).json()["state"], "cancelled");
    assert_eq!(app.post(&cancel, "").await.expect(409).json()["error"]["code"], "conflict");
    app.post("/api/v1/jobs/0199c5a8-7d3e-7f00-8000-0123456789ab/cancel", "").await.expect(404);
}

/// What a worker must refuse is refused on submission, with the field.
#[tokio::test]
async fn a_job_names_models_of_the_database_and_folders_of_the_worker() {
    let app = TestApp::start().await;
    let with = |pointer: &str, value: serde_json::Value| {
        let mut spec = train_spec("confined");
        let (parent, key) = pointer.rsplit_once('/').expect("a pointer");
        spec.pointer_mut(parent).expect("a table")[key] = value;
        spec.to_string()
    };
    for path in ["/etc", "../models/tiny", "models/tiny", "~/sd15", "runs\\x"] {
        app.post("/api/v1/jobs", with("/base", path.into())).await.refuses(422, "base");
        app.post("/api/v1/jobs", with("/reference", path.into())).await.refuses(422, "reference");
    }
    for path in ["/etc", "../sets", "sets/../../x", "~/sets"] {
        for source in ["folder", "images", "likes", "webdataset", "pick_a_pic", "prepared"] {
            let data = json!({ "source": source, "folder": path });
            app.post("/api/v1/jobs", with("/data", data)).await.refuses(422, "data.folder");
        }
        let losers = json!({ "source": "images", "folder": "photos", "losers": { "folder": path } });
        app.post("/api/v1/jobs", with("/data", losers.clone())).await.refuses(422, "data.losers.folder");
        let captions = json!({ "kind": "evaluate", "model": "tiny", "prompts": { "source": "captions", "data": losers } });
        app.post("/api/v1/jobs", captions.to_string()).await.refuses(422, "prompts.data.losers.folder");
    }
    app.post("/api/v1/jobs", with("/data", json!({ "source": "votes" }))).await.refuses(422, "data");
    let inside = json!({ "source": "folder", "folder": "sets/mine" });
    app.post("/api/v1/jobs", with("/data", inside)).await.expect(202);
}

/// The row of a model of the models folder holds no path: it is found wherever the folder is.
#[tokio::test]
async fn the_models_folder_may_be_moved() {
    let app = TestApp::start().await;
    let model = app.model("tiny").await;
    assert_eq!(model.folder, "models:tiny");
    let query = "/generate?prompt=a&seed=1&steps=1";
    let image = app.get(query).await.expect(200).bytes;
    let TestApp { router, store, folder, .. } = app;
    drop(router);
    // A row of an earlier version, written by a checkout that is gone.
    store.move_model(model.id, "/gone/checkout/models/tiny").await.expect("moved");
    let elsewhere = folder.path().join("elsewhere");
    std::fs::rename(folder.path().join("models"), &elsewhere).expect("moved");
    let arguments = ["--models", elsewhere.to_str().expect("UTF-8")].map(str::to_owned);
    let app = TestApp::start_in(folder, &[&arguments[0], &arguments[1]]).await;
    assert_eq!(app.model("tiny").await, model);
    assert!(app.get(query).await.expect(200).bytes == image, "another image");
}

#[tokio::test]
async fn an_evaluation_is_queued() {
    let app = TestApp::start().await;
    let body = |model: &str| json!({ "kind": "evaluate", "model": model, "prompts": { "source": "list", "prompts": ["a cat", "a dog"] } });
    app.post("/api/v1/jobs", body("tiny").to_string()).await.expect(202);
    app.post("/api/v1/jobs", body("nobody").to_string()).await.refuses(422, "model");
}

#[tokio::test]
async fn an_evaluation_of_an_unknown_model_is_rejected_by_field() {
    let app = TestApp::start().await;
    app.sibling("tuned", "diffusion_dpo").await;
    let body = |models: &[&str]| json!({ "kind": "evaluate", "models": models, "prompts": { "source": "list", "prompts": ["a cat", "a dog"] } });
    app.post("/api/v1/jobs", body(&["tiny", "tuned"]).to_string()).await.expect(202);
    app.post("/api/v1/jobs", body(&["tiny", "nobody"]).to_string()).await.refuses(422, "models");
}

/// A report contains text that others wrote, so it is served without scripts, requests or an origin.
#[tokio::test]
async fn only_the_three_files_of_a_report_are_served() {
    let app = TestApp::start().await;
    let page = "<!doctype html><title>Evaluation</title>";
    let job = app.evaluation(&["tiny"], page).await;
    let address = |file: &str| format!("/api/v1/jobs/{job}/report/{file}");
    let report = app.get(&address("report.html")).await.expect(200);
    assert_eq!(report.text(), page);
    assert_eq!(report.header("content-type"), "text/html; charset=utf-8");
    let policy = report.header("content-security-policy");
    assert!(policy.starts_with("sandbox; default-src 'none';") && !policy.contains("allow-"), "{policy}");
    assert_eq!(report.header("x-content-type-options"), "nosniff");
    for (file, kind) in [("report.json", "application/json"), ("scores.csv", "text/csv; charset=utf-8")] {
        let reply = app.get(&address(file)).await.expect(200);
        assert_eq!(reply.header("content-type"), kind);
        let disposition = reply.header("content-disposition");
        assert_eq!(disposition, format!("attachment; filename=\"evaluation-{job}-{file}\""));
    }
    for file in ["evaluation.json", "..%2f..%2fimages", "report.html%00", ""] {
        app.get(&address(file)).await.expect(404);
    }
    app.get("/api/v1/jobs/0199c5a8-7d3e-7f00-8000-0123456789ab/report/report.html").await.expect(404);
    let missing = app.get("/api/v1/jobs/..%2f..%2fx/report/report.html").await.expect(404).json();
    assert_eq!(missing["error"]["code"], "not_found");
}

#[tokio::test]
async fn a_run_has_metrics_after_a_step_and_sample_images() {
    let app = TestApp::start().await;
    app.run("watched", 10, None).await;
    let runs = app.get("/api/v1/runs").await.expect(200).json();
    let run = &runs["items"][0];
    assert_eq!(
        (&run["run"]["name"], &run["run"]["state"], &run["run"]["step"]),
        (&json!("watched"), &json!("running"), &json!(10))
    );
    assert_eq!(run["latest"].as_array().map(Vec::len), Some(3));
    let address = format!("/api/v1/runs/{}", run["run"]["id"].as_str().expect("an id"));

    let all = app.get(&format!("{address}/metrics")).await.expect(200).json();
    assert_eq!((all["points"].as_array().map(Vec::len), &all["steps"]), (Some(50), &json!(120)));
    let newer = app.get(&format!("{address}/metrics?after=8")).await.expect(200).json();
    let newer = newer["points"].as_array().expect("points");
    assert!(newer.len() == 10 && newer.iter().all(|point| point["step"].as_i64() > Some(8)), "{newer:?}");

    let samples = app.get(&format!("{address}/samples")).await.expect(200).json();
    assert_eq!((&samples["items"][0]["step"], &samples["items"][1]["step"]), (&json!(5), &json!(10)));
    let detail = app.get(&address).await.expect(200).json();
    assert_eq!(detail["job"]["state"], "running");
}

#[tokio::test]
async fn a_failed_run_has_its_error() {
    let app = TestApp::start().await;
    app.run("unlucky", 2, Some(Ending::Failed("the loss is not a number at step 2".into()))).await;
    let run = app.get("/api/v1/runs").await.expect(200).json()["items"][0]["run"].clone();
    assert_eq!(
        (&run["state"], &run["error"]),
        (&json!("failed"), &json!("the loss is not a number at step 2"))
    );
}

#[tokio::test]
async fn models_are_listed_with_base_images_and_scores() {
    let app = TestApp::start().await;
    let model = app.sibling("tuned", "sft").await;
    app.image(&model, "a cat", [9, 9, 9]).await;
    let listed = app.get("/api/v1/models").await.expect(200).json();
    let tuned = &listed["items"][0];
    assert_eq!((&tuned["model"]["name"], &tuned["base_name"]), (&json!("tuned"), &json!("tiny")));
    assert_eq!(tuned["samples"].as_array().map(Vec::len), Some(1));
    assert_eq!((&tuned["scores"][0]["mean"], &tuned["scores"][0]["count"]), (&json!(1.0), &json!(1)));
    let one = app.get(&format!("/api/v1/models/{}", model.id)).await.expect(200).json();
    assert_eq!(&one, tuned);
    // A model can be named by its id.
    app.get(&format!("/generate?prompt=a&model={}", model.id)).await.expect(200);
}

#[tokio::test]
async fn a_run_that_its_base_cannot_train_is_refused_with_the_remedy() {
    let app = TestApp::start().await;
    let spec = |changes: serde_json::Value| {
        let mut spec = train_spec("mine");
        let fields = spec.as_object_mut().expect("an object");
        fields.extend(changes.as_object().expect("an object").clone());
        fields.retain(|_, value| !value.is_null());
        spec.to_string()
    };
    let refusal = app.post("/api/v1/jobs", spec(json!({ "clip": null }))).await.refuses(422, "clip");
    assert!(refusal.contains("add clip = \"openai/clip-vit-large-patch14\""), "{refusal}");
    app.post("/api/v1/jobs", spec(json!({ "clip": "nothing" }))).await.refuses(422, "clip");
    app.post("/api/v1/jobs", spec(json!({ "clip": "../weights" }))).await.refuses(422, "clip");
    let refusal = app.post("/api/v1/jobs", spec(json!({ "evaluate_prompts": 4 }))).await;
    assert!(refusal.refuses(422, "evaluate_prompts").contains("set validation_examples"));
    app.post("/api/v1/jobs", spec(json!({ "evaluate_prompts": 4, "validation_examples": 4 })))
        .await
        .expect(202);

    let body = json!({ "kind": "evaluate", "model": "tiny", "prompts": { "source": "shapes_held_out", "count": 4 } });
    let refusal = app.post("/api/v1/jobs", body.to_string()).await.refuses(422, "prompts.source");
    assert!(refusal.contains("coloured shapes"), "{refusal}");
}

/// An inpainting model, and a reference with another noise schedule, are refused where they are asked for, with a sentence.
#[tokio::test]
async fn models_whose_parts_do_not_fit_are_refused_at_submission() {
    let app = TestApp::start().await;
    let models = app.folder.path().join("models");
    let change = |name: &str, file: &str, field: &str, value: serde_json::Value| {
        copy(&models.join("tiny"), &models.join(name));
        let file = models.join(name).join(file);
        let mut config: serde_json::Value =
            serde_json::from_slice(&std::fs::read(&file).expect("a config")).expect("JSON");
        config[field] = value;
        std::fs::write(&file, config.to_string()).expect("room");
    };
    change("inpaint", "unet/config.json", "in_channels", json!(9));
    change("velocity", "scheduler/scheduler_config.json", "prediction_type", json!("v_prediction"));
    let app = TestApp::start_in(app.folder, &[]).await;
    const SENTENCE: &str = "takes 9 channels: an inpainting model draws nothing from text alone";
    let reply = app.get("/generate?prompt=a&model=inpaint").await.expect(503);
    let message = reply.json()["error"]["message"].as_str().expect("a message").to_owned();
    assert!(message.contains(SENTENCE) && !message.contains("/tmp"), "{message}");
    let spec = |changes: serde_json::Value| {
        let mut spec = train_spec("mine");
        spec.as_object_mut().expect("an object").extend(changes.as_object().expect("an object").clone());
        spec.to_string()
    };
    let refusal = app.post("/api/v1/jobs", spec(json!({ "base": "inpaint" }))).await.refuses(422, "base");
    assert!(refusal.contains(SENTENCE), "{refusal}");
    let prompts = json!({ "source": "list", "prompts": ["a"] });
    let evaluation = json!({ "kind": "evaluate", "model": "inpaint", "prompts": prompts });
    let refusal = app.post("/api/v1/jobs", evaluation.to_string()).await.refuses(422, "model");
    assert!(refusal.contains(SENTENCE), "{refusal}");
    let refusal =
        app.post("/api/v1/jobs", spec(json!({ "reference": "velocity" }))).await.refuses(422, "reference");
    assert!(refusal.contains("VPrediction") && refusal.contains("Epsilon"), "{refusal}");
    app.get("/generate?prompt=a&model=velocity").await.expect(200);
}
