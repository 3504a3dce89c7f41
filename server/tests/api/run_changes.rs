//! Changes of runs over HTTP and by the forms of their pages: names, tags, deletion, resumption, and the queue.

use crate::support::{Reply, TestApp, train_spec};
use axum::body::Body;
use axum::http::Request;
use domain::id::RunId;
use domain::job::JobState;
use serde_json::{Value, json};
use store::{Claim, Ending};

/// A request with a JSON body.
async fn send(app: &TestApp, method: &str, path: &str, body: Value) -> Reply {
    let request = Request::builder().method(method).uri(path).header("content-type", "application/json");
    app.send(request.body(Body::from(body.to_string())).expect("a request")).await
}

/// A posted form.
async fn form(app: &TestApp, path: &str, fields: &str) -> Reply {
    let request = Request::post(path).header("content-type", "application/x-www-form-urlencoded");
    app.send(request.body(Body::from(fields.to_owned())).expect("a request")).await
}

async fn run_of(app: &TestApp, claim: &Claim) -> RunId {
    app.store.get_job(claim.job.id).await.expect("a query").expect("the job").run_id.expect("its run")
}

#[tokio::test]
async fn a_run_is_renamed_tagged_pinned_and_archived() {
    let app = TestApp::start().await;
    app.run("own-dpo", 2, Some(Ending::Succeeded)).await;
    let second = app.run("second", 2, Some(Ending::Succeeded)).await;
    let path = format!("/api/v1/runs/{}", run_of(&app, &second).await);
    let message = send(&app, "PATCH", &path, json!({ "name": "own-dpo" })).await.refuses(422, "name");
    assert!(message.contains("\"own-dpo-2\" is free"), "{message}");
    let change = json!({ "name": "own-dpo-2", "tags": ["b", "a"], "notes": "a note", "pinned": true });
    let run = send(&app, "PATCH", &path, change).await.expect(200).json();
    assert_eq!((&run["name"], &run["spec"]["name"]), (&json!("own-dpo-2"), &json!("second")));
    assert_eq!(
        (&run["tags"], &run["notes"], &run["pinned"]),
        (&json!(["a", "b"]), &json!("a note"), &json!(true))
    );
    // Its own name is not taken.
    send(&app, "PATCH", &path, json!({ "name": "own-dpo-2" })).await.expect(200);
    let page = app.get("/runs?tag=a").await.expect(200).text();
    assert!(page.contains("own-dpo-2") && page.contains("pinned"), "{page}");
    send(&app, "PATCH", &path, json!({ "archived": true })).await.expect(200);
    assert_eq!(app.get("/api/v1/runs").await.json()["items"].as_array().map(Vec::len), Some(1));
    assert_eq!(app.get("/api/v1/runs?archived=true").await.json()["items"][0]["run"]["name"], "own-dpo-2");
    for (body, status, field) in [
        (json!({ "name": "../a" }), 422, "name"),
        (json!({ "tags": ["two words"] }), 422, "tags"),
        (json!({ "notes": "n".repeat(10_001) }), 422, "notes"),
        (json!({ "pinned": "yes" }), 400, "pinned"),
        (json!({ "colour": "red" }), 400, "colour"),
    ] {
        send(&app, "PATCH", &path, body).await.refuses(status, field);
    }
    send(&app, "PATCH", "/api/v1/runs/0199c5a8-7d3e-7f00-8000-0123456789ab", json!({})).await.expect(404);
}

#[tokio::test]
async fn a_job_with_the_name_of_a_run_or_of_a_waiting_job_is_refused() {
    let app = TestApp::start().await;
    app.run("own-dpo", 2, Some(Ending::Failed("lost".to_owned()))).await;
    let submit = async |name: &str| app.post("/api/v1/jobs", train_spec(name).to_string()).await;
    let message = submit("own-dpo").await.refuses(422, "name");
    assert!(message.contains("\"own-dpo-2\" is free"), "{message}");
    let waiting = submit("own-dpo-2").await.expect(202).json();
    // No worker has claimed it, so it has no run yet.
    let message = submit("own-dpo-2").await.refuses(422, "name");
    assert!(message.contains("\"own-dpo-3\" is free"), "{message}");
    let cancel = format!("/api/v1/jobs/{}/cancel", waiting["id"].as_str().expect("an id"));
    app.post(&cancel, "").await.expect(200);
    submit("own-dpo-2").await.expect(202);
}

