//! The command `doctor`: a correct machine passes, and unusable devices and models are refused.

use std::process::{Command, Output};

const BUNDLED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../models/shapes");
const SDXL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../crates/diffusion/tests/fixtures/sdxl");

fn doctor(model: &str, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_diff-contrast-trainer"))
        .args(["doctor", "--model", model])
        .args(arguments)
        .output()
        .expect("the trainer")
}

#[test]
fn every_part_agrees_with_f64() {
    for model in [BUNDLED, SDXL] {
        let output = doctor(model, &["--device", "cpu"]);
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
        let parts = ["text states", "latents", "decoded image", "prediction", "gradient of the UNet"];
        let pooled = (model == SDXL).then_some("pooled text");
        for part in parts.into_iter().chain(pooled) {
            let line = text.lines().find(|line| line.contains(part));
            let line = line.unwrap_or_else(|| panic!("{part}: {text}"));
            assert!(line.ends_with("ok"), "{line}");
        }
        assert_eq!(text.contains("pooled text"), model == SDXL);
    }
}

/// SDXL's UNet with only one text encoder.
#[test]
fn parts_of_different_kinds_of_models_are_refused() {
    let scratch = tempfile::tempdir().expect("a folder");
    for part in ["text_encoder", "tokenizer", "unet", "vae"] {
        let (from, to) = (std::path::Path::new(SDXL).join(part), scratch.path().join(part));
        std::fs::create_dir(&to).expect("room");
        for entry in std::fs::read_dir(from).expect("a fixture") {
            let file = entry.expect("an entry").path();
            std::fs::copy(&file, to.join(file.file_name().expect("a name"))).expect("room");
        }
    }
    let output = doctor(scratch.path().to_str().expect("a path"), &["--device", "cpu"]);
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && error.contains("cross_attention_dim"), "{error}");
}

#[test]
fn an_unknown_device_is_refused_with_the_remedy() {
    let output = doctor(BUNDLED, &["--device", "cuda:4096"]);
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && error.contains("cuda:4096"), "{error}");
    let output = doctor(BUNDLED, &["--device", "tpu"]);
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && error.contains("auto, cpu, cuda or cuda:NUMBER"), "{error}");
}
