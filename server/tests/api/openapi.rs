//! The OpenAPI document against the server: it accepts every valid job and refuses what the server cannot read.

use crate::support::{TestApp, train_spec};
use regex::Regex;
use serde_json::{Map, Value, json};
use std::fs;
use std::path::{Path, PathBuf};

/// A validator of the keywords that the document uses. It fails on any other, so that none is passed over.
struct Schemas(Value);

impl Schemas {
    fn accepts(&self, schema: &Value, value: &Value) -> bool {
        let Some(schema) = schema.as_object() else { panic!("no schema: {schema}") };
        schema.iter().all(|(keyword, given)| self.keyword(schema, keyword, given, value))
    }

    fn keyword(&self, schema: &Map<String, Value>, keyword: &str, given: &Value, value: &Value) -> bool {
        let list = || given.as_array().unwrap_or_else(|| panic!("{keyword} is no list: {given}"));
        let number = || given.as_f64().unwrap_or_else(|| panic!("{keyword} is no number: {given}"));
        let above = |limit: fn(f64, f64) -> bool| value.as_f64().is_none_or(|value| limit(value, number()));
        let length = || value.as_str().map(|text| text.chars().count() as f64);
        let count = || value.as_array().map(|items| items.len() as f64);
        match keyword {
            "$ref" => {
                let name = given.as_str().and_then(|name| name.rsplit('/').next()).expect("a name");
                self.accepts(&self.0[name], value)
            }
            "type" => match given {
                Value::Array(types) => types.iter().any(|name| is_of_type(name, value)),
                name => is_of_type(name, value),
            },
            "enum" => list().contains(value),
            "oneOf" => list().iter().filter(|schema| self.accepts(schema, value)).count() == 1,
            "allOf" => list().iter().all(|schema| self.accepts(schema, value)),
            "properties" => value.as_object().is_none_or(|object| {
                object
                    .iter()
                    .all(|(name, value)| given.get(name).is_none_or(|schema| self.accepts(schema, value)))
            }),
            "required" => value.as_object().is_none_or(|object| {
                list().iter().all(|name| object.contains_key(name.as_str().expect("a name")))
            }),
            "additionalProperties" => {
                assert_eq!(given, &json!(false));
                value
                    .as_object()
                    .is_none_or(|object| object.keys().all(|name| schema["properties"].get(name).is_some()))
            }
            "items" => {
                value.as_array().is_none_or(|items| items.iter().all(|item| self.accepts(given, item)))
            }
            "minimum" => above(|value, limit| value >= limit),
            "maximum" => above(|value, limit| value <= limit),
            "exclusiveMinimum" => above(|value, limit| value > limit),
            "exclusiveMaximum" => above(|value, limit| value < limit),
            "minLength" => length().is_none_or(|length| length >= number()),
            "maxLength" => length().is_none_or(|length| length <= number()),
            "minItems" => count().is_none_or(|count| count >= number()),
            "maxItems" => count().is_none_or(|count| count <= number()),
            "pattern" => {
                let pattern = Regex::new(given.as_str().expect("a pattern")).expect("a pattern");
                value.as_str().is_none_or(|text| pattern.is_match(text))
            }
            "description" | "default" | "example" | "format" => true,
            _ => panic!("the validator does not know {keyword}: {given}"),
        }
    }
}

fn is_of_type(name: &Value, value: &Value) -> bool {
    match name.as_str().expect("a type") {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        "number" => value.is_number(),
        "integer" => value.as_f64().is_some_and(|value| value.fract() == 0.0),
        name => panic!("no type {name}"),
    }
}

