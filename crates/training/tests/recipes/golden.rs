//! Golden curves: losses and gradient norms of short runs of the bundled model, one per objective and one with an
//! adapter. A refactor keeps them. A change of the mathematics writes new ones, and its commit says why:
//!
//!     GOLDEN=write cargo test -p training --test recipes golden
//!
//! `GOLDEN=hashes` prints the SHA-256 of each run's weights (with `-- --nocapture`), which two builds on one machine
//! must agree on.

use anyhow::Result;
use candle_core::Device;
use diffusion::part_folders::PartFolders;
use domain::run::metric;
use domain::train::TrainSpec;
use serde_json::{Value, json};
use std::ops::ControlFlow;
use std::path::Path;
use training::checkpoint::SavedModel;
use training::recipes::callbacks::Callbacks;
use training::recipes::run_paths::RunPaths;
use training::recipes::train::train;

/// Relative tolerances: CPUs with other vector units sum in another order.
const LOSS_TOLERANCE: f64 = 1e-4;
const NORM_TOLERANCE: f64 = 2e-3;

const RUNS: [(&str, &str); 7] = [
    ("denoise", "objective = { kind = 'denoise', snr_clamp = { min = 0.5, max = 5.0 } }"),
    ("sft", "objective = { kind = 'sft' }"),
    ("diffusion_dpo", "objective = { kind = 'diffusion_dpo', beta = 2000.0 }"),
    ("diffusion_lpo", "objective = { kind = 'diffusion_lpo', beta = 2000.0 }"),
    ("diff_contrast", "objective = { kind = 'diff_contrast', beta = 2000.0, tau = 0.1 }"),
    ("rpo", "objective = { kind = 'rpo', beta = 2000.0, tau = 0.1 }"),
    (
        "diff_contrast_lora",
        "objective = { kind = 'diff_contrast', beta = 2000.0, tau = 0.1 }\nlora = { rank = 4 }",
    ),
];

fn spec(name: &str, objective: &str) -> TrainSpec {
    let text = format!(
        r#"
        name = "golden-{name}"
        base = "shapes"
        steps = 6
        batch_size = 4
        seed = 21
        {objective}
        data = {{ source = "shapes", set = "winter", count = 16, seed = 5 }}
        learning_rate = {{ rate = 2e-5, warmup_steps = 2 }}
        "#
    );
    toml::from_str(&text).expect("a spec")
}

#[derive(Default)]
struct Recorder {
    losses: Vec<f64>,
    norms: Vec<f64>,
    sha256: String,
}

impl Callbacks for Recorder {
    fn step(&mut self, _: u32, metrics: &[(&'static str, f64)]) -> Result<ControlFlow<()>> {
        let value = |name: &str| metrics.iter().find(|(known, _)| *known == name).expect("a metric").1;
        self.losses.push(value(metric::LOSS));
        self.norms.push(value(metric::GRAD_NORM));
        Ok(ControlFlow::Continue(()))
    }
    fn retire(&mut self, _: u32) -> Result<bool> {
        Ok(true)
    }
    fn model(&mut self, model: &SavedModel) -> Result<()> {
        self.sha256.clone_from(&model.sha256);
        Ok(())
    }
}

fn run(name: &str, objective: &str) -> Recorder {
    let bundled = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/shapes");
    let scratch = tempfile::tempdir().expect("a folder");
    let paths = RunPaths {
        start: PartFolders::new(&bundled, None),
        reference: None,
        run: scratch.path().join("run"),
        cache: scratch.path().join("cache"),
    };
    let mut recorder = Recorder::default();
    train(&spec(name, objective), &paths, &Device::Cpu, &mut recorder).expect("trains");
    recorder
}

/// The values that differ from the golden ones by more than the tolerance.
fn differences(name: &str, golden: &Value, values: &[f64], tolerance: f64) -> Vec<String> {
    let golden: Vec<f64> = serde_json::from_value(golden.clone()).expect("a list of numbers");
    assert_eq!(golden.len(), values.len(), "{name}");
    let steps = golden.iter().zip(values).enumerate();
    steps
        .filter(|(_, (golden, value))| (*golden - *value).abs() > tolerance * golden.abs())
        .map(|(step, (golden, value))| format!("{name}, step {}: {value}, golden {golden}", step + 1))
        .collect()
}

#[test]
fn curves_equal_the_golden_ones() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/golden_curves.json");
    let mode = std::env::var("GOLDEN").unwrap_or_default();
    let runs = RUNS.map(|(name, objective)| (name, run(name, objective)));
    if mode == "hashes" {
        runs.iter().for_each(|(name, run)| println!("{name} {}", run.sha256));
    }
    if mode == "write" {
        let curves = runs
            .iter()
            .map(|(name, run)| ((*name).to_owned(), json!({ "loss": run.losses, "grad_norm": run.norms })));
        let text = serde_json::to_string_pretty(&Value::Object(curves.collect())).expect("JSON");
        std::fs::write(&file, text + "\n").expect("the fixture");
    }
    let golden: Value = serde_json::from_slice(&std::fs::read(&file).expect("the fixture")).expect("JSON");
    let mut found = Vec::new();
    for (name, run) in &runs {
        let golden = &golden[name];
        found.extend(differences(&format!("{name} loss"), &golden["loss"], &run.losses, LOSS_TOLERANCE));
        found.extend(differences(&format!("{name} norm"), &golden["grad_norm"], &run.norms, NORM_TOLERANCE));
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

/// The tolerances are small enough to notice a change of beta by 1%.
#[test]
fn a_change_of_one_percent_is_detected() {
    let golden = json!([0.69, 0.68]);
    assert_eq!(differences("loss", &golden, &[0.69, 0.6868], LOSS_TOLERANCE).len(), 1);
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/golden_curves.json");
    let golden: Value = serde_json::from_slice(&std::fs::read(&file).expect("the fixture")).expect("JSON");
    let other = run("diffusion_dpo", "objective = { kind = 'diffusion_dpo', beta = 2020.0 }");
    let norms = &golden["diffusion_dpo"]["grad_norm"];
    assert!(!differences("norm", norms, &other.norms, NORM_TOLERANCE).is_empty());
}
