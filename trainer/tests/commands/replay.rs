//! The command `replay` against results of `oracles/replay.py`, computed with PyTorch and diffusers in f64; and
//! errors for invalid inputs.

use candle_core::{DType, Device, Tensor};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

type Tensors = HashMap<String, Tensor>;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/replay").join(name)
}

fn load(file: &Path) -> Tensors {
    candle_core::safetensors::load(file, &Device::Cpu).expect("tensors")
}

/// Runs the command on a folder with `model`, `reference` and `batch.safetensors`; returns the results, or standard
/// error.
fn replay(folder: &Path, arguments: &[&str]) -> Result<Tensors, String> {
    let out = tempfile::tempdir().expect("a folder");
    let folder = std::path::absolute(folder).expect("a path");
    let input = |name: &str| folder.join(name);
    let output = Command::new(env!("CARGO_BIN_EXE_diff-contrast-trainer"))
        .arg("replay")
        .arg("--model")
        .arg(input("model"))
        .arg("--reference")
        .arg(input("reference"))
        .arg("--batch")
        .arg(input("batch.safetensors"))
        .args(arguments)
        .args(["--out", "results.safetensors"])
        .current_dir(out.path())
        .output()
        .expect("runs");
    if output.status.success() {
        return Ok(load(&out.path().join("results.safetensors")));
    }
    let left = std::fs::read_dir(out.path()).expect("a folder").count();
    assert_eq!(left, 0, "a failure writes nothing");
    Err(String::from_utf8_lossy(&output.stderr).into_owned())
}

fn norm(x: &Tensor) -> f64 {
    let squares = x.to_dtype(DType::F64).and_then(|x| x.sqr()?.sum_all()?.to_scalar::<f64>());
    squares.expect("numbers").sqrt()
}

/// Asserts that the results have the oracle's names and agree within 1e-4, or within 1e-3 for the largest betas,
/// which multiply the rounding of f32 by thousands.
fn check(name: &str) {
    let mut checked = 0;
    for entry in std::fs::read_dir(fixture(name)).expect("a fixture") {
        let file = entry.expect("an entry").path();
        let stem = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let [objective, beta, tau] = stem.split('-').collect::<Vec<_>>()[..] else { continue };
        let theirs = load(&file);
        let ours =
            replay(&fixture(name), &["--objective", objective, "--beta", beta, "--tau", tau]).expect(name);
        let tolerance = if beta.parse::<f64>().expect("beta") < 1000.0 { 1e-4 } else { 1e-3 };
        compare(&stem, &ours, &theirs, tolerance);
        checked += 1;
    }
    assert!(checked > 0, "{name} has no results");
}

fn compare(of: &str, ours: &Tensors, theirs: &Tensors, tolerance: f64) {
    let names = |tensors: &Tensors| {
        let mut names: Vec<String> = tensors.keys().cloned().collect();
        names.sort();
        names
    };
    assert_eq!(names(ours), names(theirs), "{of}");
    let gradients = theirs.iter().filter(|(name, _)| name.starts_with("grad."));
    let all = gradients.map(|(_, g)| norm(g).powi(2)).sum::<f64>().sqrt();
    let mut worst = (0.0, "");
    for (name, theirs) in theirs {
        let ours = &ours[name];
        assert_eq!((ours.dims(), ours.dtype()), (theirs.dims(), DType::F32), "{of}: {name}");
        let (size, difference) = (norm(theirs), norm(&(ours - theirs).expect("one shape")));
        // A gradient that is zero in exact arithmetic, as that of a bias before a group norm, has no relative error.
        let error = if size > 1e-9 * all { difference / size } else { difference / all };
        assert!(error <= tolerance, "{of}: {name} differs by {error:e}");
        if error > worst.0 {
            worst = (error, name);
        }
    }
    eprintln!("{of}: {} tensors, largest error {:.1e}: {}", theirs.len(), worst.0, worst.1);
}

#[test]
fn stable_diffusion_1_5() {
    check("sd15");
}

#[test]
fn stable_diffusion_2_1() {
    check("sd21");
}

