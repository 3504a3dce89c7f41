//! Runs without a database, found by name: as the base of another run, and in an evaluation.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

fn trainer(folder: &Path, arguments: &[&str]) -> Output {
    let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models");
    let mut command = Command::new(env!("CARGO_BIN_EXE_diff-contrast-trainer"));
    command.current_dir(folder).args(arguments).arg("--models").arg(models);
    command.output().expect("the program")
}

fn config(folder: &Path, name: &str, base: &str) -> String {
    let file = format!("{name}.toml");
    let text = format!(
        "name = '{name}'\nbase = '{base}'\nsteps = 2\nbatch_size = 2\ncheckpoint_every = 1\nobjective = {{ kind = 'sft' }}\n\
         data = {{ source = 'shapes', set = 'winter', count = 4 }}\nlearning_rate = {{ rate = 1e-4 }}"
    );
    fs::write(folder.join(&file), text).expect("written");
    file
}

#[test]
fn a_finished_run_is_a_base_and_is_evaluated_by_name() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    let second = config(folder, "second", "first");
    let refused = trainer(folder, &["train", &second]);
    let error = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && error.contains("base") && error.contains("data/runs"), "{error}");

    let succeed = |arguments: &[&str]| {
        let output = trainer(folder, arguments);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    succeed(&["train", &config(folder, "first", "shapes")]);
    succeed(&["train", &second]);
    let spec = "models = ['shapes', 'first', 'second']\nprompts = { source = 'shapes_held_out', count = 2 }\nsteps = 2";
    fs::write(folder.join("all.toml"), spec).expect("written");
    let output = succeed(&["evaluate", "all.toml"]);
    assert!(output.contains("second against shapes"), "{output}");
    let unet = "unet/diffusion_pytorch_model.safetensors";
    let weights =
        |run: &str| fs::read(folder.join("data/runs").join(run).join("models/step-0000002").join(unet));
    assert!(weights("first").expect("weights") != weights("second").expect("weights"));

    // An unfinished run is refused, because its last model would change.
    fs::remove_dir_all(folder.join("data/runs/first/models/step-0000002")).expect("removed");
    let refused = trainer(folder, &["train", &config(folder, "third", "first")]);
    let error = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(
        !refused.status.success() && error.contains("not finished") && error.contains("step-0000001"),
        "{error}"
    );
}

/// A finished run goes on with more steps under its id; another seed is refused by name.
#[test]
fn a_run_is_prolonged_by_its_config() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    let file = config(folder, "longer", "shapes");
    let text = fs::read_to_string(folder.join(&file)).expect("a config");
    assert!(trainer(folder, &["train", &file]).status.success());
    let manifest = || -> serde_json::Value {
        serde_json::from_slice(&fs::read(folder.join("data/runs/longer/run.json")).expect("a file"))
            .expect("JSON")
    };
    let first = manifest();

    fs::write(folder.join(&file), text.replace("steps = 2", "steps = 4\nseed = 7")).expect("written");
    let refused = trainer(folder, &["train", &file]);
    let error = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && error.contains("seed was 0 and is 7"), "{error}");
    assert!(!error.contains("steps was"), "{error}");
    assert_eq!(manifest(), first);

    fs::write(folder.join(&file), text.replace("steps = 2", "steps = 4")).expect("written");
    let output = trainer(folder, &["train", &file]);
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{error}");
    assert_eq!((&manifest()["id"], &manifest()["spec"]["steps"]), (&first["id"], &4.into()));
    let lines = fs::read_to_string(folder.join("data/runs/longer/metrics.jsonl")).expect("curves");
    let steps: std::collections::BTreeSet<u64> = lines
        .lines()
        .map(|line| {
            serde_json::from_str::<serde_json::Value>(line).expect("JSON")["step"].as_u64().expect("a step")
        })
        .collect();
    assert_eq!(steps, (1..=4).collect());
    assert!(folder.join("data/runs/longer/models/step-0000004/spec.json").is_file());
}