/// Every config as a job.
fn configs() -> Vec<(String, Value)> {
    let mut found = Vec::new();
    let mut folders = vec![PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../trainer/configs"))];
    while let Some(folder) = folders.pop() {
        for path in fs::read_dir(folder).expect("a folder").flatten().map(|entry| entry.path()) {
            if path.is_dir() {
                // Studies are no jobs.
                folders.extend((!path.ends_with("studies")).then_some(path));
            } else if path.extension().is_some_and(|extension| extension == "toml") {
                found.push((path.display().to_string(), job(&path)));
            }
        }
    }
    assert!(found.len() > 20, "{}", found.len());
    found.sort_by(|a, b| a.0.cmp(&b.0));
    found
}

fn job(path: &Path) -> Value {
    let mut spec: Value = toml::from_str(&fs::read_to_string(path).expect("a config")).expect("TOML");
    spec["kind"] = if spec.get("objective").is_some() { "train".into() } else { "evaluate".into() };
    spec
}

/// Pointers to all values of a value.
fn pointers(value: &Value, pointer: &str, found: &mut Vec<String>) {
    found.push(pointer.to_owned());
    match value {
        Value::Object(fields) => {
            fields.iter().for_each(|(name, value)| pointers(value, &format!("{pointer}/{name}"), found));
        }
        Value::Array(items) => {
            items
                .iter()
                .enumerate()
                .for_each(|(index, value)| pointers(value, &format!("{pointer}/{index}"), found));
        }
        _ => {}
    }
}

/// Copies of a job with one change each.
fn mutations(job: &Value) -> Vec<Value> {
    let mut all = Vec::new();
    let mut places = Vec::new();
    pointers(job, "", &mut places);
    let values = [
        json!(null),
        json!(true),
        json!(-1),
        json!(0),
        json!(2.0),
        json!(1.5),
        json!(5_000_000_000_u64),
        json!("x"),
        json!(""),
        json!([]),
        json!(["a"]),
        json!({}),
    ];
    for place in places {
        for value in &values {
            let mut changed = job.clone();
            *changed.pointer_mut(&place).expect("a place") = value.clone();
            all.push(changed);
        }
        let mut extended = job.clone();
        if let Some(object) = extended.pointer_mut(&place).and_then(Value::as_object_mut) {
            object.insert("unknown".into(), json!(1));
            all.push(extended.clone());
        }
        let (parent, name) = place.rsplit_once('/').unwrap_or_default();
        let mut reduced = job.clone();
        if let Some(object) = reduced.pointer_mut(parent).and_then(Value::as_object_mut) {
            object.remove(name);
            all.push(reduced);
        }
    }
    all
}

#[tokio::test]
async fn the_document_accepts_valid_jobs_and_refuses_what_the_server_cannot_read() {
    let app = TestApp::start().await;
    let document = app.get("/api/openapi.json").await.expect(200).json();
    let schemas = Schemas(document["components"]["schemas"].clone());
    let schema =
        &document["paths"]["/api/v1/jobs"]["post"]["requestBody"]["content"]["application/json"]["schema"];
    let (mut refused, mut queued, mut shapes) = (0, 0, Vec::new());
    // The models of the configs are not in this test's folder.
    let valid = ("a valid job".to_owned(), train_spec("valid"));
    for (name, job) in configs().into_iter().chain([valid]) {
        assert!(schemas.accepts(schema, &job), "the document refuses {name}: {job}");
        // Configs of the same fields have the same mutations.
        let mut shape = Vec::new();
        pointers(&job, "", &mut shape);
        shape.push(format!(
            "{}{}{}",
            job["objective"]["kind"], job["data"]["source"], job["prompts"]["source"]
        ));
        if shapes.contains(&shape) {
            continue;
        }
        shapes.push(shape);
        for mut changed in mutations(&job) {
            // The name of a queued job is taken.
            if changed["name"].is_string() && changed["name"] == job["name"] {
                changed["name"] = format!("valid-{queued}").into();
            }
            let reply = app.post("/api/v1/jobs", changed.to_string()).await;
            let is_accepted = schemas.accepts(schema, &changed);
            match reply.status.as_u16() {
                202 => assert!(is_accepted, "{name}: the document refuses a valid job: {changed}"),
                400 => assert!(!is_accepted, "{name}: the document accepts {changed}: {}", reply.text()),
                // Names, and fields that contradict each other, are beyond a schema.
                422 => {}
                status => panic!("{status}: {changed}: {}", reply.text()),
            }
            refused += usize::from(!is_accepted);
            queued += usize::from(reply.status == 202);
        }
    }
    assert!(refused > 500 && queued > 10, "{refused} {queued}");
}

#[tokio::test]
async fn examples_and_ranges_of_bodies_are_in_the_document() {
    let app = TestApp::start().await;
    let document = app.get("/api/openapi.json").await.expect(200).json();
    let schemas = Schemas(document["components"]["schemas"].clone());
    for (name, schema) in schemas.0.as_object().expect("schemas") {
        if let Some(example) = schema.get("example") {
            assert!(schemas.accepts(schema, example), "the example of {name}: {example}");
        }
    }
    let generate = &schemas.0["GenerateRequest"];
    for body in [
        json!({}),
        json!({ "prompt": "" }),
        json!({ "prompt": "a", "steps": 0 }),
        json!({ "prompt": "a", "steps": 1001 }),
        json!({ "prompt": "a", "guidance_scale": 51 }),
        json!({ "prompt": "a", "num_images": 5 }),
        json!({ "prompt": "a", "seed": 1_u64 << 53 }),
        json!({ "prompt": "a", "sampler": "magic" }),
        json!({ "prompt": "a", "x": 1 }),
    ] {
        assert!(!schemas.accepts(generate, &body), "{body}");
        let status = app.post("/generate", body.to_string()).await.status.as_u16();
        assert!(status == 400 || status == 422, "{status}: {body}");
    }
}

#[tokio::test]
async fn statuses_are_documented_where_they_occur() {
    let app = TestApp::start().await;
    let document = app.get("/api/openapi.json").await.expect(200).json();
    for (path, methods) in document["paths"].as_object().expect("paths") {
        for (method, operation) in methods.as_object().expect("methods") {
            let has_body = operation.get("requestBody").is_some();
            let parameters = operation["parameters"].as_array().into_iter().flatten();
            let has_query = parameters.clone().any(|parameter| parameter["in"] == "query");
            let has_path = parameters.clone().any(|parameter| parameter["in"] == "path");
            let expected = [
                (path != "/livez", &["400", "401", "403", "500", "503"][..]),
                (has_body, &["400", "408", "413", "415", "422"]),
                (has_query, &["400", "422"]),
                // Where a 204 says that there is nothing to tell, as of a request that has been answered, an unknown id is no error.
                (has_path && (method != "get" || operation["responses"].get("204").is_none()), &["404"]),
                (path == "/generate", &["429"]),
            ];
            for status in expected.iter().filter(|(applies, _)| *applies).flat_map(|(_, statuses)| *statuses)
            {
                let body = &operation["responses"][status]["content"]["application/json"]["schema"]["$ref"];
                assert_eq!(body, "#/components/schemas/ErrorBody", "{method} {path} lacks {status}");
            }
            let limit = parameters.clone().find(|parameter| parameter["name"] == "limit");
            if let Some(limit) = limit {
                let schema = &limit["schema"]["oneOf"][0];
                assert_eq!((&schema["minimum"], &schema["maximum"]), (&json!(1), &json!(500)), "{path}");
            }
            if (path.ends_with("/file") && !path.contains("/models/")) || path.ends_with("/{side}") {
                let kinds: Vec<_> =
                    operation["responses"]["200"]["content"].as_object().expect("content").keys().collect();
                assert!(
                    kinds.iter().all(|kind| kind.starts_with("image/")) && !kinds.is_empty(),
                    "{path}: {kinds:?}"
                );
            }
        }
    }
}