#[test]
fn stable_diffusion_xl() {
    check("sdxl");
}

#[test]
fn a_unet_with_settings_per_block() {
    check("lists");
}

/// Whatever the weights.
#[test]
fn a_policy_equal_to_its_reference_has_a_loss_of_exactly_ln_2() {
    let folder = copy("sdxl");
    for file in ["unet/config.json", "unet/diffusion_pytorch_model.safetensors"] {
        std::fs::copy(folder.path().join("model").join(file), folder.path().join("reference").join(file))
            .expect("copy");
    }
    let arguments = ["--objective", "diff_contrast", "--beta", "5000", "--tau", "0.1"];
    let results = replay(folder.path(), &arguments).expect("replay");
    assert_eq!(results["loss"].to_scalar::<f32>().expect("loss"), std::f32::consts::LN_2);
    let errors = results["errors"].to_vec2::<f32>().expect("errors");
    assert_eq!((&errors[0], &errors[1]), (&errors[2], &errors[3]));
}

fn copy(name: &str) -> TempDir {
    fn copy(from: &Path, to: &Path) {
        std::fs::create_dir_all(to).expect("a folder");
        for entry in std::fs::read_dir(from).expect("a folder") {
            let entry = entry.expect("an entry").path();
            let to = to.join(entry.file_name().expect("a name"));
            if entry.is_dir() {
                copy(&entry, &to);
            } else {
                std::fs::copy(&entry, &to).expect("copy");
            }
        }
    }
    let folder = tempfile::tempdir().expect("a folder");
    copy(&fixture(name), folder.path());
    folder
}

/// Asserts that the command fails and that its error contains all words.
fn assert_refused(folder: &Path, arguments: &[&str], words: &[&str]) {
    let error = replay(folder, arguments).expect_err("refused");
    for word in words {
        assert!(error.contains(word), "{error:?} does not contain {word:?}");
    }
}

const CONTRAST: [&str; 6] = ["--objective", "diff_contrast", "--beta", "20", "--tau", "0.5"];

fn change_batch(folder: &Path, change: impl FnOnce(&mut Tensors)) {
    let file = folder.join("batch.safetensors");
    let mut tensors = load(&file);
    change(&mut tensors);
    candle_core::safetensors::save(&tensors, file).expect("save");
}

#[test]
fn an_invalid_batch_is_refused_by_tensor() {
    let zeros = |shape: &[usize]| Tensor::zeros(shape, DType::F32, &Device::Cpu).expect("zeros");
    let steps = |values: &[i64]| Tensor::new(values, &Device::Cpu).expect("timesteps");
    let with_nan = |like: &Tensor| (like * f64::NAN).expect("NaN");
    let original = load(&fixture("sdxl").join("batch.safetensors"));
    let changes: Vec<(&str, Option<Tensor>, &str)> = vec![
        ("noise_l", None, "missing"),
        ("embed_w", None, "missing"),
        ("pooled", None, "missing"),
        ("time_ids", None, "missing"),
        ("timesteps", None, "missing"),
        ("mask", Some(zeros(&[2])), "remove it"),
        ("latents_l", Some(zeros(&[2, 4, 8, 8])), "[2, 4, 11, 8]"),
        ("latents_w", Some(zeros(&[2, 4, 11])), "(M, C, H, W)"),
        ("latents_w", Some(zeros(&[0, 4, 11, 8])), "none of them 0"),
        ("text", Some(zeros(&[2, 3, 7])), "takes 6"),
        ("text", Some(zeros(&[1, 3, 6])), "2 pairs"),
        ("embed_l", Some(zeros(&[2, 5])), "[2, 6]"),
        ("pooled", Some(zeros(&[2, 6])), "29"),
        ("time_ids", Some(zeros(&[2, 5])), "29"),
        ("timesteps", Some(steps(&[3, 1000])), "0 to 999"),
        ("timesteps", Some(steps(&[-1, 3])), "-1"),
        ("timesteps", Some(steps(&[3])), "[2]"),
        ("timesteps", Some(zeros(&[2])), "I64"),
        ("noise_w", Some(original["noise_w"].to_dtype(DType::F16).expect("f16")), "F32"),
        ("noise_w", Some(with_nan(&original["noise_w"])), "NaN"),
        ("embed_l", Some(with_nan(&original["embed_l"])), "NaN"),
    ];
    for (name, value, problem) in changes {
        let folder = copy("sdxl");
        change_batch(folder.path(), |tensors| match value {
            Some(value) => drop(tensors.insert(name.to_owned(), value)),
            None => drop(tensors.remove(name)),
        });
        assert_refused(folder.path(), &CONTRAST, &["batch.safetensors", name, problem]);
    }
    let folder = copy("sd15");
    change_batch(folder.path(), |tensors| {
        tensors.insert("pooled".to_owned(), zeros(&[3, 5]));
        tensors.insert("time_ids".to_owned(), zeros(&[3, 6]));
    });
    assert_refused(folder.path(), &CONTRAST, &["pooled", "takes neither"]);
    std::fs::write(folder.path().join("batch.safetensors"), "hello").expect("write");
    assert_refused(folder.path(), &CONTRAST, &["batch.safetensors", "safetensors file"]);
    std::fs::remove_file(folder.path().join("batch.safetensors")).expect("remove");
    assert_refused(folder.path(), &CONTRAST, &["--batch", "batch.safetensors"]);
}

