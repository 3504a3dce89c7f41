//! Invalid input is rejected with the name of the field and a remedy.

use crate::support::{TestApp, train_spec};
use axum::body::Body;
use axum::http::Request;
use domain::image::Sampler;
use serde_json::json;

#[tokio::test]
async fn invalid_bodies_of_generate_are_rejected_by_field() {
    let app = TestApp::start().await;
    let cases = [
        (json!({ "prompt": "" }), 422, "prompt"),
        (json!({ "prompt": "   " }), 422, "prompt"),
        (json!({}), 400, "prompt"),
        (json!({ "prompt": "x".repeat(10_000) }), 422, "prompt"),
        (json!({ "prompt": 7 }), 400, "prompt"),
        (json!({ "prompt": "a", "steps": -1 }), 400, "steps"),
        (json!({ "prompt": "a", "steps": 0 }), 422, "steps"),
        (json!({ "prompt": "a", "steps": 5000 }), 422, "steps"),
        (json!({ "prompt": "a", "steps": "many" }), 400, "steps"),
        (json!({ "prompt": "a", "guidance_scale": -1.5 }), 422, "guidance_scale"),
        (json!({ "prompt": "a", "guidance_scale": 1e300 }), 422, "guidance_scale"),
        (json!({ "prompt": "a", "seed": -3 }), 422, "seed"),
        (json!({ "prompt": "a", "seed": i64::MIN }), 422, "seed"),
        (json!({ "prompt": "a", "seed": 1.5 }), 400, "seed"),
        (json!({ "prompt": "a", "seed": "7" }), 400, "seed"),
        (json!({ "prompt": "a", "seed": u64::MAX }), 422, "seed"),
        (json!({ "prompt": "a", "width": 7 }), 422, "width"),
        (json!({ "prompt": "a", "height": 100_000 }), 422, "height"),
        (json!({ "prompt": "a", "model": "no-such-model" }), 422, "model"),
        (json!({ "prompt": "a", "sampler": "magic" }), 400, "sampler"),
        (json!({ "prompt": "a", "colour_of_money": 1 }), 400, "colour_of_money"),
        (json!({ "prompt": "a", "num_images": 0 }), 422, "num_images"),
        (json!({ "prompt": "a", "num_images": 1000 }), 422, "num_images"),
        (json!({ "prompt": "a", "num_images": 2 }), 422, "num_images"),
    ];
    for (body, status, field) in cases {
        app.post("/generate", body.to_string()).await.refuses(status, field);
    }
    let unknown =
        app.post("/generate", json!({ "prompt": "a", "sampler": "magic" }).to_string()).await.text();
    assert!(Sampler::ALL.iter().all(|sampler| unknown.contains(sampler.as_str())), "{unknown}");
    app.post("/generate", "{\"prompt\":\"a\",\"guidance_scale\":NaN}").await.refuses(400, "guidance_scale");
}

#[tokio::test]
async fn malformed_json_is_a_400_and_an_oversized_body_a_413() {
    let app = TestApp::start().await;
    for body in ["{\"prompt\": ", "", "[1,2]", "{\"prompt\":\"a\"} and more"] {
        let reply = app.post("/generate", body).await.expect(400);
        assert_eq!(reply.json()["error"]["code"], "invalid", "{body}");
    }
    let huge = json!({ "prompt": "x".repeat(10_000_000) }).to_string();
    let reply = app.post("/generate", huge).await.expect(413);
    assert_eq!(reply.json()["error"]["code"], "too_large");
}

#[tokio::test]
async fn invalid_queries_are_rejected_by_field() {
    let app = TestApp::start().await;
    for (query, status, field) in [
        ("", 400, "prompt"),
        ("prompt=", 422, "prompt"),
        ("prompt=a&guidance_scale=NaN", 422, "guidance_scale"),
        ("prompt=a&steps=-1", 400, "steps"),
        ("prompt=a&steps=1e3", 400, "steps"),
        ("prompt=a&width=9", 422, "width"),
        ("prompt=a&sampler=magic", 400, "sampler"),
        ("prompt=a&colour_of_money=1", 400, "colour_of_money"),
        ("prompt=a&seed=1&seed=2", 400, "seed"),
        ("prompt=a&seed=-2", 422, "seed"),
        ("prompt=a&seed=one", 400, "seed"),
        ("prompt=a&num_images=3", 422, "num_images"),
        ("prompt=a&model=no-such-model", 422, "model"),
    ] {
        app.get(&format!("/generate?{query}")).await.refuses(status, field);
    }
    let reply = app.get("/generate?prompt=a&steps=1e3").await.expect(400);
    let message = reply.json()["error"]["message"].as_str().expect("a message").to_owned();
    assert!(message.contains("\"1e3\""), "the value is not quoted: {message}");
}