#[tokio::test]
async fn a_run_is_deleted_with_what_is_its_own_unless_it_is_running() {
    let app = TestApp::start().await;
    let running = app.run("running", 2, None).await;
    let path = format!("/api/v1/runs/{}", run_of(&app, &running).await);
    let deletion = app.get(&path).await.expect(200).json()["deletion"].clone();
    assert!(deletion["blocked_by"][0].as_str().is_some_and(|by| by.contains("running")), "{deletion}");
    let refusal = send(&app, "DELETE", &path, Value::Null).await.expect(409).json();
    assert!(refusal["error"]["message"].as_str().is_some_and(|m| m.contains("cancel it first")), "{refusal}");

    app.store.finish_job(&running, app.now(), &Ending::Cancelled).await.expect("ended");
    let sample = app.store.list_samples(run_of(&app, &running).await).await.expect("samples").remove(0);
    let file = app.artifacts.path(&sample.artifact).expect("a path");
    assert!(file.is_file());
    let deleted = send(&app, "DELETE", &path, Value::Null).await.expect(200).json();
    assert_eq!(deleted["name"], "running");
    app.get(&path).await.expect(404);
    assert!(!file.exists());
    assert_eq!(app.get("/api/v1/runs").await.json()["items"], json!([]));
}

#[tokio::test]
async fn a_stopped_run_is_resumed_and_a_finished_one_prolonged() {
    let app = TestApp::start().await;
    let stopped = app.run("stopped", 10, Some(Ending::Cancelled)).await;
    let id = run_of(&app, &stopped).await;
    let path = format!("/api/v1/runs/{id}/resume");
    send(&app, "POST", &path, json!({ "steps": 9 })).await.refuses(422, "steps");
    send(&app, "POST", &path, json!({ "steps": "many" })).await.refuses(400, "steps");
    let resumed = send(&app, "POST", &path, json!({})).await.expect(202).json();
    assert_eq!((&resumed["job"]["id"], &resumed["has_state"]), (&json!(stopped.job.id), &json!(false)));
    let job = app.get(&format!("/api/v1/jobs/{}", stopped.job.id)).await.expect(200).json();
    assert_eq!((&job["state"], &job["position"], &job["run_id"]), (&json!("queued"), &json!(1), &json!(id)));
    let refusal = send(&app, "POST", &path, json!({})).await.expect(409).text();
    assert!(refusal.contains("queued"), "{refusal}");

    app.store.request_cancel(stopped.job.id, app.now()).await.expect("cancelled");
    let finished = app.run("finished", 120, Some(Ending::Succeeded)).await;
    let id = run_of(&app, &finished).await;
    let path = format!("/api/v1/runs/{id}/resume");
    send(&app, "POST", &path, json!({})).await.refuses(422, "steps");
    let refusal = send(&app, "POST", &path, json!({ "steps": 240 })).await.expect(409).text();
    assert!(refusal.contains("not in the artifact store"), "{refusal}");
    app.artifacts.put(&format!("runs/{id}/state.safetensors"), vec![0]).await.expect("a state");
    let prolonged = send(&app, "POST", &path, json!({ "steps": 240 })).await.expect(202).json();
    assert_eq!(prolonged["has_state"], true);
    let run = app.store.get_run(id).await.expect("a query").expect("the run");
    assert_eq!((run.state, run.spec.steps, run.step), (JobState::Queued, 240, 120));
}

