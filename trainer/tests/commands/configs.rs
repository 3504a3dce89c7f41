//! Every config in `trainer/configs` is a valid spec, and the paper's configs have the paper's settings.

use domain::prepare::Crop;
use domain::study::StudySpec;
use domain::train::{HorizontalFlip, MicroConditioningSpec, Objective, OptimizerSpec, TrainSpec};
use std::path::{Path, PathBuf};

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("configs").join(name)
}

/// The spec in a config file, validated.
fn read(file: &Path) -> TrainSpec {
    let text = std::fs::read_to_string(file).expect("a config");
    let spec: TrainSpec = toml::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
    spec.validate().unwrap_or_else(|e| panic!("{}: {e}", file.display()));
    spec
}

fn files(name: &str) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder(name))
        .expect("a folder")
        .map(|entry| entry.expect("a file").path())
        .collect();
    files.sort();
    assert!(!files.is_empty());
    files
}

#[test]
fn every_training_config_is_valid() {
    for file in files("shapes").into_iter().chain(files("paper")) {
        read(&file);
    }
}

/// The quick and the full form of a study compare the same methods and settings.
#[test]
fn every_study_is_valid_and_every_quick_one_has_a_full_form() {
    let read = |file: &Path| -> StudySpec {
        let text = std::fs::read_to_string(file).expect("a config");
        let spec: StudySpec = toml::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
        spec.validate().unwrap_or_else(|e| panic!("{}: {e}", file.display()));
        spec
    };
    for file in files("studies/quick") {
        let name = file.file_name().expect("a name");
        let (quick, full) = (read(&file), read(&folder("studies/full").join(name)));
        let methods = |spec: &StudySpec| spec.methods.iter().map(|of| of.name.clone()).collect::<Vec<_>>();
        assert_eq!(methods(&quick), methods(&full), "{}", file.display());
        assert_eq!(quick.ablations, full.ablations, "{}", file.display());
        assert!(quick.budget.pairs < full.budget.pairs && quick.seeds.len() >= 3, "{}", file.display());
    }
    // Some questions need more pairs than a quick study has.
    files("studies/full").iter().for_each(|file| drop(read(file)));
}

/// Batch size, beta, tau, optimiser and learning rate of every run (docs/method.md, "The paper's settings").
#[test]
fn the_papers_configs_have_the_papers_settings() {
    let files = files("paper");
    assert_eq!(files.len(), 18);
    for file in files {
        let spec = read(&file);
        let name = file.file_stem().and_then(|name| name.to_str()).expect("a name");
        let (sdxl, style, sft) = (name.starts_with("sdxl"), !name.contains("human"), name.contains("1-sft"));
        let (batch, accumulation) = if sdxl { (8, 8) } else { (16, 4) };
        assert_eq!((spec.batch_size, spec.gradient_accumulation), (batch, accumulation * 8), "{name}");
        assert_eq!(matches!(spec.optimizer, OptimizerSpec::Adafactor { .. }), sdxl, "{name}");
        // As in Diffusion-DPO's training script, which the paper's code extends.
        let flips = (spec.horizontal_flip, spec.crop);
        assert_eq!(flips, (HorizontalFlip::PerImage, Crop::Centre), "{name}");
        let sizes = if sdxl { MicroConditioningSpec::Whole } else { MicroConditioningSpec::Image };
        assert_eq!(spec.micro_conditioning, sizes, "{name}");
        match spec.objective {
            Objective::Sft {} => assert!(sft, "{name}"),
            Objective::DiffContrast { beta, tau, .. } => {
                let expected = match (style, sdxl) {
                    (false, false) => (2000.0, 0.01),
                    (false, true) => (5000.0, 0.5),
                    (true, _) => (5000.0, 5.0),
                };
                assert!(!sft && (beta, tau) == expected, "{name}: {beta} {tau}");
            }
            _ => panic!("{name}: another objective"),
        }
        let beta = if style || sdxl { 5000.0 } else { 2000.0 };
        let slow = name.contains("2-contrast") && !name.contains("van-gogh");
        let expected = match (name.rsplit('-').next(), sft) {
            (Some("launcher"), _) => 1e-8 * 512.0,
            (Some("4"), true) => 1e-7,
            (Some("4"), false) => 1e-8,
            _ => 2000.0 / beta * 2.048e-8 * if slow { 0.1 } else { 1.0 },
        };
        let rate = spec.effective_rate();
        assert!((rate / expected - 1.0).abs() < 1e-9, "{name}: {rate:e} instead of {expected:e}");
    }
}
