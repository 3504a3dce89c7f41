//! A run that was stopped and resumed ends in the same weights, bit for bit, as an undisturbed one.

use anyhow::Result;
use candle_core::Device;
use catalogue::run_folder;
use diffusion::part_folders::PartFolders;
use diffusion::pipeline::Settings;
use domain::train::TrainSpec;
use image::RgbImage;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use training::checkpoint::SavedModel;
use training::recipes::callbacks::Callbacks;
use training::recipes::run_paths::RunPaths;
use training::recipes::train::{Ending, train};

fn bundled() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/shapes")
}

fn spec(objective: &str, set: &str, more: &str) -> TrainSpec {
    let text = format!(
        r#"
        name = "resume-{set}"
        base = "shapes"
        steps = 5
        batch_size = 3
        gradient_accumulation = 2
        seed = 11
        {more}
        objective = {objective}
        data = {{ source = "shapes", set = "{set}", count = 14, seed = 3 }}
        learning_rate = {{ rate = 1e-4, schedule = "cosine", warmup_steps = 2 }}
        "#
    );
    toml::from_str(&text).expect("a spec")
}

fn paths(scratch: &Path, run: &str) -> RunPaths {
    paths_from(PartFolders::new(&bundled(), None), scratch, run)
}

fn paths_from(start: PartFolders, scratch: &Path, run: &str) -> RunPaths {
    RunPaths { start, reference: None, run: scratch.join(run), cache: scratch.join("cache") }
}

/// Records a run, and stops it after the step `stop_after`.
#[derive(Default)]
struct Recorder {
    stop_after: Option<u32>,
    losses: Vec<(u32, f64)>,
    began: Vec<u32>,
    model: Option<SavedModel>,
    samples: Vec<(u32, usize)>,
    /// Steps of the models that rotation asked about.
    retired: Vec<u32>,
    /// Steps of the models that must not be deleted.
    in_use: Vec<u32>,
    validation: Vec<(u32, f64)>,
}

