//! `fid` by the real program: folders against folders and against saved statistics, in every mode, on a file of Inception's
//! size as torch writes it (`oracles/fid.py published`).

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

/// What went to standard output, and to standard error.
fn report(arguments: &[&str]) -> (Value, String) {
    let output = fid(arguments);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{arguments:?}: {said}");
    (serde_json::from_slice(&output.stdout).expect("JSON and nothing else"), said)
}

fn refusal(arguments: &[&str]) -> String {
    let output = fid(arguments);
    assert!(!output.status.success(), "{arguments:?} was done");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A folder of `count` images that no two folders share.
fn images(folder: &Path, count: u32, tint: u8) -> PathBuf {
    std::fs::create_dir(folder).expect("a folder");
    for i in 0..count {
        let image = RgbImage::from_fn(40, 32, |x, y| {
            Rgb([(x * (i + 3)) as u8 ^ tint, (y * (2 * i + 1)) as u8, tint.wrapping_add((x ^ y) as u8)])
        });
        // Half of them in another format.
        let ending = if i % 2 == 0 { "png" } else { "bmp" };
        image.save(folder.join(format!("{i}.{ending}"))).expect("saved");
    }
    folder.to_owned()
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a readable path")
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value} is no number"))
}

#[test]
fn folders_compare_in_every_mode_and_statistics_stand_for_a_folder() {
    let scratch = tempfile::tempdir().expect("a folder");
    let at = |name: &str| scratch.path().join(name);
    let (a, b) = (images(&at("a"), 5, 7), images(&at("b"), 4, 99));
    let (a, b, saved) = (text(&a), text(&b), at("a.npz"));
    let mut seen = Vec::new();
    for mode in ["pytorch-fid", "clean-fid", "torch-fidelity"] {
        let (whole, said) =
            report(&[a, b, "--weights", WEIGHTS, "--mode", mode, "--save-statistics", text(&saved)]);
        assert_eq!((&whole["metric"], &whole["mode"]), (&"FID".into(), &mode.into()));
        assert_eq!(whole["images"], serde_json::json!([5, 4]));
        assert!(said.contains(mode) && said.contains("below 2048"), "{said}");
        assert_eq!(whole["kernel"]["metric"], "KID");
        let distance = number(&whole["frechet"]);
        assert!(distance.is_finite() && distance > 0.0, "{whole}");
        // From the file of means and covariances alone, which knows neither count nor features.
        let (again, said) = report(&[text(&saved), b, "--weights", WEIGHTS, "--mode", mode]);
        let off = (number(&again["frechet"]) - distance).abs() / distance;
        assert!(off < 1e-6, "{mode}: {distance}, and {} of statistics", again["frechet"]);
        assert!(said.contains("A is statistics") && again["kernel"].is_null(), "{said}");
        seen.push(distance);
    }
    seen.dedup();
    assert_eq!(seen.len(), 3, "two modes came to the same: {seen:?}");

    let (same, _) = report(&[a, a, "--weights", WEIGHTS]);
    assert!(number(&same["frechet"]) < 1e-3 * seen[0], "{same}");
}

#[test]
fn without_weights_it_is_not_called_fid() {
    let scratch = tempfile::tempdir().expect("a folder");
    let a = images(&scratch.path().join("a"), 6, 7);
    let (report, said) = report(&[text(&a), "shapes:winter:8:3"]);
    assert!(report["metric"].as_str().is_some_and(|metric| metric.contains("not FID")), "{report}");
    assert!(report["mode"].is_null() && said.contains("not FID"), "{said}");
    assert!(number(&report["cmmd"]) > 0.0, "{report}");
}

#[test]
fn what_cannot_be_compared_is_refused_with_the_remedy() {
    let scratch = tempfile::tempdir().expect("a folder");
    let at = |name: &str| scratch.path().join(name);
    let a = images(&at("a"), 2, 7);
    let a = text(&a);
    assert!(refusal(&[a]).contains("--save-statistics"));
    assert!(refusal(&[a, a, "--mode", "own-fid"]).contains("clean-fid"));
    assert!(refusal(&[a, text(&at("none"))]).contains("none"));
    assert!(refusal(&[a, a, "--weights", text(&at("none.pth"))]).contains("none.pth"));
    std::fs::write(at("a/9.webp"), b"RIFF and nothing more").expect("written");
    let said = refusal(&[a, a]);
    assert!(said.contains("9.webp") && said.contains("remove or replace"), "{said}");
}