#[tokio::test]
async fn invalid_specs_are_rejected_by_field_and_not_queued() {
    let app = TestApp::start().await;
    let with = |pointer: &str, value: serde_json::Value| {
        let mut spec = train_spec("refused");
        *spec.pointer_mut(pointer).expect("a field of the spec") = value;
        spec.to_string()
    };
    for (body, status, field) in [
        (with("/kind", json!("paint")), 422, "kind"),
        (with("/name", json!("../escape")), 422, "name"),
        (with("/base", json!("no-such-model")), 422, "base"),
        (with("/objective/beta", json!(-1.0)), 422, "objective.beta"),
        (with("/objective", json!({ "kind": "diffusion_dpo" })), 400, "objective.beta"),
        (with("/data/set", json!("images")), 422, "data.set"),
        (with("/steps", json!(0)), 422, "steps"),
        (with("/steps", json!("many")), 400, "steps"),
        (with("/batch_size", json!(-4)), 400, "batch_size"),
    ] {
        app.post("/api/v1/jobs", body).await.refuses(status, field);
    }
    let mut unknown = train_spec("refused");
    unknown["colour_of_money"] = json!(1);
    app.post("/api/v1/jobs", unknown.to_string()).await.refuses(400, "colour_of_money");
    for field in ["horizontal_flip", "crop", "micro_conditioning"] {
        let mut sideways = train_spec("refused");
        sideways[field] = json!("sideways");
        app.post("/api/v1/jobs", sideways.to_string()).await.refuses(400, field);
    }
    assert_eq!(app.get("/api/v1/jobs").await.expect(200).json()["items"], json!([]));
}

#[tokio::test]
async fn invalid_filters_ids_and_methods_are_rejected() {
    let app = TestApp::start().await;
    app.get("/api/v1/runs?limit=0").await.refuses(422, "limit");
    app.get("/api/v1/images?limit=-1").await.refuses(400, "limit");
    app.get("/api/v1/images?purpose=fun").await.refuses(400, "purpose");
    app.get("/api/v1/jobs?state=asleep").await.refuses(400, "state");
    app.get("/api/v1/votes?offset=3").await.refuses(400, "offset");
    for path in ["jobs", "runs", "models", "images"] {
        for id in ["not-an-id", "0199c5a8-7d3e-7f00-8000-0123456789ab", "%00"] {
            let reply = app.get(&format!("/api/v1/{path}/{id}")).await.expect(404);
            assert_eq!(reply.json()["error"]["code"], "not_found", "{path}/{id}");
        }
    }
    let reply = app.get("/api/v1/no-such-thing").await.expect(404);
    assert_eq!(reply.json()["error"]["code"], "not_found");
    for (path, allowed) in [("/api/v1/runs", "GET"), ("/api/openapi.json", "GET")] {
        let reply = app.post(path, "{}").await.expect(405);
        assert_eq!(reply.json()["error"]["code"], "invalid");
        let message = format!("Method not allowed; use {allowed}.");
        assert_eq!(reply.json()["error"]["message"], message, "{path}");
    }
    let request = Request::delete("/api/v1/jobs").body(Body::empty()).expect("a request");
    let reply = app.send(request).await.expect(405);
    assert_eq!(reply.json()["error"]["message"], "Method not allowed; use GET or POST.");
}

/// Routes with a body, and a body that each accepts.
async fn bodies(app: &TestApp) -> Vec<(&'static str, String)> {
    vec![
        ("/generate", json!({ "prompt": "a" }).to_string()),
        ("/api/v1/jobs", train_spec("accepted").to_string()),
        ("/api/v1/comparisons", json!({ "models": ["tiny"], "prompts": ["a"] }).to_string()),
        ("/api/v1/matchups", json!({ "image_a": app.now_id(), "image_b": app.now_id() }).to_string()),
        (
            "/api/v1/datasets/check",
            json!({ "spec": "[data]\nsource = 'shapes'\nset = 'winter'\ncount = 2" }).to_string(),
        ),
    ]
}

