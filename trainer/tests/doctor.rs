//! `doctor` examines this machine, and refuses devices that are not there by name.

use std::process::{Command, Output};

fn doctor(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_diff-contrast-trainer"))
        .args(["doctor", "--model", concat!(env!("CARGO_MANIFEST_DIR"), "/../models/shapes")])
        .args(arguments)
        .output()
        .expect("the trainer")
}

#[test]
fn every_part_computes_what_f64_does() {
    let output = doctor(&["--device", "cpu"]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    for part in ["text states", "latents", "decoded picture", "prediction", "gradient of the UNet"] {
        let line = text.lines().find(|line| line.contains(part)).unwrap_or_else(|| panic!("{part}: {text}"));
        assert!(line.ends_with("ok"), "{line}");
    }
}

#[test]
fn a_device_that_is_not_there_is_refused_with_the_remedy() {
    let output = doctor(&["--device", "cuda:4096"]);
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && error.contains("cuda:4096"), "{error}");
    let output = doctor(&["--device", "tpu"]);
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && error.contains("auto, cpu, cuda or cuda:NUMBER"), "{error}");
}