#[test]
fn embeddings_are_required_only_by_objectives_that_compare_them() {
    let folder = copy("sd21");
    change_batch(folder.path(), |tensors| {
        tensors.remove("embed_w");
        tensors.remove("embed_l");
    });
    let dpo = ["--objective", "diffusion_dpo", "--beta", "5000", "--tau", "1"];
    let results = replay(folder.path(), &dpo).expect("no embeddings are needed");
    compare("dpo", &results, &load(&fixture("sd21").join("diffusion_dpo-5000-1.safetensors")), 1e-3);
    assert_refused(folder.path(), &CONTRAST, &["embed_w", "missing"]);
}

#[test]
fn invalid_settings_are_refused_by_flag() {
    let folder = fixture("sd15");
    for (objective, beta, tau, words) in [
        ("diff_contrast", "20", "-1", ["--tau", "-1"]),
        ("rpo", "20", "0", ["--tau", "0"]),
        ("rpo", "20", "NaN", ["--tau", "NaN"]),
        ("diffusion_dpo", "-5", "1", ["--beta", "-5"]),
        ("diffusion_dpo", "inf", "1", ["--beta", "inf"]),
        ("diffusion_dpo", "much", "1", ["--beta", "much"]),
        ("denoise", "20", "1", ["denoise", "diff_contrast"]),
    ] {
        assert_refused(&folder, &["--objective", objective, "--beta", beta, "--tau", tau], &words);
    }
    assert_refused(&folder, &["--objective", "sft", "--beta", "1"], &["--tau"]);
}

fn change_config(file: &Path, field: &str, value: Value) {
    let mut config: Value =
        serde_json::from_slice(&std::fs::read(file).expect("a config")).expect("a config");
    config[field] = value;
    std::fs::write(file, config.to_string()).expect("write");
}

#[test]
fn a_reference_that_does_not_fit_the_model_is_refused() {
    for (field, value, word) in [
        ("prediction_type", json!("v_prediction"), "predicts"),
        ("beta_end", json!(0.013), "variance"),
        ("beta_schedule", json!("linear"), "variance"),
        ("num_train_timesteps", json!(500), "500"),
    ] {
        let folder = copy("sd15");
        let file = folder.path().join("reference/scheduler/scheduler_config.json");
        change_config(&file, field, value);
        assert_refused(folder.path(), &CONTRAST, &["--reference", "scheduler_config.json", word]);
    }
    let folder = copy("sd15");
    std::fs::remove_dir_all(folder.path().join("reference/unet")).expect("remove");
    assert_refused(folder.path(), &CONTRAST, &["--reference", "unet"]);
    std::fs::remove_dir_all(folder.path().join("model/scheduler")).expect("remove");
    assert_refused(folder.path(), &CONTRAST, &["unet"]);
}
