//! The form of a new run, and the drafts that it is made from.

use crate::support::{Reply, TestApp, train_spec};
use axum::body::Body;
use axum::http::Request;
use serde_json::{Map, Value, json};
use store::Ending;

async fn draft(app: &TestApp, request: Value) -> Value {
    app.post("/api/v1/run-drafts", request.to_string()).await.expect(200).json()
}

async fn post(app: &TestApp, fields: &[(String, String)]) -> Reply {
    let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
    let request = Request::post("/runs/new").header("content-type", "application/x-www-form-urlencoded");
    app.send(request.body(Body::from(body)).expect("a request")).await
}

/// The values of a draft's fields that are not empty.
fn values(draft: &Value) -> Map<String, Value> {
    let groups = draft["groups"].as_array().expect("groups").iter();
    let fields = groups.flat_map(|group| group["fields"].as_array().expect("fields"));
    fields
        .filter(|field| field["value"] != "")
        .map(|field| (field["path"].as_str().expect("a path").to_owned(), field["value"].clone()))
        .collect()
}

fn toml_of(spec: &Value) -> String {
    let mut spec = spec.clone();
    spec.as_object_mut().expect("an object").remove("kind");
    toml::to_string(&spec).expect("TOML")
}

#[tokio::test]
async fn a_draft_turns_toml_into_fields_and_back() {
    let app = TestApp::start().await;
    let spec = train_spec("mine");
    let from_toml = draft(&app, json!({ "toml": toml_of(&spec) })).await;
    assert_eq!(from_toml["problems"], json!([]), "{from_toml}");
    let fields = values(&from_toml);
    assert_eq!(
        (&fields["objective.tau"], &fields["data.count"], &fields["sample_prompts"]),
        (&json!("0.1"), &json!("64"), &json!("a sample"))
    );
    let from_fields = draft(&app, json!({ "fields": fields })).await;
    assert_eq!((&from_fields["groups"], &from_fields["problems"]), (&from_toml["groups"], &json!([])));
    let read: Value = toml::from_str(from_fields["toml"].as_str().expect("TOML")).expect("TOML");
    let mut expected = spec.clone();
    expected.as_object_mut().expect("an object").remove("kind");
    assert_eq!(read, expected);
    // The body of a job is read too.
    assert_eq!(draft(&app, json!({ "toml": spec.to_string() })).await["groups"], from_toml["groups"]);
}

#[tokio::test]
async fn a_draft_names_everything_that_the_submission_would_refuse() {
    let app = TestApp::start().await;
    let mut fields = values(&draft(&app, json!({ "toml": toml_of(&train_spec("mine")) })).await);
    fields.insert("objective.beta".into(), json!("-1"));
    fields.insert("base".into(), json!("nothing"));
    let problems = draft(&app, json!({ "fields": fields })).await["problems"].clone();
    assert_eq!(problems[0]["field"], "objective.beta", "{problems}");
    fields.insert("objective.beta".into(), json!("2000"));
    let problems = draft(&app, json!({ "fields": fields })).await["problems"].clone();
    assert_eq!(problems[0]["field"], "base", "{problems}");
    fields.insert("base".into(), json!("tiny"));
    fields.insert("steps".into(), json!("many"));
    let unreadable = draft(&app, json!({ "fields": fields })).await;
    assert_eq!(unreadable["problems"].as_array().map(Vec::len), Some(1), "{unreadable}");
    assert_eq!(
        (&unreadable["problems"][0]["field"], &values(&unreadable)["steps"]),
        (&json!("steps"), &json!("many"))
    );
    let torn = draft(&app, json!({ "toml": "steps = [" })).await;
    assert_eq!((&torn["problems"][0]["field"], &torn["toml"]), (&json!("toml"), &json!("steps = [")));
    let unknown = draft(&app, json!({ "toml": "colour = 1" })).await;
    assert_eq!(unknown["problems"][0]["field"], "colour", "{unknown}");
    let two = json!({ "toml": "", "preset": "demo/2-dpo" });
    app.post("/api/v1/run-drafts", two.to_string()).await.refuses(422, "toml");
    app.post("/api/v1/run-drafts", json!({ "preset": "mine" }).to_string()).await.refuses(422, "preset");
    let unknown = json!({ "from": "0199c5a8-7d3e-7f00-8000-0123456789ab" });
    app.post("/api/v1/run-drafts", unknown.to_string()).await.expect(404);
}

