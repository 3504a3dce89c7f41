//! The command `evaluate` on the bundled model: the three forms of the report, and that a killed and restarted
//! evaluation writes the same bytes.

use serde_json::Value;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const CONFIG: &str = r#"
models = ["shapes", "twin=MODELS/shapes", "other=OTHER"]
steps = 3
seed = 5
prompts = { source = "shapes_held_out", count = 18 }
fid = { reference = "shapes:winter:24:3" }
"#;

const MODELS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../models");

fn command(config: &Path, out: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_diff-contrast-trainer"));
    command
        .arg("evaluate")
        .arg(config)
        .args(["--models", MODELS, "--base-parts", concat!(env!("CARGO_MANIFEST_DIR"), "/../models/shapes")])
        .arg("--out")
        .arg(out)
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    command
}

/// Writes a model with the bundled one's UNet and other weights.
fn write_other(folder: &Path) {
    let bundled = Path::new(MODELS).join("shapes/unet");
    let unet = folder.join("unet");
    std::fs::create_dir_all(&unet).expect("a folder");
    std::fs::copy(bundled.join("config.json"), unet.join("config.json")).expect("copied");
    let name = "diffusion_pytorch_model.safetensors";
    let device = candle_core::Device::Cpu;
    let weights = candle_core::safetensors::load(bundled.join(name), &device).expect("weights");
    let scaled = |t: &candle_core::Tensor| (t * 0.97).expect("scaled");
    let weights = weights.iter().map(|(name, t)| (name.clone(), scaled(t))).collect();
    diffusion::weights::save(&weights, &unet.join(name)).expect("saved");
}

#[test]
fn a_killed_evaluation_gives_the_report_of_an_uninterrupted_one() {
    let scratch = tempfile::tempdir().expect("a folder");
    let at = |name: &str| scratch.path().join(name);
    write_other(&at("other"));
    let text = CONFIG.replace("MODELS", MODELS).replace("OTHER", &at("other").display().to_string());
    std::fs::write(at("spec.toml"), text).expect("written");

    let output = command(&at("spec.toml"), &at("whole")).output().expect("the program");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));

    let mut killed = command(&at("spec.toml"), &at("killed")).spawn().expect("the program");
    let begun = Instant::now();
    while !at("killed/images/01/00007.png").is_file() {
        assert!(begun.elapsed() < Duration::from_secs(300), "no image was generated");
        std::thread::sleep(Duration::from_millis(5));
    }
    killed.kill().expect("killed");
    killed.wait().expect("an exit status");
    assert!(!at("killed/report.html").exists(), "it finished before it was killed");
    // As if it was killed while it wrote a batch: one image is missing.
    std::fs::remove_file(at("killed/images/01/00003.png")).expect("removed");
    let output = command(&at("spec.toml"), &at("killed")).output().expect("the program");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    for name in ["report.json", "scores.csv", "report.html"] {
        let read = |folder: &str| std::fs::read(at(folder).join(name)).expect("a report");
        assert!(read("whole") == read("killed"), "{name} differs");
    }

    let report = std::fs::read(at("whole/report.json")).expect("a report");
    let report: Value = serde_json::from_slice(&report).expect("JSON");
    assert_eq!((&report["prompts"], &report["baseline"]), (&18.into(), &"shapes".into()));
    // The same weights generate the same images from the same noise; other weights do not.
    let comparisons = report["comparisons"].as_array().expect("comparisons");
    let of = |model: &str, metric: &str| {
        let found = comparisons.iter().find(|c| c["model"] == model && c["metric"] == metric);
        found.unwrap_or_else(|| panic!("{model} is not compared by {metric}"))
    };
    assert_eq!(of("twin", "clip_score")["overall"]["ties"], 18);
    assert_eq!(of("twin", "shape_and_colour")["overall"]["win_rate"]["value"], 0.5);
    assert_ne!(of("other", "clip_score")["overall"]["ties"], 18);
    assert!(!of("other", "clip_score")["categories"].as_object().expect("categories").is_empty());
    let fid = &report["models"][2]["fid"];
    assert!(fid["metric"].as_str().expect("a name").contains("not FID"), "{fid}");
    assert_eq!(report["models"][0]["fid"]["frechet"], report["models"][1]["fid"]["frechet"]);
    let table = std::fs::read_to_string(at("whole/scores.csv")).expect("a table");
    // A CLIP and three rules.
    assert_eq!(table.lines().count(), 1 + 3 * 4 * 18);

    // The folder belongs to this evaluation.
    std::fs::write(
        at("spec.toml"),
        CONFIG.replace("seed = 5", "seed = 6").replace(", \"other=OTHER\"", "").replace("MODELS", MODELS),
    )
    .expect("written");
    let output = command(&at("spec.toml"), &at("whole")).output().expect("the program");
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && complaint.contains("another spec"), "{complaint}");
}

