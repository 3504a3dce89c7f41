//! Generation with LoRA adapters that change from request to request.

use crate::support::{SIDE, TestApp, copy};
use candle_core::{Device, Tensor};
use diffusion::fingerprint::Fingerprint;
use domain::id::ModelId;
use domain::model::Model;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::fs;
use std::path::Path;

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../crates/diffusion/tests/fixtures");

/// A server with the tiny model, an adapter for it, and an adapter for another architecture.
pub(crate) async fn start(arguments: &[&str]) -> TestApp {
    let folder = tempfile::tempdir().expect("a scratch folder");
    let models = folder.path().join("models");
    copy(&Path::new(FIXTURES).join("model"), &models.join("tiny"));
    for (name, file) in
        [("snow", "lora_attention/diffusers.safetensors"), ("foreign", "lora_everywhere/peft.safetensors")]
    {
        let adapter = models.join(name);
        fs::create_dir_all(&adapter).expect("a folder");
        fs::copy(Path::new(FIXTURES).join(file), adapter.join("pytorch_lora_weights.safetensors"))
            .expect("a copy");
    }
    TestApp::start_in(folder, arguments).await
}

/// The PNG of a fixed prompt and seed.
async fn generate(app: &TestApp, lora: Value) -> Vec<u8> {
    let body = json!({ "prompt": "a red circle", "seed": 7, "model": "tiny", "lora": lora });
    let reply = app.post("/generate", body.to_string()).await.expect(200);
    let image = image::load_from_memory(&reply.bytes).expect("a PNG");
    assert_eq!((image.width(), image.height()), (SIDE, SIDE));
    reply.bytes
}

#[tokio::test]
async fn a_request_gives_the_same_bytes_whatever_adapters_were_applied_before() {
    let app = start(&[]).await;
    let plain = generate(&app, json!([])).await;
    let half = generate(&app, json!([{ "model": "snow", "scale": 0.5 }])).await;
    let whole = generate(&app, json!([{ "model": "snow" }])).await;
    let both =
        generate(&app, json!([{ "model": "snow", "scale": 0.25 }, { "model": "snow", "scale": -0.5 }])).await;
    for (a, b) in [(&plain, &half), (&half, &whole), (&plain, &whole), (&plain, &both), (&half, &both)] {
        assert_ne!(a, b);
    }
    assert_eq!(plain, generate(&app, json!([])).await);
    assert_eq!(half, generate(&app, json!([{ "model": "snow", "scale": 0.5 }])).await);
    assert_eq!(plain, generate(&app, json!([{ "model": "snow", "scale": 0.0 }])).await);
    assert_eq!(whole, generate(&app, json!([{ "model": "snow", "scale": 1.0 }])).await);
    // A server without earlier requests gives the same bytes.
    let fresh = start(&[]).await;
    assert_eq!(half, generate(&fresh, json!([{ "model": "snow", "scale": 0.5 }])).await);
}

/// Requests with different adapters never share a batch.
#[tokio::test]
async fn concurrent_requests_get_their_own_adapters() {
    let app = start(&["--batch-size", "4"]).await;
    let pixels = |png: &[u8]| image::load_from_memory(png).expect("a PNG").to_rgb8().into_raw();
    let uses = [json!([]), json!([{ "model": "snow", "scale": 0.5 }]), json!([{ "model": "snow" }])];
    let mut alone = Vec::new();
    for lora in &uses {
        alone.push(pixels(&generate(&app, lora.clone()).await));
    }
    let (a, b, c, d, e) = tokio::join!(
        generate(&app, uses[0].clone()),
        generate(&app, uses[1].clone()),
        generate(&app, uses[2].clone()),
        generate(&app, uses[1].clone()),
        generate(&app, uses[0].clone()),
    );
    for (png, which) in [(a, 0), (b, 1), (c, 2), (d, 1), (e, 0)] {
        let difference = pixels(&png).iter().zip(&alone[which]).map(|(a, b)| a.abs_diff(*b)).max();
        assert!(difference <= Some(2), "{which}: {difference:?}");
    }
}

/// The adapters of an image are returned and stored, in a form that requests the same image again.
#[tokio::test]
async fn adapters_are_returned_and_stored() {
    let app = start(&[]).await;
    let reply = app.get("/generate?prompt=a+red+circle&seed=7&model=tiny&lora=snow:0.5").await.expect(200);
    assert_eq!(reply.bytes, generate(&app, json!([{ "model": "snow", "scale": 0.5 }])).await);
    let file = app.folder.path().join("models/snow/pytorch_lora_weights.safetensors");
    let sha256 = Fingerprint::of_adapter(&file).expect("an adapter").sha256();
    let stored = json!([{ "model": "snow", "scale": 0.5, "sha256": sha256 }]);
    let record = app.get(&format!("/api/v1/images/{}", reply.header("x-image-id"))).await.expect(200).json();
    assert_eq!(record["params"]["lora"], stored);
    assert_eq!(reply.bytes, generate(&app, stored).await);
    // Earlier versions stored the SHA-256 of the weights file.
    let weights = app.model("snow").await.sha256;
    let earlier = json!([{ "model": "snow", "scale": 0.5, "sha256": weights }]);
    assert_eq!(reply.bytes, generate(&app, earlier).await);

    let other = json!({ "prompt": "p", "model": "tiny", "lora": [{ "model": "snow", "sha256": "00" }] });
    app.post("/generate", other.to_string()).await.refuses(422, "lora[0].sha256");
}

