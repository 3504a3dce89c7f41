//! Generation of images with the tiny model.

use crate::support::{SIDE, TestApp, config, copy};
use axum::body::Body;
use axum::http::{Request, header};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use candle_core::{Device, Tensor};
use diffusion::fingerprint::Fingerprint;
use diffusion::part_folders::PartFolders;
use domain::id::ModelId;
use domain::image::Sampler;
use domain::model::Model;
use evaluation::safety_checker::SafetyChecker;
use serde_json::{Value, json};
use server::AppState;
use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::Path;

async fn as_json(app: &TestApp, body: Value) -> Value {
    let request = Request::post("/generate")
        .header(header::ACCEPT, "application/json")
        .header(header::CONTENT_TYPE, "application/json")
        .body(Body::from(body.to_string()))
        .expect("a request");
    app.send(request).await.expect(200).json()
}

#[tokio::test]
async fn a_seed_gives_the_same_bytes_by_query_and_by_body() {
    let app = TestApp::start().await;
    let first = app.get("/generate?prompt=a+red+circle&seed=7&steps=&negative_prompt=").await.expect(200);
    assert_eq!(first.header("content-type"), "image/png");
    assert_eq!((first.header("x-seed"), first.header("x-model")), ("7", "tiny"));
    let folder = PartFolders::new(&app.folder.path().join("models/tiny"), None);
    assert_eq!(first.header("x-model-sha256"), Fingerprint::of(&folder).expect("a model").sha256());
    let image = image::load_from_memory(&first.bytes).expect("a PNG");
    assert_eq!((image.width(), image.height()), (SIDE, SIDE));

    let again =
        app.post("/generate", json!({ "prompt": "a red circle", "seed": 7 }).to_string()).await.expect(200);
    assert_eq!(first.bytes, again.bytes);
    let other = app.get("/generate?prompt=a+red+circle&seed=8").await.expect(200);
    assert_ne!(first.bytes, other.bytes);

    let kept = app.get(&format!("/api/v1/images/{}/file", first.header("x-image-id"))).await.expect(200);
    assert_eq!(first.bytes, kept.bytes);
    let record = app.get(&format!("/api/v1/images/{}", first.header("x-image-id"))).await.expect(200).json();
    assert_eq!((&record["purpose"], &record["params"]["seed"]), (&json!("generation"), &json!(7)));
    let listed = app.get("/api/v1/images?purpose=generation&prompt=RED&limit=2").await.expect(200).json();
    assert_eq!(listed["items"].as_array().map(Vec::len), Some(2));
}

#[tokio::test]
async fn a_json_response_has_every_image_with_its_seed() {
    let app = TestApp::start().await;
    let answer =
        as_json(&app, json!({ "prompt": "a cat", "seed": 5, "num_images": 3, "sampler": "euler" })).await;
    let images = answer["images"].as_array().expect("a list");
    assert_eq!(images.iter().map(|i| i["seed"].as_u64().expect("a seed")).collect::<Vec<_>>(), [5, 6, 7]);
    assert_eq!((&answer["model"], &answer["params"]["sampler"]), (&json!("tiny"), &json!("euler")));
    // An image has the same bytes in a batch and alone.
    let alone = app.get("/generate?prompt=a+cat&seed=6&sampler=euler").await.expect(200);
    let second = STANDARD.decode(images[1]["b64"].as_str().expect("base64")).expect("base64");
    assert_eq!(second, alone.bytes);
}

#[tokio::test]
async fn every_sampler_is_deterministic_and_gives_its_own_image() {
    let app = TestApp::start().await;
    let mut images = HashSet::new();
    for sampler in Sampler::ALL {
        let address = format!("/generate?prompt=a+cat&seed=5&steps=4&sampler={sampler}");
        let image = app.get(&address).await.expect(200);
        assert_eq!(image.bytes, app.get(&address).await.expect(200).bytes, "{sampler}");
        let id = image.header("x-image-id");
        let record = app.get(&format!("/api/v1/images/{id}")).await.expect(200).json();
        assert_eq!(record["params"]["sampler"], sampler.as_str());
        images.insert(image.bytes);
    }
    // Euler ancestral and DDPM are the same method in two notations, so their images may be equal to the last bit.
    assert!(images.len() >= Sampler::ALL.len() - 1, "{} different images", images.len());
    // A setting that a sampler does not support is rejected by field.
    let reply = app.get("/generate?prompt=a+cat&steps=51&sampler=lcm").await;
    reply.refuses(422, "steps");
}