/// A prompt of more tokens than the text encoder takes is counted in the report, and told once.
#[test]
fn cut_prompts_are_in_the_account() {
    let scratch = tempfile::tempdir().expect("a folder");
    let at = |name: &str| scratch.path().join(name);
    let long = "a red circle ".repeat(30);
    let spec = format!(
        "model = \"shapes\"\nsteps = 1\nprompts = {{ source = \"list\", prompts = [\"a blue square\", \"{}\"] }}\n",
        long.trim()
    );
    std::fs::write(at("spec.toml"), spec).expect("written");
    let output = command(&at("spec.toml"), &at("out")).stdout(Stdio::piped()).output().expect("the program");
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{stderr}");
    let report = std::fs::read(at("out/report.json")).expect("a report");
    let report: Value = serde_json::from_slice(&report).expect("JSON");
    // The bundled model's text encoder takes 24 tokens: start, 22 of the text, end.
    let dropped = format!("red circle {}", "a red circle ".repeat(22));
    let expected = serde_json::json!({
        "count": 1, "text": long.trim(), "dropped": dropped.trim(), "tokens": 90 - 22
    });
    assert_eq!(report["cut"], expected);
    assert!(stdout.contains("1 text is longer than the text encoder reads"), "{stdout}");
    assert_eq!(stderr.matches("longer than the text encoder reads").count(), 1, "{stderr}");
    let page = std::fs::read_to_string(at("out/report.html")).expect("a page");
    assert!(page.contains("longer than the text encoder reads"));
}

/// A file, a change of it, and what the refusal says.
type Change<'a> = (&'a str, &'a dyn Fn(&Path), &'a str);

/// Images that another scheduler, autoencoder, text encoder, UNet or adapter drew are not mixed with new ones.
#[test]
fn an_evaluation_is_refused_once_anything_that_decides_images_has_changed() {
    let scratch = tempfile::tempdir().expect("a folder");
    let at = |name: &str| scratch.path().join(name);
    files::copy_folder(&Path::new(MODELS).join("shapes"), &at("whole")).expect("copied");
    let run = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_diff-contrast-trainer"));
        let output = command.current_dir(scratch.path()).args(arguments).args(["--models", MODELS]).output();
        let output = output.expect("the program");
        (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let train = "name = 'tl'\nbase = 'shapes'\nobjective = { kind = 'sft' }\nsteps = 2\nbatch_size = 2\ncheckpoint_every = 1\n\
                 data = { source = 'shapes', set = 'winter', count = 4 }\nlearning_rate = { rate = 1e-2 }\nlora = { rank = 2 }";
    std::fs::write(at("train.toml"), train).expect("written");
    let (succeeds, error) = run(&["train", "train.toml", "--out", "run"]);
    assert!(succeeds, "{error}");
    let [adapter, later] = ["run/models/step-0000001", "run/models/step-0000002"].map(at);
    files::copy_folder(&adapter, &at("adapter")).expect("copied");

    let spec = "models = ['whole', 'l=adapter']\nsteps = 2\n\
                prompts = { source = 'list', prompts = ['a red circle on a blue background'] }";
    std::fs::write(at("ev.toml"), spec).expect("written");
    let evaluate = || run(&["evaluate", "ev.toml", "--out", "ev"]);
    let (succeeds, error) = evaluate();
    assert!(succeeds, "{error}");
    let manifest: Value =
        serde_json::from_slice(&std::fs::read(at("ev/evaluation.json")).expect("a file")).expect("JSON");
    let [whole, adapted] = [0, 1].map(|index| &manifest["models"][index]);
    assert_ne!(whole["fingerprint"], adapted["fingerprint"]);
    let file = "pytorch_lora_weights.safetensors";
    let sha256 = files::sha256::of_file(&at("adapter").join(file)).expect("a file");
    assert_eq!(adapted["parts"]["adapter weights"], Value::String(sha256));

    let flip = |file: &Path| {
        let mut bytes = std::fs::read(file).expect("a file");
        let at = bytes.len() - 4;
        bytes[at] ^= 1;
        std::fs::write(file, bytes).expect("written");
    };
    let changes: [Change<'_>; 6] = [
        (
            "adapter/pytorch_lora_weights.safetensors",
            &|at| drop(std::fs::copy(later.join(file), at)),
            "model \"l\": adapter weights",
        ),
        (
            "whole/scheduler/scheduler_config.json",
            &|at| {
                let text = std::fs::read_to_string(at).expect("text");
                std::fs::write(at, text.replace("v_prediction", "epsilon")).expect("written");
            },
            "model \"whole\": scheduler config",
        ),
        ("whole/vae/diffusion_pytorch_model.safetensors", &flip, "vae weights"),
        ("whole/text_encoder/model.safetensors", &flip, "text_encoder weights"),
        ("whole/unet/diffusion_pytorch_model.safetensors", &flip, "unet weights"),
        (
            "whole/generation_config.json",
            &|at| {
                let mut json: Value =
                    serde_json::from_slice(&std::fs::read(at).expect("a file")).expect("JSON");
                json["guidance_scale"] = 1.25.into();
                std::fs::write(at, json.to_string()).expect("written");
            },
            "generation_config.json",
        ),
    ];
    for (name, change, expected) in changes {
        let original = std::fs::read(at(name)).expect("a file");
        change(&at(name));
        assert_ne!(original, std::fs::read(at(name)).expect("a file"), "{name} did not change");
        let (succeeds, error) = evaluate();
        assert!(!succeeds && error.contains("belongs to another spec or other weights"), "{name}: {error}");
        assert!(error.contains(expected), "{expected}: {error}");
        std::fs::write(at(name), original).expect("restored");
    }
    let (succeeds, error) = evaluate();
    assert!(succeeds, "the models are those of the start again: {error}");
}