#[tokio::test]
async fn a_run_is_duplicated_under_a_free_name_and_submitted_by_the_form() {
    let app = TestApp::start().await;
    app.run("own-dpo", 2, Some(Ending::Succeeded)).await;
    let run = app.get("/api/v1/runs").await.json()["items"][0]["run"].clone();
    let id = run["id"].as_str().expect("an id");
    let page = app.get(&format!("/runs/new?from={id}")).await.expect(200).text();
    for text in
        ["value=\"own-dpo-2\"", "Start run", "objective.tau", "name = \"own-dpo-2\"", "Paste a config"]
    {
        assert!(page.contains(text) || page.contains(&text.replace('"', "&quot;")), "no {text:?}: {page}");
    }
    let copied = values(&draft(&app, json!({ "from": id })).await);
    let mut fields: Vec<(String, String)> = copied
        .iter()
        .map(|(path, value)| (path.clone(), value.as_str().expect("a text").to_owned()))
        .collect();
    fields.extend(
        [("action", "submit"), ("priority", "4")].map(|(name, value)| (name.to_owned(), value.to_owned())),
    );
    let submitted = post(&app, &fields).await.expect(303);
    assert_eq!(submitted.header("location"), "/runs#queue");
    let job = app.get("/api/v1/jobs?state=queued").await.json()["items"][0].clone();
    assert_eq!((&job["spec"]["name"], &job["priority"]), (&json!("own-dpo-2"), &json!(4)));
    let mut expected = run["spec"].clone();
    expected["name"] = json!("own-dpo-2");
    expected["kind"] = json!("train");
    assert_eq!(job["spec"], expected);
}

#[tokio::test]
async fn a_refused_form_keeps_what_was_entered_and_names_the_fields() {
    let app = TestApp::start().await;
    app.run("taken", 2, Some(Ending::Succeeded)).await;
    let spec = values(&draft(&app, json!({ "toml": toml_of(&train_spec("taken")) })).await);
    let with = |changes: &[(&str, &str)]| {
        let mut fields: Vec<(String, String)> = spec
            .iter()
            .filter(|(path, _)| changes.iter().all(|(name, _)| name != path))
            .map(|(path, value)| (path.clone(), value.as_str().expect("a text").to_owned()))
            .collect();
        fields.extend(changes.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        fields
    };
    let refused = post(&app, &with(&[("action", "submit")])).await.expect(422).text();
    assert!(refused.contains("taken-2"), "{refused}");
    let refused = post(&app, &with(&[("action", "submit"), ("steps", "many"), ("name", "new")]))
        .await
        .expect(422)
        .text();
    assert!(refused.contains("value=\"many\"") && refused.contains("is not a whole number"), "{refused}");
    let refused = post(&app, &with(&[("action", "submit"), ("name", "new"), ("priority", "101")]))
        .await
        .expect(422)
        .text();
    assert!(refused.contains("use -100 to 100"), "{refused}");
    let checked = post(&app, &with(&[("action", "check"), ("name", "new")])).await.expect(200).text();
    assert!(checked.contains("Nothing is wrong"), "{checked}");
    let read = post(&app, &with(&[("action", "toml"), ("toml", "name = \"pasted\"\nsteps = 7\n")]))
        .await
        .expect(200)
        .text();
    assert!(
        read.contains("value=\"pasted\"")
            && read.contains("value=\"7\"")
            && read.contains("The run cannot start"),
        "{read}"
    );
    assert_eq!(app.get("/api/v1/jobs?state=queued").await.json()["items"], json!([]));
    app.get("/runs/new?preset=none").await.expect(422);
    app.get("/runs/new?from=garbage").await.expect(404);
    app.get("/runs/new").await.expect(200);
}
