//! A run whose process is killed at any time and restarted gives the same weights and metrics as an uninterrupted
//! one.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

const CONFIG: &str = r#"
name = "killed"
base = "shapes"
steps = 6
batch_size = 2
seed = 4
checkpoint_every = 1
objective = { kind = "diff_contrast", beta = 500.0, tau = 0.5 }
data = { source = "shapes", set = "winter", count = 8, seed = 3 }
learning_rate = { rate = 1e-4, schedule = "cosine", warmup_steps = 2 }
"#;

fn start(config: &Path, run: &Path) -> Child {
    Command::new(env!("CARGO_BIN_EXE_diff-contrast-trainer"))
        .arg("train")
        .arg(config)
        .args(["--models", concat!(env!("CARGO_MANIFEST_DIR"), "/../models")])
        .arg("--out")
        .arg(run)
        .arg("--cache")
        .arg(run.join("cache"))
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the trainer")
}

fn finish(process: Child) {
    let output = process.wait_with_output().expect("an exit status");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn weights(run: &Path) -> Vec<u8> {
    let model = run.join("models/step-0000006");
    let network = std::fs::read(model.join("unet/diffusion_pytorch_model.safetensors"));
    network.or_else(|_| std::fs::read(model.join("pytorch_lora_weights.safetensors"))).expect("a model")
}

/// All metrics except the speed and the times, which differ between runs.
fn metrics(run: &Path) -> Vec<serde_json::Value> {
    let text = std::fs::read_to_string(run.join("metrics.jsonl")).expect("metrics");
    let mut points: Vec<serde_json::Value> =
        text.lines().map(|line| serde_json::from_str(line).expect("a point")).collect();
    for point in &mut points {
        let fields = point.as_object_mut().expect("an object");
        fields.remove("samples_per_second").expect("the speed");
        for phase in ["data", "forward", "backward", "update"] {
            fields.remove(&format!("seconds/{phase}")).expect("the time of a phase");
        }
        // Only steps that validate have it.
        fields.remove("seconds/validation");
    }
    points
}

/// Names of the folders of the remaining models.
fn models(run: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(run.join("models")).expect("models");
    let mut names: Vec<String> =
        entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

#[test]
fn killed_with_adafactor_and_a_moving_average() {
    check("ema_decay = 0.9\noptimizer = { kind = 'adafactor' }");
}

/// With int8 moments, validation and checkpoint rotation.
#[test]
fn killed_while_checkpoints_rotate() {
    check(
        "keep_checkpoints = 2\nvalidation_examples = 2\nkeep_best = true\nmemory = { two_pass = true }\n\
         optimizer = { kind = 'adam_w', moments = 'int8' }",
    );
}

#[test]
fn killed_with_moments_in_16_bits() {
    check("memory = { checkpoint_activations = true }\noptimizer = { kind = 'adam_w', moments = 'bf16' }");
}

#[test]
fn killed_while_an_adapter_trains() {
    check("ema_decay = 0.9\nlora = { rank = 2 }");
}

/// Kills the process `KILLS` times, 3 by default, then lets it finish.
fn check(more: &str) {
    let scratch = tempfile::tempdir().expect("a folder");
    let config = scratch.path().join("config.toml");
    std::fs::write(&config, format!("{CONFIG}{more}")).expect("a config");
    let run = |name: &str| -> PathBuf { scratch.path().join(name) };
    let start_time = Instant::now();
    finish(start(&config, &run("whole")));
    let whole = start_time.elapsed();

    let kills: u32 = std::env::var("KILLS").map_or(3, |text| text.parse().expect("KILLS is a number"));
    let mut died = 0;
    for kill in 0..kills {
        // A finished run is started over, so that kills hit every part of a run.
        if run("parts").join("models/step-0000006").exists() {
            std::fs::remove_dir_all(run("parts")).expect("removed");
        }
        let mut process = start(&config, &run("parts"));
        // Multiples of the golden ratio modulo 1 are spread evenly, whatever their number.
        let moment = (f64::from(kill + 1) * 0.618_033_988_75).fract();
        std::thread::sleep(whole.mul_f64(0.02 + 0.9 * moment));
        process.kill().expect("killed");
        died += u32::from(!process.wait().expect("an exit status").success());
    }
    assert!(died > 0, "every process finished before it was killed");
    finish(start(&config, &run("parts")));
    assert!(weights(&run("whole")) == weights(&run("parts")), "the weights differ");
    assert_eq!(metrics(&run("whole")), metrics(&run("parts")));
    assert_eq!(models(&run("whole")), models(&run("parts")));
    println!("{died} of {kills} processes were killed before they finished");
}