/// -1 means random, as in other tools.
#[tokio::test]
async fn seed_minus_1_is_drawn() {
    let app = TestApp::start().await;
    let mut drawn = Vec::new();
    for _ in 0..2 {
        let by_query = app.get("/generate?prompt=a+cat&seed=-1").await.expect(200);
        let seed = by_query.header("x-seed").to_owned();
        let again = app.get(&format!("/generate?prompt=a+cat&seed={seed}")).await.expect(200);
        assert_eq!(by_query.bytes, again.bytes);
        drawn.push(seed.parse::<u64>().expect("a seed"));
        let by_body = as_json(&app, json!({ "prompt": "a cat", "seed": -1, "num_images": 2 })).await;
        let seed = by_body["params"]["seed"].as_u64().expect("a seed");
        assert_eq!(
            (&by_body["images"][0]["seed"], &by_body["images"][1]["seed"]),
            (&json!(seed), &json!(seed + 1))
        );
        drawn.push(seed);
    }
    drawn.sort_unstable();
    drawn.dedup();
    assert_eq!(drawn.len(), 4);
    let message = app.get("/generate?prompt=a+cat&seed=-2").await.refuses(422, "seed");
    assert!(message.contains("-2") && message.contains("-1 for a random one"), "{message}");
}

/// HEAD is checked like GET, has its headers, and leaves nothing behind.
#[tokio::test]
async fn head_generates_nothing() {
    let app = TestApp::start().await;
    let head = |query: &str| {
        app.send(Request::head(format!("/generate?{query}")).body(Body::empty()).expect("a request"))
    };
    let reply = head("prompt=a+cat&seed=3&steps=1000").await.expect(200);
    assert_eq!(
        (reply.header("content-type"), reply.header("x-model"), reply.header("x-image-id")),
        ("image/png", "tiny", "")
    );
    assert!(reply.bytes.is_empty());
    head("prompt=a+cat&steps=0").await.expect(422);
    head("prompt=a+cat&model=nobody").await.expect(422);
    assert_eq!(app.get("/api/v1/images").await.expect(200).json()["items"], json!([]));
    let drawn = app.get("/generate?prompt=a+cat&seed=3").await.expect(200);
    assert_eq!(drawn.header("x-model-sha256"), reply.header("x-model-sha256"));
    assert_eq!(app.get("/api/v1/images").await.expect(200).json()["items"].as_array().map(Vec::len), Some(1));
}

/// The end of a prompt that the text encoder does not read is told.
#[tokio::test]
async fn cut_prompts_are_told() {
    let app = TestApp::start().await;
    let long = "a red circle ".repeat(40);
    let request =
        json!({ "prompt": long, "negative_prompt": "blue ".repeat(76), "seed": 5, "num_images": 2 });
    let answer = as_json(&app, request).await;
    let cut = answer["cut"].as_array().expect("cut texts");
    assert_eq!(cut.iter().map(|cut| &cut["field"]).collect::<Vec<_>>(), ["prompt", "negative_prompt"]);
    for (cut, whole) in cut.iter().zip([long.trim(), "blue ".repeat(76).trim()]) {
        let end = cut["text"].as_str().expect("a text");
        assert!(!end.is_empty() && whole.ends_with(end) && cut["tokens"].as_u64() > Some(0), "{cut}");
    }
    // The text that is left gives the same image.
    let end = cut[0]["text"].as_str().expect("a text");
    let kept = long.trim().strip_suffix(end).expect("the end");
    let query = |prompt: &str| {
        let query = form_urlencoded::Serializer::new(String::new()).append_pair("prompt", prompt).finish();
        format!("/generate?{query}&seed=5")
    };
    let (whole, kept) = (app.get(&query(&long)).await.expect(200), app.get(&query(kept)).await.expect(200));
    assert_eq!(whole.bytes, kept.bytes);
    assert_eq!(whole.header("x-prompt-tokens-cut"), cut[0]["tokens"].to_string());
    assert_eq!((kept.header("x-prompt-tokens-cut"), whole.header("x-negative-prompt-tokens-cut")), ("", ""));
    let short = as_json(&app, json!({ "prompt": "a red circle" })).await;
    assert_eq!(short.get("cut"), None);
}