#[tokio::test]
async fn the_type_and_the_encoding_of_a_body_are_asked_for() {
    let app = TestApp::start().await;
    let send = |path: &str, headers: &[(&str, &str)], body: &str| {
        let builder =
            headers.iter().fold(Request::post(path), |builder, (name, value)| builder.header(*name, *value));
        builder.body(Body::from(body.to_owned())).expect("a request")
    };
    for (path, body) in bodies(&app).await {
        for headers in [
            &[][..],
            &[("content-type", "text/plain")],
            &[("content-type", "application/x-www-form-urlencoded")],
            &[("content-type", "application/jsonp")],
            &[("content-type", "application/json; charset=utf-16")],
            &[("content-type", "application/json"), ("content-type", "text/plain")],
            &[("content-type", "application/json"), ("content-encoding", "gzip")],
        ] {
            let reply = app.send(send(path, headers, &body)).await.expect(415);
            assert_eq!(reply.json()["error"]["code"], "unsupported", "{path} {headers:?}");
        }
        for (index, headers) in [
            &[("content-type", "Application/JSON; charset=UTF-8")][..],
            &[("content-type", "application/json"), ("content-encoding", "identity")],
        ]
        .into_iter()
        .enumerate()
        {
            // No two runs have one name.
            let body = body.replace("\"accepted\"", &format!("\"accepted-{index}\""));
            let reply = app.send(send(path, headers, &body)).await;
            assert!(
                reply.status.is_success() || path == "/api/v1/matchups",
                "{path} {headers:?}: {}",
                reply.text()
            );
        }
    }
    for path in ["/judge/vote", "/judge/compare"] {
        app.send(send(path, &[("content-type", "application/json")], "{}")).await.expect(415);
        app.send(send(path, &[], "choice=left")).await.expect(415);
    }
}

#[tokio::test]
async fn a_repeated_key_and_a_list_for_an_object_are_rejected_on_every_route() {
    let app = TestApp::start().await;
    for (path, body) in bodies(&app).await {
        let first = body[1..].split('"').nth(1).expect("a key").to_owned();
        let repeated = format!("{{\"{first}\": 1, {}", &body[1..]);
        app.post(path, repeated).await.refuses(400, &first);
        for list in ["[]", "[\"a\"]", "[1, 2, 3]", "null", "7", "\"a\""] {
            let reply = app.post(path, list).await.expect(400);
            assert_eq!(reply.json()["error"]["code"], "invalid", "{path} {list}");
        }
    }
    let spec = |field: &str, value: serde_json::Value| {
        let mut spec = train_spec("refused");
        spec[field] = value;
        spec.to_string()
    };
    for (body, field) in [
        (spec("objective", json!(["diff_contrast", 2000.0, 0.1])), "objective"),
        (spec("learning_rate", json!([1e-5])), "learning_rate"),
        (spec("memory", json!([])), "memory"),
        (spec("lora", json!([4])), "lora"),
        (
            spec("data", json!({ "source": "folder", "folder": "a", "prompt_filter": [true] })),
            "data.prompt_filter",
        ),
    ] {
        app.post("/api/v1/jobs", body).await.refuses(400, field);
    }
    app.post("/generate", r#"{"prompt": "a", "lora": [["a", 1]]}"#).await.refuses(400, "lora[0]");
    app.post("/generate", r#"{"prompt": "a", "lora": [{"model": "a", "model": "b"}]}"#)
        .await
        .refuses(400, "lora[0].model");
    let twice = r#"{"data": {"source": "shapes", "set": "winter", "set": "sketch", "count": 2}}"#;
    app.post("/api/v1/datasets/check", json!({ "spec": twice }).to_string()).await.refuses(422, "spec");
    assert_eq!(app.get("/api/v1/jobs").await.expect(200).json()["items"], json!([]));
    let form = Request::post("/judge/compare")
        .header("content-type", "application/x-www-form-urlencoded")
        .body(Body::from("model=tiny&against=tiny&model=other"))
        .expect("a request");
    app.send(form).await.refuses(400, "model");
}
