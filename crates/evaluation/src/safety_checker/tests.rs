//! Comparison of every score and verdict of the safety checker with diffusers (`oracles/editors.py`).

use super::{SafetyChecker, Verdict};
use candle_core::{Device, Tensor};
use image::RgbImage;
use serde_json::Value;
use std::collections::HashMap;
use std::path::{Path, PathBuf};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/safety_checker")
}

fn expected() -> (HashMap<String, Tensor>, Vec<Value>) {
    let tensors = candle_core::safetensors::load(folder().join("expected.safetensors"), &Device::Cpu);
    let text = std::fs::read_to_string(folder().join("expected.json")).expect("a fixture");
    (tensors.expect("a fixture"), serde_json::from_str(&text).expect("a fixture"))
}

#[test]
fn scores_and_verdicts_equal_those_of_diffusers() {
    let (tensors, theirs) = expected();
    let checker = SafetyChecker::open(&folder(), &Device::Cpu).expect("load");
    let ours = checker.verdicts(&tensors["pixels"]).expect("verdicts");
    assert_eq!(ours.len(), theirs.len());
    let (mut lifted, mut unsafe_images) = (0, 0);
    for (i, (ours, theirs)) in ours.iter().zip(&theirs).enumerate() {
        for (field, scores) in [("special", &ours.special), ("concepts", &ours.concepts)] {
            let theirs: Vec<f32> = serde_json::from_value(theirs[field].clone()).expect("scores");
            assert_eq!(scores.len(), theirs.len(), "image {i}, {field}");
            for (ours, theirs) in scores.iter().zip(&theirs) {
                // Scores have three digits, and a cosine may be rounded either way.
                assert!((ours - theirs).abs() < 1.1e-3, "image {i}, {field}: {ours} instead of {theirs}");
            }
        }
        assert_eq!(ours.is_unsafe(), theirs["unsafe"].as_bool().expect("a verdict"), "image {i}");
        unsafe_images += usize::from(ours.is_unsafe());
        let cared_for = ours.special.iter().any(|&score| score > 0.0);
        lifted += usize::from(cared_for && ours.concepts[3] > 0.0 && ours.concepts[3] <= 0.01);
    }
    assert!(unsafe_images > 0 && unsafe_images < ours.len());
    assert!(lifted > 0, "no image shows that special care adds to later scores");
}

/// Closer than the rounded scores can show: within 1e-4.
#[test]
fn cosines_equal_those_of_diffusers() {
    let (tensors, _) = expected();
    let checker = SafetyChecker::open(&folder(), &Device::Cpu).expect("load");
    let [special, concepts] = checker.cosines(&tensors["pixels"]).expect("cosines");
    for (name, ours) in [("special_care_embeds", special), ("concept_embeds", concepts)] {
        let theirs = tensors[&format!("{name}.cosines")].to_vec2::<f32>().expect("cosines");
        for (ours, theirs) in ours.iter().flatten().zip(theirs.iter().flatten()) {
            assert!((ours - theirs).abs() < 1e-4, "{name}: {ours} instead of {theirs}");
        }
    }
}

#[test]
fn scores_of_images_of_any_size_do_not_depend_on_the_batch() {
    let checker = SafetyChecker::open(&folder(), &Device::Cpu).expect("load");
    let image = |width, height| {
        RgbImage::from_fn(width, height, |x, y| image::Rgb([(x * 5) as u8, (y * 7) as u8, (x * y) as u8]))
    };
    let images = [image(28, 28), image(50, 31), image(9, 40)];
    let together = checker.check(&images).expect("verdicts");
    let alone: Vec<Verdict> =
        images.iter().flat_map(|p| checker.check(std::slice::from_ref(p)).expect("a verdict")).collect();
    assert_eq!(together, alone);
    assert_ne!(together[0], together[1]);
    assert!(checker.check(&[]).expect("none").is_empty());
}

#[test]
fn a_folder_without_weights_is_refused_by_name() {
    let scratch = tempfile::tempdir().expect("a folder");
    std::fs::copy(folder().join("config.json"), scratch.path().join("config.json")).expect("copied");
    let error = SafetyChecker::open(scratch.path(), &Device::Cpu).expect_err("no weights").to_string();
    assert!(error.contains("model.safetensors"), "{error}");
}

/// Pipelines have the normalisation for the checker in the folder `feature_extractor` beside it.
#[test]
fn the_feature_extractor_of_a_pipeline_sets_the_normalisation() {
    let scratch = tempfile::tempdir().expect("a folder");
    let checker = scratch.path().join("safety_checker");
    std::fs::create_dir(&checker).expect("a folder");
    for name in ["config.json", "model.safetensors"] {
        std::fs::copy(folder().join(name), checker.join(name)).expect("copied");
    }
    let verdicts = || {
        let image = RgbImage::from_fn(28, 28, |x, y| image::Rgb([(x * 5) as u8, (y * 7) as u8, 90]));
        SafetyChecker::open(&checker, &Device::Cpu).expect("opens").check(&[image]).expect("a verdict")
    };
    assert_eq!(SafetyChecker::files(&checker).expect("files").len(), 2);
    let before = verdicts();
    let beside = scratch.path().join("feature_extractor");
    std::fs::create_dir(&beside).expect("a folder");
    let file = beside.join("preprocessor_config.json");
    std::fs::write(&file, r#"{"image_mean": [0.1, 0.2, 0.3], "image_std": [1.0, 0.5, 0.2]}"#)
        .expect("written");
    assert_eq!(SafetyChecker::files(&checker).expect("files").last(), Some(&file));
    assert_ne!(verdicts(), before);
}
