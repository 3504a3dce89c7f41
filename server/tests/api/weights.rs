//! Weights of other types, layouts and values than usual, and files of the models folder that are not used.

use crate::support::{TestApp, copy};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../crates/diffusion/tests/fixtures");
const ADAPTER: &str = "pytorch_lora_weights.safetensors";

type Tensors = BTreeMap<String, (Dtype, Vec<usize>, Vec<u8>)>;

/// Rewrites a safetensors file.
fn change(from: &Path, to: &Path, change: impl FnOnce(&mut Tensors)) {
    let bytes = fs::read(from).expect("a file");
    let read = SafeTensors::deserialize(&bytes).expect("safetensors");
    let tensors = read.tensors().into_iter();
    let mut tensors: Tensors =
        tensors.map(|(name, t)| (name, (t.dtype(), t.shape().to_vec(), t.data().to_vec()))).collect();
    change(&mut tensors);
    let views = tensors.iter().map(|(name, (dtype, shape, data))| {
        (name, TensorView::new(*dtype, shape.clone(), data).expect("bytes"))
    });
    fs::create_dir_all(to.parent().expect("a folder")).expect("a folder");
    fs::write(to, safetensors::serialize(views, None).expect("tensors")).expect("written");
}

/// Puts NaN of F16 at the end of a tensor.
fn poison(tensors: &mut Tensors, name: &str) {
    let (dtype, _, data) = tensors.get_mut(name).expect(name);
    assert_eq!(*dtype, Dtype::F16);
    let end = data.len();
    data[end - 2..].copy_from_slice(&0x7e00_u16.to_le_bytes());
}

fn fixture(name: &str) -> PathBuf {
    Path::new(FIXTURES).join(name)
}

async fn draw(app: &TestApp, model: &str, lora: Value) -> crate::support::Reply {
    let body = json!({ "prompt": "a red circle", "seed": 7, "model": model, "lora": lora });
    let reply = tokio::time::timeout(Duration::from_secs(120), app.post("/generate", body.to_string()));
    reply.await.expect("an answer")
}

/// An alpha in 8-bit floats once made the generator's thread spin for ever.
#[tokio::test]
async fn adapters_in_8_bit_floats_are_applied() {
    let folder = tempfile::tempdir().expect("a folder");
    let models = folder.path().join("models");
    copy(&fixture("model"), &models.join("tiny"));
    let kohya = fixture("lora_text_sd15/kohya.safetensors");
    // 0x38 is 1 in E4M3, the value of the fixture's alphas.
    let alpha_in_f8 = |tensors: &mut Tensors| {
        for (_, (dtype, _, data)) in tensors.iter_mut().filter(|(name, _)| name.ends_with(".alpha")) {
            (*dtype, *data) = (Dtype::F8_E4M3, vec![0x38]);
        }
    };
    change(&kohya, &models.join("eight").join(ADAPTER), alpha_in_f8);
    change(&kohya, &models.join("sixteen").join(ADAPTER), |_| {});
    let as_integers = |tensors: &mut Tensors| {
        for (dtype, shape, data) in tensors.values_mut().filter(|(_, shape, _)| shape.len() == 2) {
            (*dtype, *data) = (Dtype::I8, vec![1; shape.iter().product()]);
        }
    };
    change(&kohya, &models.join("integers").join(ADAPTER), as_integers);
    let app = TestApp::start_in(folder, &[]).await;
    let plain = draw(&app, "tiny", json!([])).await.expect(200).bytes;
    let sixteen = draw(&app, "tiny", json!([{ "model": "sixteen" }])).await.expect(200).bytes;
    assert_ne!(plain, sixteen);
    assert_eq!(draw(&app, "tiny", json!([{ "model": "eight" }])).await.expect(200).bytes, sixteen);
    let refused = draw(&app, "tiny", json!([{ "model": "integers" }])).await.refuses(422, "lora");
    assert!(refused.contains("I8") && refused.contains(".weight"), "{refused}");
    assert_eq!(draw(&app, "tiny", json!([])).await.expect(200).bytes, plain);
}

