//! CLIP from folders in the layouts of transformers and OpenCLIP, against the reference implementations' features
//! (`oracles/rewards.py`).

use candle_core::{Device, Tensor};
use evaluation::clip::Clip;
use evaluation::clip::files::ClipFiles;
use image::RgbImage;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Pixels with transparency are reduced before they reach `Clip`, so the fixture's image with an alpha channel is left out.
const TRANSPARENT: &str = "rgba.png";

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

/// A folder with `config` under `name`, the weights of a fixture and the vocabulary.
fn folder(name: &str, config: &Value, weights: &str, weights_as: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join(name), config.to_string()).expect("written");
    let rewards = fixtures().join("rewards");
    fs::copy(rewards.join(weights), folder.path().join(weights_as)).expect("copied");
    for file in ["vocab.json", "merges.txt"] {
        fs::copy(rewards.join("vocabulary").join(file), folder.path().join(file)).expect("copied");
    }
    folder
}

/// Features of the fixture's images and prompts by the CLIP of a folder, beside those of the reference.
fn assert_equal_features(folder: &Path, reward: &str) {
    let asked: Value =
        serde_json::from_slice(&fs::read(fixtures().join("rewards/expected.json")).expect("a fixture"))
            .expect("JSON");
    let strings = |field: &str| -> Vec<String> {
        let values = asked[field].as_array().expect(field);
        values.iter().map(|value| value.as_str().expect(field).to_owned()).collect()
    };
    let (names, prompts) = (strings("pictures"), strings("prompts"));
    let images: Vec<RgbImage> = names
        .iter()
        .map(|name| image::open(fixtures().join("preprocess").join(name)).expect(name).to_rgb8())
        .collect();
    let prompts: Vec<&str> = prompts.iter().map(String::as_str).collect();
    let clip = Clip::load(folder, &Device::Cpu).expect("a CLIP");
    let ours = Tensor::cat(
        &[clip.image_features(&images).expect("features"), clip.text_features(&prompts).expect("features")],
        1,
    );
    let ours: Vec<Vec<f32>> = ours.and_then(|ours| ours.to_vec2()).expect("features");
    let expected =
        candle_core::safetensors::load(fixtures().join("rewards/expected.safetensors"), &Device::Cpu);
    let theirs: Vec<Vec<f32>> =
        expected.expect("a fixture")[&format!("{reward}.features")].to_vec2().expect("features");
    assert_eq!(ours.len(), theirs.len());
    for ((ours, theirs), name) in
        ours.iter().zip(&theirs).zip(&names).filter(|(_, name)| *name != TRANSPARENT)
    {
        let worst = ours.iter().zip(theirs).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(worst <= 1e-4, "{reward} {name} is off by {worst:e}");
    }
}

#[test]
fn a_folder_of_transformers_gives_its_features() {
    let tower = |extra: Value| {
        let mut tower = json!({
            "hidden_size": 32, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 16,
            "hidden_act": "gelu", "projection_dim": 24,
        });
        tower.as_object_mut().expect("a table").extend(extra.as_object().expect("a table").clone());
        tower
    };
    let config = json!({
        "model_type": "clip", "projection_dim": 24,
        "text_config": tower(json!({ "vocab_size": 614, "max_position_embeddings": 77, "eos_token_id": 2 })),
        "vision_config": tower(json!({ "image_size": 16, "patch_size": 4 })),
    });
    let folder = folder("config.json", &config, "pick_score.safetensors", "model.safetensors");
    assert_equal_features(folder.path(), "pick_score");
}

#[test]
fn a_folder_of_open_clip_gives_its_features() {
    let config = json!({
        "model_cfg": {
            "embed_dim": 24, "quick_gelu": true,
            "vision_cfg": { "image_size": 16, "layers": 2, "width": 32, "head_width": 2, "patch_size": 4, "mlp_ratio": 3.0 },
            "text_cfg": {
                "context_length": 77, "vocab_size": 614, "width": 24, "heads": 12, "layers": 2, "mlp_ratio": 3.0,
            },
        },
        "preprocess_cfg": { "interpolation": "bicubic", "resize_mode": "shortest" },
    });
    let folder =
        folder("open_clip_config.json", &config, "openai_vit_l_14.bin", "open_clip_pytorch_model.bin");
    assert_equal_features(folder.path(), "clip_score_l14");
}

#[test]
fn what_is_missing_is_named() {
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>();
    let problem = ClipFiles::among(&names(&["config.json", "README.md"])).expect_err("no weights");
    assert!(problem.contains("model.safetensors") && problem.contains("open_clip_config.json"), "{problem}");
    let problem = ClipFiles::among(&names(&["config.json", "model.safetensors", "vocab.json"]));
    assert!(problem.expect_err("no merges").contains("lacks merges.txt"));
    let both = names(&[
        "config.json",
        "model.safetensors",
        "vocab.json",
        "merges.txt",
        "open_clip_config.json",
        "open_clip_model.safetensors",
        "tf_model.h5",
        "preprocessor_config.json",
    ]);
    let found = ClipFiles::among(&both).expect("a CLIP");
    assert_eq!(
        found,
        ["config.json", "model.safetensors", "vocab.json", "merges.txt", "preprocessor_config.json"]
    );
}
