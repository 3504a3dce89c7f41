//! The command `fid`: folders against folders and against saved statistics, in every mode, with random weights of
//! Inception in a file that torch wrote (`oracles/fid.py published`).

use image::{Rgb, RgbImage};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const WEIGHTS: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/../crates/evaluation/tests/fixtures/fid/inception-legacy.pth");
const CLIP: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../models/shapes/clip");

fn fid(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_diff-contrast-trainer"))
        .arg("fid")
        .args(arguments)
        .args(["--clip", CLIP])
        .output()
        .expect("the program")
}

/// The JSON on standard output, and standard error.
fn report(arguments: &[&str]) -> (Value, String) {
    let output = fid(arguments);
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{arguments:?}: {error}");
    (serde_json::from_slice(&output.stdout).expect("JSON and nothing else"), error)
}

fn refusal(arguments: &[&str]) -> String {
    let output = fid(arguments);
    assert!(!output.status.success(), "{arguments:?} succeeded");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Writes `count` images, which differ between folders.
fn images(folder: &Path, count: u32, tint: u8) -> PathBuf {
    std::fs::create_dir(folder).expect("a folder");
    for i in 0..count {
        let image = RgbImage::from_fn(40, 32, |x, y| {
            Rgb([(x * (i + 3)) as u8 ^ tint, (y * (2 * i + 1)) as u8, tint.wrapping_add((x ^ y) as u8)])
        });
        // Half of the images are in another format.
        let ending = if i % 2 == 0 { "png" } else { "bmp" };
        image.save(folder.join(format!("{i}.{ending}"))).expect("saved");
    }
    folder.to_owned()
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a readable path")
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value} is not a number"))
}

#[test]
fn saved_statistics_replace_a_folder_in_every_mode() {
    let scratch = tempfile::tempdir().expect("a folder");
    let at = |name: &str| scratch.path().join(name);
    let (a, b) = (images(&at("a"), 5, 7), images(&at("b"), 4, 99));
    let (a, b, saved) = (text(&a), text(&b), at("a.npz"));
    let mut seen = Vec::new();
    for mode in ["pytorch-fid", "clean-fid", "torch-fidelity"] {
        let (whole, error) =
            report(&[a, b, "--weights", WEIGHTS, "--mode", mode, "--save-statistics", text(&saved)]);
        assert_eq!((&whole["metric"], &whole["mode"]), (&"FID".into(), &mode.into()));
        assert_eq!(whole["images"], serde_json::json!([5, 4]));
        assert!(error.contains(mode) && error.contains("below 2048"), "{error}");
        assert_eq!(whole["kernel"]["metric"], "KID");
        let distance = number(&whole["frechet"]);
        assert!(distance.is_finite() && distance > 0.0, "{whole}");
        // From the file of means and covariances, which has neither the count nor the features.
        let (again, error) = report(&[text(&saved), b, "--weights", WEIGHTS, "--mode", mode]);
        let off = (number(&again["frechet"]) - distance).abs() / distance;
        assert!(off < 1e-6, "{mode}: {distance}, and {} of statistics", again["frechet"]);
        assert!(error.contains("A is statistics") && again["kernel"].is_null(), "{error}");
        seen.push(distance);
    }
    seen.dedup();
    assert_eq!(seen.len(), 3, "two modes gave the same distance: {seen:?}");

    let (same, _) = report(&[a, a, "--weights", WEIGHTS]);
    assert!(number(&same["frechet"]) < 1e-3 * seen[0], "{same}");
}

#[test]
fn without_weights_the_distance_is_not_called_fid() {
    let scratch = tempfile::tempdir().expect("a folder");
    let a = images(&scratch.path().join("a"), 6, 7);
    let (report, error) = report(&[text(&a), "shapes:winter:8:3"]);
    assert!(report["metric"].as_str().is_some_and(|metric| metric.contains("not FID")), "{report}");
    assert!(report["mode"].is_null() && error.contains("not FID"), "{error}");
    assert!(number(&report["cmmd"]) > 0.0, "{report}");
}

#[test]
fn invalid_arguments_are_refused_with_the_remedy() {
    let scratch = tempfile::tempdir().expect("a folder");
    let at = |name: &str| scratch.path().join(name);
    let a = images(&at("a"), 2, 7);
    let a = text(&a);
    assert!(refusal(&[a]).contains("--save-statistics"));
    assert!(refusal(&[a, a, "--mode", "own-fid"]).contains("clean-fid"));
    assert!(refusal(&[a, text(&at("none"))]).contains("none"));
    assert!(refusal(&[a, a, "--weights", text(&at("none.pth"))]).contains("none.pth"));
    std::fs::write(at("a/9.webp"), b"RIFF and nothing more").expect("written");
    let error = refusal(&[a, a]);
    assert!(error.contains("9.webp") && error.contains("remove or replace"), "{error}");
}