#[tokio::test]
async fn the_forms_of_a_run_do_the_same_without_javascript() {
    let app = TestApp::start().await;
    app.run("first", 2, Some(Ending::Succeeded)).await;
    let claim = app.run("second", 2, Some(Ending::Failed("lost".into()))).await;
    let id = run_of(&app, &claim).await;
    let page = format!("/runs/{id}");
    let html = app.get(&page).await.expect(200).text();
    for text in ["Duplicate with changes", "begins at step 0 again", "Delete run", "name=\"tags\""] {
        assert!(html.contains(text), "no {text:?}: {html}");
    }
    let saved =
        form(&app, &format!("{page}/change"), "name=second&tags=a%2C+b&notes=a+note&pinned=true").await;
    assert_eq!(saved.expect(303).header("location"), page);
    let run = app.store.get_run(id).await.expect("a query").expect("the run");
    assert_eq!(
        (run.tags, &*run.notes, run.pinned, run.archived),
        (vec!["a".into(), "b".into()], "a note", true, false)
    );
    let refused = form(&app, &format!("{page}/change"), "name=first&tags=c").await.expect(422).text();
    assert!(
        refused.contains("&quot;first-2&quot; is free") || refused.contains("\"first-2\" is free"),
        "{refused}"
    );
    assert!(refused.contains("value=\"c\""), "what was entered is lost: {refused}");
    form(&app, &format!("{page}/resume"), "steps=1").await.expect(422);
    form(&app, &format!("{page}/resume"), "steps=x").await.expect(422);
    assert_eq!(form(&app, &format!("{page}/resume"), "steps=").await.expect(303).header("location"), page);
    let refused = form(&app, &format!("{page}/delete"), "").await.expect(409).text();
    assert!(refused.contains("cancel it first"), "{refused}");
    let cancelled = form(&app, &format!("/jobs/{}/cancel", claim.job.id), &format!("back={page}")).await;
    assert_eq!(cancelled.expect(303).header("location"), page);
    // Another site is not led to.
    let again = form(&app, &format!("/jobs/{}/cancel", claim.job.id), "back=//evil.example").await;
    assert_eq!(again.expect(303).header("location"), "/runs");
    assert_eq!(form(&app, &format!("{page}/delete"), "").await.expect(303).header("location"), "/runs");
    app.get(&page).await.expect(404);
}

#[tokio::test]
async fn the_queue_shows_places_and_priorities_and_changes_them() {
    let app = TestApp::start().await;
    let submit = async |name: &str, query: &str| {
        let reply = app.post(&format!("/api/v1/jobs{query}"), train_spec(name).to_string()).await.expect(202);
        reply.json()["id"].as_str().expect("an id").to_owned()
    };
    let (first, second) = (submit("first", "").await, submit("second", "?priority=3").await);
    let job = async |id: &str| app.get(&format!("/api/v1/jobs/{id}")).await.expect(200).json();
    assert_eq!((&job(&first).await["position"], &job(&second).await["position"]), (&json!(2), &json!(1)));
    let changed = send(&app, "PATCH", &format!("/api/v1/jobs/{first}"), json!({ "priority": 9 }))
        .await
        .expect(200)
        .json();
    assert_eq!((&changed["priority"], &changed["position"]), (&json!(9), &json!(1)));
    form(&app, &format!("/jobs/{first}/priority"), "priority=-1").await.expect(303);
    assert_eq!(job(&first).await["position"], 2);
    let page = app.get("/runs").await.expect(200).text();
    assert!(page.contains("Raise the priority of first"), "{page}");
    send(&app, "PATCH", &format!("/api/v1/jobs/{first}"), json!({ "priority": 101 }))
        .await
        .refuses(422, "priority");
    app.post("/api/v1/jobs?priority=-101", train_spec("third").to_string()).await.refuses(422, "priority");
    form(&app, &format!("/jobs/{first}/priority"), "priority=x").await.refuses(422, "priority");
    send(&app, "POST", &format!("/api/v1/jobs/{first}/cancel"), json!({})).await.expect(200);
    send(&app, "PATCH", &format!("/api/v1/jobs/{first}"), json!({ "priority": 1 })).await.expect(409);
    send(&app, "PATCH", "/api/v1/jobs/0199c5a8-7d3e-7f00-8000-0123456789ab", json!({ "priority": 1 }))
        .await
        .expect(404);
}
