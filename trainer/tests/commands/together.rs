//! Several processes that train one model together give the same weights as one process.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// With one pair per micro-batch, gradients are summed in the same order by one process and by two.
const CONFIG: &str = r#"
name = "together"
base = "shapes"
steps = 3
batch_size = 1
gradient_accumulation = 2
seed = 5
ema_decay = 0.9
objective = { kind = "diffusion_dpo", beta = 500.0 }
data = { source = "shapes", set = "winter", count = 8, seed = 3 }
learning_rate = { rate = 1e-4 }
"#;

fn start(folder: &Path, run: &str, more: &[&str]) -> Child {
    Command::new(env!("CARGO_BIN_EXE_diff-contrast-trainer"))
        .arg("train")
        .arg(folder.join("config.toml"))
        .args(["--models", concat!(env!("CARGO_MANIFEST_DIR"), "/../models"), "--device", "cpu"])
        .arg("--out")
        .arg(folder.join(run))
        .arg("--cache")
        .arg(folder.join("cache"))
        .args(more)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the trainer")
}

fn assert_succeeds(process: Child) {
    let output = process.wait_with_output().expect("an exit status");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn two_processes_give_the_weights_of_one() {
    let scratch = tempfile::tempdir().expect("a folder");
    let folder = scratch.path();
    std::fs::write(folder.join("config.toml"), CONFIG).expect("a config");
    assert_succeeds(start(folder, "alone", &[]));

    let port = TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a port");
    let rendezvous = port.to_string();
    let member =
        |rank| start(folder, "both", &["--world-size", "2", "--rank", rank, "--rendezvous", &rendezvous]);
    let (second, first) = (member("1"), member("0"));
    assert_succeeds(first);
    assert_succeeds(second);

    let weights = |run: &str| {
        let file = "models/step-0000003/unet/diffusion_pytorch_model.safetensors";
        std::fs::read(folder.join(run).join(file)).expect("a model")
    };
    assert!(weights("alone") == weights("both"), "two processes gave other weights than one");
    let metrics = |run: &str| -> Vec<serde_json::Value> {
        let text = std::fs::read_to_string(folder.join(run).join("metrics.jsonl")).expect("metrics");
        text.lines().map(|line| serde_json::from_str(line).expect("a point")).collect()
    };
    for (alone, both) in metrics("alone").iter().zip(metrics("both")) {
        let (alone, both) = (alone["loss"].as_f64().expect("a loss"), both["loss"].as_f64().expect("a loss"));
        assert!((alone - both).abs() < 1e-9, "{alone} {both}");
    }
}

#[test]
fn a_number_of_micro_batches_that_cannot_be_divided_is_refused() {
    let scratch = tempfile::tempdir().expect("a folder");
    let folder = scratch.path();
    std::fs::write(folder.join("config.toml"), CONFIG.replace("gradient_accumulation = 2", ""))
        .expect("a config");
    let port = TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a port");
    let rendezvous = port.to_string();
    let member =
        |rank| start(folder, "both", &["--world-size", "2", "--rank", rank, "--rendezvous", &rendezvous]);
    for process in [member("0"), member("1")] {
        let output = process.wait_with_output().expect("an exit status");
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && error.contains("gradient_accumulation"), "{error}");
    }
}