impl Callbacks for Recorder {
    fn begin(&mut self, step: u32) -> Result<()> {
        self.began.push(step);
        Ok(())
    }
    fn step(&mut self, step: u32, metrics: &[(&'static str, f64)]) -> Result<ControlFlow<()>> {
        let loss = metrics.iter().find(|(name, _)| *name == "loss").expect("a loss").1;
        self.losses.push((step, loss));
        let validation = metrics.iter().find(|(name, _)| *name == "validation/loss");
        self.validation.extend(validation.map(|(_, value)| (step, *value)));
        Ok(if self.stop_after == Some(step) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    }
    fn samples(&mut self, step: u32, _: &Settings, images: &[RgbImage]) -> Result<()> {
        self.samples.push((step, images.len()));
        Ok(())
    }
    fn retire(&mut self, step: u32) -> Result<bool> {
        self.retired.push(step);
        Ok(!self.in_use.contains(&step))
    }
    fn model(&mut self, model: &SavedModel) -> Result<()> {
        self.model = Some(model.clone());
        Ok(())
    }
}

/// Checks that a run of the bundled model that is stopped after step 2 resumes exactly.
fn check(spec: &TrainSpec) {
    check_at(spec, 2);
}

/// As `check`, stopped after step `stop`.
fn check_at(spec: &TrainSpec, stop: u32) {
    check_model(&PartFolders::new(&bundled(), None), spec, stop);
}

/// As `check_at`, of another model.
fn check_model(model: &PartFolders, spec: &TrainSpec, stop: u32) {
    let scratch = tempfile::tempdir().expect("a folder");
    let paths = |run: &str| paths_from(model.clone(), scratch.path(), run);
    let mut whole = Recorder::default();
    let ending = train(spec, &paths("whole"), &Device::Cpu, &mut whole).expect("trains");
    assert_eq!(ending, Ending::Finished);
    assert!(whole.losses.iter().all(|(_, loss)| loss.is_finite()));

    let mut first = Recorder { stop_after: Some(stop), ..Recorder::default() };
    let ending = train(spec, &paths("parts"), &Device::Cpu, &mut first).expect("trains");
    assert_eq!(ending, Ending::Stopped(stop));
    let mut second = Recorder::default();
    train(spec, &paths("parts"), &Device::Cpu, &mut second).expect("resumes");
    assert_eq!(second.began, [stop]);
    let joined: Vec<_> = first.losses.iter().chain(&second.losses).copied().collect();
    assert_eq!(whole.losses, joined);
    let sha = |r: &Recorder| r.model.as_ref().expect("a model").sha256.clone();
    assert_eq!(sha(&whole), sha(&second));
    let samples = if spec.sample_every > 0 { spec.sample_prompts.len() } else { 0 };
    assert!(whole.samples.iter().all(|&(_, count)| count == samples && count > 0));
    assert_eq!(whole.samples.is_empty(), samples == 0);
}

/// With two text encoders, pooled text and time ids. The CLIP features come from the bundled model's CLIP.
#[test]
fn an_sdxl_model() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../diffusion/tests/fixtures/sdxl");
    check_model(
        &PartFolders::new(&folder, Some(&bundled())),
        &spec(
            "{ kind = 'diff_contrast', beta = 500.0, tau = 0.5 }",
            "winter",
            "optimizer = { kind = 'adafactor' }\nsample_every = 5\nsample_prompts = ['a red circle']",
        ),
        2,
    );
}

#[test]
fn diff_contrast() {
    check(&spec("{ kind = 'diff_contrast', beta = 500.0, tau = 0.5 }", "winter", "ema_decay = 0.9"));
}

#[test]
fn the_other_preference_objectives() {
    check(&spec("{ kind = 'diffusion_dpo', beta = 500.0 }", "sketch", ""));
    check(&spec("{ kind = 'diffusion_lpo', beta = 500.0 }", "sketch", ""));
    check(&spec("{ kind = 'rpo', beta = 500.0, tau = 5.0 }", "quality", "noise = 'batch_shared'"));
}

#[test]
fn horizontal_flips_and_random_crops() {
    let more = "horizontal_flip = 'per_image'";
    check(&spec("{ kind = 'diffusion_dpo', beta = 500.0 }", "quality", more));
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../diffusion/tests/fixtures/sdxl");
    let sdxl = PartFolders::new(&folder, Some(&bundled()));
    let more = "horizontal_flip = 'per_pair'\ncrop = 'random'";
    check_model(&sdxl, &spec("{ kind = 'sft' }", "winter", more), 3);
}

#[test]
fn in_less_memory() {
    check(&spec(
        "{ kind = 'diff_contrast', beta = 500.0, tau = 0.5 }",
        "winter",
        "memory = { two_pass = true, checkpoint_activations = true }",
    ));
}

#[test]
fn bf16_and_int8_moments() {
    for moments in ["bf16", "int8"] {
        let more = format!("optimizer = {{ kind = 'adam_w', moments = '{moments}' }}");
        check(&spec("{ kind = 'sft' }", "winter", &more));
    }
}

#[test]
fn half_precision() {
    let half = spec("{ kind = 'diffusion_dpo', beta = 500.0 }", "winter", "precision = 'f16'");
    // Short, because f16 is slow on a CPU: our kernels are for f32.
    check_at(&TrainSpec { steps: 2, batch_size: 1, gradient_accumulation: 1, ..half }, 1);
    let bf16 = spec("{ kind = 'sft' }", "winter", "precision = 'bf16'");
    let scratch = tempfile::tempdir().expect("a folder");
    let run = paths(scratch.path(), "run");
    let error = train(&bf16, &run, &Device::Cpu, &mut Recorder::default()).expect_err("no bf16");
    assert!(format!("{error:#}").contains("precision: bf16"), "{error:#}");
}

/// Of five checkpoints, rotation keeps the two newest, the best and one that is in use.
#[test]
fn checkpoint_rotation() {
    let more = "checkpoint_every = 1\nkeep_checkpoints = 2\nvalidation_examples = 3\nkeep_best = true\nema_decay = 0.5";
    let spec = spec("{ kind = 'sft' }", "winter", more);
    let scratch = tempfile::tempdir().expect("a folder");
    let run = paths(scratch.path(), "run");
    let mut recorder = Recorder { in_use: vec![2], ..Recorder::default() };
    train(&spec, &run, &Device::Cpu, &mut recorder).expect("trains");
    let steps: Vec<u32> = recorder.validation.iter().map(|(step, _)| *step).collect();
    assert_eq!(steps, [1, 2, 3, 4, 5]);
    let best = recorder.validation.iter().min_by(|a, b| a.1.total_cmp(&b.1)).expect("a best").0;
    let left: Vec<u32> = (1..=5).filter(|step| run_folder::model(&run.run, *step).is_dir()).collect();
    let kept: Vec<u32> = (1..=5).filter(|step| *step >= 4 || *step == 2 || *step == best).collect();
    assert_eq!(left, kept, "best is {best} of {:?}", recorder.validation);
    assert!(!recorder.retired.contains(&best) && !recorder.retired.contains(&5));
    // Validation does not change how the run resumes.
    check(&spec);
}

#[test]
fn sft_and_denoising() {
    check(&spec("{ kind = 'sft' }", "van_gogh", "optimizer = { kind = 'adafactor', beta1 = 0.9 }"));
    check(&spec("{ kind = 'denoise', snr_clamp = { min = 0.5, max = 5.0 } }", "images", "ema_decay = 0.99"));
}

/// A preference run starts at ln 2, because policy and reference are equal.
#[test]
fn a_preference_run_starts_at_ln_2_and_draws_samples() {
    let spec = spec(
        "{ kind = 'diff_contrast', beta = 2000.0, tau = 0.1 }",
        "winter",
        "sample_every = 5\nsample_prompts = ['a red circle', 'a blue star']",
    );
    let scratch = tempfile::tempdir().expect("a folder");
    let paths = paths(scratch.path(), "run");
    let mut recorder = Recorder::default();
    train(&spec, &paths, &Device::Cpu, &mut recorder).expect("trains");
    assert!((recorder.losses[0].1 - std::f64::consts::LN_2).abs() < 1e-6, "{}", recorder.losses[0].1);
    // The noise differs from step to step, so the loss need not fall, but it must change.
    assert!((recorder.losses[4].1 - std::f64::consts::LN_2).abs() > 1e-6);
    assert_eq!(recorder.samples, [(0, 2), (5, 2)]);
}

/// A state of another spec, or a damaged one, is an error that names the file; it is never replaced.
#[test]
fn a_state_of_another_spec_or_a_damaged_one_is_refused() {
    let mine = spec("{ kind = 'sft' }", "winter", "");
    let scratch = tempfile::tempdir().expect("a folder");
    let paths = paths(scratch.path(), "run");
    let mut first = Recorder { stop_after: Some(1), ..Recorder::default() };
    train(&mine, &paths, &Device::Cpu, &mut first).expect("trains");
    let other = TrainSpec { seed: 12, ..mine.clone() };
    let error = train(&other, &paths, &Device::Cpu, &mut Recorder::default()).expect_err("another spec");
    assert!(format!("{error:#}").contains("belongs to another spec"), "{error:#}");
    let file = paths.run.join("state.safetensors");
    let bytes = std::fs::read(&file).expect("a state");
    std::fs::write(&file, &bytes[..bytes.len() / 2]).expect("damaged");
    let error = train(&mine, &paths, &Device::Cpu, &mut Recorder::default()).expect_err("damaged");
    assert!(format!("{error:#}").contains("state.safetensors"), "{error:#}");
}

/// 1e-30 is a number that some JSON parsers read back with another last bit; a resumed run must recognise its own spec.
#[test]
fn a_spec_with_small_numbers_survives_json() {
    let spec = spec("{ kind = 'sft' }", "winter", "optimizer = { kind = 'adafactor', epsilon = 1e-30 }");
    let text = serde_json::to_vec(&spec).expect("JSON");
    assert_eq!(serde_json::from_slice::<TrainSpec>(&text).expect("a spec"), spec);
}