/// An adapter that is not finite is refused by the name of its tensor; a model that is not finite gives no image.
#[tokio::test]
async fn values_that_are_not_finite_give_no_image() {
    let folder = tempfile::tempdir().expect("a folder");
    let models = folder.path().join("models");
    copy(&fixture("model"), &models.join("tiny"));
    let kohya = fixture("lora_text_sd15/kohya.safetensors");
    let name = "lora_te_text_model_encoder_layers_0_mlp_fc1.lora_up.weight";
    change(&kohya, &models.join("nan").join(ADAPTER), |tensors| poison(tensors, name));
    copy(&fixture("model"), &models.join("broken"));
    let unet = "unet/diffusion_pytorch_model.safetensors";
    change(&fixture("model").join(unet), &models.join("broken").join(unet), |tensors| {
        poison(tensors, "conv_out.bias")
    });
    let app = TestApp::start_in(folder, &[]).await;
    let plain = draw(&app, "tiny", json!([])).await.expect(200).bytes;
    let kept = app.get("/api/v1/images").await.expect(200).json();

    let refused = draw(&app, "tiny", json!([{ "model": "nan" }])).await.refuses(422, "lora");
    assert!(refused.contains(name) && refused.contains("not finite"), "{refused}");
    let error = draw(&app, "broken", json!([])).await.expect(500).json()["error"].clone();
    assert_eq!(error["code"], "not_finite");
    let message = error["message"].as_str().expect("a sentence");
    for word in ["\"broken\"", "not finite", "another model"] {
        assert!(message.contains(word), "{message}");
    }
    assert_eq!(app.get("/api/v1/images").await.expect(200).json(), kept, "an image was kept");
    assert_eq!(draw(&app, "tiny", json!([])).await.expect(200).bytes, plain);
}

/// Models whose weights have other file names give the same image.
#[tokio::test]
async fn weights_in_half_precision_layouts_are_served() {
    let folder = tempfile::tempdir().expect("a folder");
    let models = folder.path().join("models");
    copy(&fixture("model"), &models.join("tiny"));
    for variant in ["fp16", "bf16"] {
        copy(&fixture("model"), &models.join(variant));
        for file in ["unet/diffusion_pytorch_model", "vae/diffusion_pytorch_model", "text_encoder/model"] {
            let at = |ending: &str| models.join(variant).join(format!("{file}{ending}"));
            fs::rename(at(".safetensors"), at(&format!(".{variant}.safetensors"))).expect("renamed");
        }
    }
    let app = TestApp::start_in(folder, &[]).await;
    let plain = draw(&app, "tiny", json!([])).await.expect(200).bytes;
    for variant in ["fp16", "bf16"] {
        assert_eq!(draw(&app, variant, json!([])).await.expect(200).bytes, plain, "{variant}");
    }
}

/// Files under another name than the server reads are listed with a remedy, and the error of a request tells it.
#[tokio::test]
async fn files_that_are_not_used_are_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let models = folder.path().join("models");
    copy(&fixture("model"), &models.join("tiny"));
    let kohya = fixture("lora_text_sd15/kohya.safetensors");
    change(&kohya, &models.join("style/My Style v1.0 (SD1.5).safetensors"), |_| {});
    change(&kohya, &models.join("loose.safetensors"), |_| {});
    // A network that a spec names, and no weights at all, are not reported.
    change(&kohya, &models.join("some-clip/model.safetensors"), |_| {});
    fs::write(models.join("some-clip/config.json"), "{}").expect("written");
    fs::create_dir(models.join("notes")).expect("a folder");
    let app = TestApp::start_in(folder, &[]).await;
    let listed = app.get("/api/v1/models").await.expect(200).json();
    let problems: BTreeMap<&str, &str> = listed["items"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|item| Some((item["model"]["name"].as_str()?, item["problem"].as_str()?)))
        .collect();
    assert_eq!(problems.keys().copied().collect::<Vec<_>>(), ["loose.safetensors", "style"], "{problems:?}");
    for (name, file) in [("style", "style/My Style v1.0 (SD1.5).safetensors"), ("loose.safetensors", "loose")]
    {
        let problem = problems[name];
        assert!(
            problem.contains(file) && problem.contains("import") && problem.contains("--name"),
            "{problem}"
        );
        assert!(
            !problem.contains(app.folder.path().to_str().expect("a path")),
            "a path of this machine: {problem}"
        );
    }
    for name in ["style", "loose"] {
        let refused = draw(&app, "tiny", json!([{ "model": name }])).await.refuses(422, "lora[0].model");
        assert!(refused.contains("is not used") && refused.contains("import"), "{name}: {refused}");
    }
    // Also what was added since the start.
    change(&kohya, &app.folder.path().join("models/later/file.safetensors"), |_| {});
    let refused = draw(&app, "tiny", json!([{ "model": "later" }])).await.refuses(422, "lora[0].model");
    assert!(refused.contains("later/file.safetensors"), "{refused}");
    let refused = draw(&app, "later", json!([])).await.refuses(422, "model");
    assert!(refused.contains("later/file.safetensors"), "{refused}");
}