/// Everything that decides an image decides the fingerprint, and files that change on disk are noticed.
#[tokio::test]
async fn the_fingerprint_covers_more_than_the_unet() {
    let app = TestApp::start().await;
    let models = app.folder.path().join("models");
    for name in ["copy", "scheduled"] {
        copy(&models.join("tiny"), &models.join(name));
    }
    reschedule(&models.join("scheduled"));
    let app = TestApp::start_in(app.folder, &[]).await;
    let draw = async |name: &str| {
        let reply = app.get(&format!("/generate?prompt=a+cat&seed=3&model={name}")).await.expect(200);
        (reply.header("x-model-sha256").to_owned(), reply.bytes)
    };
    let (tiny, copied, scheduled) = (draw("tiny").await, draw("copy").await, draw("scheduled").await);
    assert_eq!(app.model("tiny").await.sha256, app.model("scheduled").await.sha256, "one UNet");
    assert_eq!(tiny, copied);
    assert!(tiny.0 != scheduled.0 && tiny.1 != scheduled.1);
    // While the server runs.
    reschedule(&app.folder.path().join("models/copy"));
    assert_eq!(draw("copy").await, scheduled);
    assert_eq!(draw("tiny").await, tiny);
    let answer = as_json(&app, json!({ "prompt": "a cat", "seed": 3, "model": "copy" })).await;
    assert_eq!(answer["model_sha256"], scheduled.0);
}

/// Gives a model another noise schedule.
fn reschedule(model: &Path) {
    let file = model.join("scheduler/scheduler_config.json");
    let mut config: Value = serde_json::from_slice(&fs::read(&file).expect("the config")).expect("JSON");
    config["beta_end"] = json!(0.02);
    fs::write(&file, config.to_string()).expect("written");
}

#[tokio::test]
async fn a_random_seed_is_returned() {
    let app = TestApp::start().await;
    let first = app.get("/generate?prompt=a+cat").await.expect(200);
    let again = app.get(&format!("/generate?prompt=a+cat&seed={}", first.header("x-seed"))).await.expect(200);
    assert_eq!(first.bytes, again.bytes);
    let other = app.get("/generate?prompt=a+cat").await.expect(200);
    assert_ne!(first.header("x-seed"), other.header("x-seed"));
}

#[tokio::test]
async fn concurrent_requests_get_their_own_images_with_and_without_batching() {
    let alone = TestApp::start().await;
    let together = TestApp::start_with(&["--batch-size", "4"]).await;
    let addresses: Vec<String> = (0..6).map(|seed| format!("/generate?prompt=a+dog&seed={seed}")).collect();
    let mut expected = Vec::new();
    for address in &addresses {
        expected.push(alone.get(address).await.expect(200).bytes);
    }
    for app in [alone, together] {
        let (a, b, c, d, e, f) = tokio::join!(
            app.get(&addresses[0]),
            app.get(&addresses[1]),
            app.get(&addresses[2]),
            app.get(&addresses[3]),
            app.get(&addresses[4]),
            app.get(&addresses[5]),
        );
        for (reply, expected) in [a, b, c, d, e, f].into_iter().zip(&expected) {
            let (actual, expected) = (pixels(&reply.expect(200).bytes), pixels(expected));
            // The last bits of a sum may depend on the batch; another request's image would differ everywhere.
            let difference = actual.iter().zip(&expected).map(|(a, b)| a.abs_diff(*b)).max();
            assert!(difference <= Some(2), "{difference:?}");
        }
    }
}