#[tokio::test]
async fn invalid_adapters_are_rejected_by_field() {
    let app = start(&[]).await;
    let refuses = async |lora: Value, status: u16, field: &str| {
        let body = json!({ "prompt": "p", "model": "tiny", "lora": lora });
        app.post("/generate", body.to_string()).await.refuses(status, field);
    };
    refuses(json!([{ "model": "snow" }, { "model": "nobody" }]), 422, "lora[1].model").await;
    refuses(json!([{ "model": "tiny" }]), 422, "lora[0].model").await;
    refuses(json!([{ "model": "snow", "scale": 1e9 }]), 422, "lora[0].scale").await;
    refuses(json!(vec![json!({ "model": "snow" }); 9]), 422, "lora").await;
    refuses(json!([{ "model": "foreign" }]), 422, "lora").await;
    refuses(json!([{ "name": "snow" }]), 400, "lora[0].name").await;
    app.get("/generate?prompt=p&model=tiny&lora=snow:much").await.refuses(400, "lora");
    // An adapter is not a whole model; the message says how to use it.
    let alone = app.get("/generate?prompt=p&model=snow").await.expect(503);
    assert!(alone.text().contains("in `lora`"), "{}", alone.text());
    // The model still works.
    generate(&app, json!([])).await;
}

/// An adapter that a run trained is a model of its own, over its base, and can also be named in `lora`.
#[tokio::test]
async fn a_trained_adapter_is_a_model() {
    let app = start(&[]).await;
    let (base, snow) = (app.model("tiny").await, app.model("snow").await);
    let trained = Model {
        id: ModelId::new(app.now(), [9; 10]),
        name: "trained".to_owned(),
        folder: app.folder.path().join("models/snow").display().to_string(),
        base_id: Some(base.id),
        ..snow
    };
    app.store.insert_model(&trained, None).await.expect("a model");
    let own = app.get("/generate?prompt=a+red+circle&seed=7&model=trained").await.expect(200);
    assert_eq!(own.bytes, generate(&app, json!([{ "model": "trained" }])).await);
    assert_eq!(own.bytes, generate(&app, json!([{ "model": "snow" }])).await);
}

/// Writes the adapter of the fixture under PEFT's names, which leave alpha to `adapter_config.json`.
fn write_peft(folder: &Path, alpha: f64) {
    let tensors = candle_core::safetensors::load(
        Path::new(FIXTURES).join("lora_attention/diffusers.safetensors"),
        &Device::Cpu,
    )
    .expect("the fixture");
    let named: HashMap<String, Tensor> = tensors
        .into_iter()
        .map(|(name, tensor)| {
            let name = name.replace("lora.down", "lora_A").replace("lora.up", "lora_B");
            (name.replace("unet.", "base_model.model."), tensor)
        })
        .collect();
    fs::create_dir_all(folder).expect("a folder");
    candle_core::safetensors::save(&named, folder.join("pytorch_lora_weights.safetensors")).expect("written");
    set_alpha(folder, alpha);
}

fn set_alpha(folder: &Path, alpha: f64) {
    let settings = json!({ "lora_alpha": alpha, "r": 3, "peft_type": "LORA" });
    fs::write(folder.join("adapter_config.json"), settings.to_string()).expect("written");
}

/// Two adapters of equal weights that differ in alpha are two adapters, whichever was requested first, and whatever changes on
/// disk in the meantime.
#[tokio::test]
async fn an_adapter_is_its_weights_and_its_settings() {
    let folder = tempfile::tempdir().expect("a scratch folder");
    let models = folder.path().join("models");
    copy(&Path::new(FIXTURES).join("model"), &models.join("tiny"));
    write_peft(&models.join("alpha4"), 4.0);
    write_peft(&models.join("alpha16"), 16.0);
    let mut app = TestApp::start_in(folder, &[]).await;
    let draw = async |app: &TestApp, name: &str, scale: f64| {
        let lora = json!([{ "model": name, "scale": scale }]);
        let body = json!({ "prompt": "a red circle", "seed": 7, "model": "tiny", "lora": lora });
        let reply = app.post("/generate", body.to_string()).await.expect(200);
        let record =
            app.get(&format!("/api/v1/images/{}", reply.header("x-image-id"))).await.expect(200).json();
        let own = record["params"]["lora"][0]["sha256"].as_str().expect("a hash").to_owned();
        (reply.header("x-model-sha256").to_owned(), own, reply.bytes)
    };
    let (weak, strong) = (draw(&app, "alpha4", 1.0).await, draw(&app, "alpha16", 1.0).await);
    assert_eq!(app.model("alpha4").await.sha256, app.model("alpha16").await.sha256, "equal weights");
    assert!(weak.0 != strong.0 && weak.1 != strong.1 && weak.2 != strong.2);
    // Other scales give other images, and so other fingerprints; 0 is without the adapter.
    let quarter = draw(&app, "alpha16", 0.25).await;
    assert!(quarter.0 != strong.0 && quarter.1 == strong.1);
    let none = draw(&app, "alpha16", 0.0).await;
    let plain = app.get("/generate?prompt=a+red+circle&seed=7&model=tiny").await.expect(200);
    assert_eq!((none.0.as_str(), &none.2), (plain.header("x-model-sha256"), &plain.bytes));

    app = TestApp::start_in(app.folder, &[]).await;
    assert_eq!(draw(&app, "alpha16", 1.0).await, strong);
    assert_eq!(draw(&app, "alpha4", 1.0).await, weak);
    // The settings change while the server runs.
    set_alpha(&app.folder.path().join("models/alpha4"), 16.0);
    assert_eq!(draw(&app, "alpha4", 1.0).await, strong);
    let stale = json!({ "prompt": "p", "model": "tiny", "lora": [{ "model": "alpha4", "sha256": weak.1 }] });
    app.post("/generate", stale.to_string()).await.refuses(422, "lora[0].sha256");
}