fn pixels(png: &[u8]) -> Vec<u8> {
    image::load_from_memory(png).expect("a PNG").to_rgb8().into_raw()
}

#[tokio::test]
async fn a_full_queue_is_a_429_and_a_disconnected_client_frees_its_slot() {
    let app = TestApp::start_with(&["--queue-size", "1"]).await;
    let router = app.router.clone();
    let occupy = move || {
        let request =
            Request::get("/generate?prompt=a+cat&steps=1000").body(Body::empty()).expect("a request");
        tokio::spawn(tower::ServiceExt::oneshot(router.clone(), request))
    };
    let mut first = occupy();
    let refused = loop {
        let reply = app.get("/generate?prompt=a+cat&steps=1").await;
        if reply.status != 200 {
            break reply;
        }
        // The short request took the only slot first, and the long one was rejected.
        if first.is_finished() {
            first = occupy();
        }
    };
    let reply = refused.expect(429);
    assert_eq!(reply.json()["error"]["code"], "queue_full");
    assert!(!reply.header("retry-after").is_empty());
    first.abort();
    let freed = tokio::time::timeout(std::time::Duration::from_secs(20), async {
        while app.get("/generate?prompt=a+cat&steps=1").await.status != 200 {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    });
    freed.await.expect("the abandoned request still holds its slot");
}

#[tokio::test]
async fn damaged_models_are_reported_by_file_and_other_models_still_work() {
    let app = TestApp::start().await;
    let models = app.folder.path().join("models");
    for name in ["cut", "foreign", "unreadable"] {
        copy(&models.join("tiny"), &models.join(name));
    }
    let weights = models.join("cut/unet/diffusion_pytorch_model.safetensors");
    let bytes = fs::read(&weights).expect("weights");
    fs::write(&weights, &bytes[..bytes.len() / 2]).expect("a cut file");
    fs::copy(
        models.join("tiny/vae/diffusion_pytorch_model.safetensors"),
        models.join("foreign/unet/diffusion_pytorch_model.safetensors"),
    )
    .expect("another network's weights");
    fs::write(models.join("unreadable/unet/config.json"), "{ not json").expect("a broken config");

    let app = TestApp::start_in(app.folder, &[]).await;
    for name in ["cut", "foreign"] {
        let reply = app.get(&format!("/generate?prompt=a&model={name}")).await.expect(503);
        let message = reply.json()["error"]["message"].as_str().expect("a message").to_owned();
        assert!(message.contains("diffusion_pytorch_model.safetensors"), "{message}");
        assert!(!message.contains("/tmp"), "the message contains a path of the server: {message}");
    }
    let message = app.get("/generate?prompt=a&model=foreign").await.json()["error"]["message"].to_string();
    assert!(message.contains("tensor"), "{message}");
    app.get("/generate?prompt=a&model=tiny").await.expect(200);

    let listed = app.get("/api/v1/models").await.expect(200).json();
    let problem = |name: &str| {
        let items = listed["items"].as_array().expect("a list");
        items.iter().find(|item| item["model"]["name"] == name).expect("a model")["problem"].clone()
    };
    assert!(problem("unreadable").as_str().is_some_and(|problem| problem.contains("config.json")));
    assert_eq!(problem("tiny"), Value::Null);
}

#[tokio::test]
async fn registering_again_changes_nothing_and_changed_weights_are_rejected() {
    let app = TestApp::start().await;
    let before = app.model("tiny").await;
    let app = TestApp::start_in(app.folder, &[]).await;
    assert_eq!(before, app.model("tiny").await);
    app.get("/readyz").await.expect(200);

    let weights = app.folder.path().join("models/tiny/unet/diffusion_pytorch_model.safetensors");
    let mut bytes = fs::read(&weights).expect("weights");
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    fs::write(&weights, bytes).expect("other weights");
    let app = TestApp::start_in(app.folder, &[]).await;
    assert_eq!(before, app.model("tiny").await);
    app.get("/readyz").await.expect(503);
    let reply = app.get("/generate?prompt=a").await.expect(503);
    assert!(reply.text().contains("weights differ"), "{}", reply.text());
}

/// An imported UNet uses the other parts of the base that it names. An unknown base is reported.
#[tokio::test]
async fn an_imported_unet_uses_the_parts_of_its_base() {
    let app = TestApp::start().await;
    let models = app.folder.path().join("models");
    for (name, base) in [("over", "tiny"), ("lost", "absent")] {
        copy(&models.join("tiny/unet"), &models.join(name).join("unet"));
        let origin = format!("{{\"source\": \"someone/else\", \"base\": \"{base}\"}}");
        fs::write(models.join(name).join("origin.json"), origin).expect("room");
    }
    let app = TestApp::start_in(app.folder, &[]).await;
    let whole = app.get("/generate?prompt=a+cat&seed=3&model=tiny").await.expect(200);
    let over = app.get("/generate?prompt=a+cat&seed=3&model=over").await.expect(200);
    assert_eq!(whole.bytes, over.bytes);
    let row = app.model("over").await;
    assert_eq!(
        (row.base_id, row.description.as_str()),
        (Some(app.model("tiny").await.id), "Imported from someone/else.")
    );
    let reply = app.get("/generate?prompt=a&model=lost").await.expect(503);
    assert!(reply.text().contains("absent"), "{}", reply.text());
}

#[tokio::test]
async fn a_model_trained_from_a_trained_model_uses_the_parts_of_the_first_base() {
    let app = TestApp::start().await;
    let unet = app.folder.path().join("models/tiny/unet");
    let mut above = app.model("tiny").await;
    for name in ["child", "grandchild"] {
        let folder = format!("models/{name}");
        copy(&unet, &app.artifacts.path(&folder).expect("a key").join("unet"));
        let now = app.now();
        let id = ModelId::new(now, [7; 10]);
        let model =
            Model { id, name: name.into(), folder, base_id: Some(above.id), created_at: now, ..above };
        app.store.insert_model(&model, None).await.expect("a new model");
        above = model;
    }
    let first = app.get("/generate?prompt=a+cat&seed=3&model=tiny").await.expect(200);
    let last = app.get("/generate?prompt=a+cat&seed=3&model=grandchild").await.expect(200);
    assert_eq!(first.bytes, last.bytes);
}

#[tokio::test]
async fn filtered_prompts_are_rejected() {
    let app = TestApp::start_with(&["--prompt-filter", "--refused-terms", "blood bath,clown"]).await;
    for prompt in ["a+nude+in+oil", "a+Cl0wn", "blood+bath!"] {
        app.get(&format!("/generate?prompt={prompt}&steps=1")).await.refuses(422, "prompt");
    }
    app.get("/generate?prompt=a+bath&steps=1").await.expect(200);
    // Without the options, nothing is filtered.
    TestApp::start().await.get("/generate?prompt=a+clown&steps=1").await.expect(200);
}

/// A safety checker with random weights, where only the first concept can be flagged, above `threshold`.
fn checker(folder: &Path, threshold: f32) -> String {
    let fixture = concat!(env!("CARGO_MANIFEST_DIR"), "/../crates/evaluation/tests/fixtures/safety_checker");
    copy(Path::new(fixture), folder);
    let weights = folder.join("model.safetensors");
    let mut tensors: HashMap<String, Tensor> =
        candle_core::safetensors::load(&weights, &Device::Cpu).expect("weights");
    for (name, first) in [("concept_embeds_weights", threshold), ("special_care_embeds_weights", 2.0)] {
        let mut thresholds = vec![2f32; tensors[name].elem_count()];
        thresholds[0] = first;
        let count = thresholds.len();
        tensors.insert(name.into(), Tensor::from_vec(thresholds, count, &Device::Cpu).expect("a tensor"));
    }
    candle_core::safetensors::save(&tensors, weights).expect("saved");
    folder.display().to_string()
}

#[tokio::test]
async fn flagged_images_are_neither_returned_nor_stored() {
    let scratch = tempfile::tempdir().expect("a folder");
    let folder = scratch.path().join("safety_checker");

    // Every image is flagged.
    let app = TestApp::start_with(&["--safety-checker", &checker(&folder, -2.0)]).await;
    let reply = app.get("/generate?prompt=a+cat&seed=7").await.expect(422);
    let error = &reply.json()["error"];
    let message = error["message"].as_str().expect("a sentence");
    assert_eq!(error["code"], "flagged");
    assert!(message.contains("seed 7") && message.contains("another seed"), "{message}");
    let kept = app.get("/api/v1/images").await.expect(200).json();
    assert_eq!(kept["items"], json!([]));

    // No image is flagged, and the images are the same as without a checker.
    let free = TestApp::start().await;
    let four = json!({ "prompt": "a cat", "seed": 5, "num_images": 4 });
    let unguarded = as_json(&free, four.clone()).await;
    assert_eq!(unguarded.get("flagged"), None);
    let app = TestApp::start_with(&["--safety-checker", &checker(&folder, 2.0)]).await;
    assert_eq!(as_json(&app, four.clone()).await["images"][3]["b64"], unguarded["images"][3]["b64"]);

    // Some images are flagged: the others are returned, with the seeds of the flagged ones.
    let checker_folder = checker(&folder, 0.0);
    let network = SafetyChecker::open(&folder, &Device::Cpu).expect("opens");
    let decoded = unguarded["images"].as_array().expect("a list").iter().map(|image| {
        let png = STANDARD.decode(image["b64"].as_str().expect("base64")).expect("base64");
        image::load_from_memory(&png).expect("a PNG").into_rgb8()
    });
    let verdicts = network.check(&decoded.collect::<Vec<_>>()).expect("verdicts");
    let mut cosines: Vec<(f32, u64)> = verdicts.iter().map(|v| v.concepts[0]).zip(5u64..).collect();
    cosines.sort_by(|a, b| a.0.total_cmp(&b.0));
    let widest = (0..3)
        .max_by(|&a, &b| (cosines[a + 1].0 - cosines[a].0).total_cmp(&(cosines[b + 1].0 - cosines[b].0)));
    let widest = widest.expect("a gap");
    checker(&folder, f32::midpoint(cosines[widest].0, cosines[widest + 1].0));
    let app = TestApp::start_with(&["--safety-checker", &checker_folder]).await;
    let answer = as_json(&app, four).await;
    let seeds = |from: &[(f32, u64)]| {
        let mut seeds: Vec<u64> = from.iter().map(|(_, seed)| *seed).collect();
        seeds.sort_unstable();
        seeds
    };
    assert_eq!(answer["flagged"], json!(seeds(&cosines[widest + 1..])));
    let images = answer["images"].as_array().expect("a list");
    let sent: Vec<u64> = images.iter().map(|image| image["seed"].as_u64().expect("a seed")).collect();
    assert_eq!(sent, seeds(&cosines[..=widest]));
    for image in images {
        let place = image["seed"].as_u64().expect("a seed") - 5;
        assert_eq!(image["b64"], unguarded["images"][place as usize]["b64"]);
    }
    let kept = app.get("/api/v1/images").await.expect(200).json();
    assert_eq!(kept["items"].as_array().map(Vec::len), Some(sent.len()));
}

#[tokio::test]
async fn a_missing_safety_checker_prevents_the_start() {
    let scratch = tempfile::tempdir().expect("a folder");
    let config = config(scratch.path(), &["--safety-checker", "/nowhere/safety_checker"]);
    let problem = format!("{:#}", AppState::open(&config).await.expect_err("no checker"));
    assert!(problem.contains("SAFETY_CHECKER") && problem.contains("/nowhere/safety_checker"), "{problem}");
}
