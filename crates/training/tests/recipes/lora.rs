//! Adapters: training and resuming them, opening them as models, and training over them.

use anyhow::Result;
use candle_core::Device;
use diffusion::lora::WEIGHTS_FILE;
use diffusion::part_folders::PartFolders;
use diffusion::pipeline::{Prompt, Settings, TextToImage};
use domain::train::{Precision, TrainSpec};
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
        name = "adapter"
        base = "shapes"
        steps = 5
        batch_size = 2
        gradient_accumulation = 2
        seed = 11
        objective = {objective}
        data = {{ source = "shapes", set = "{set}", count = 8, seed = 3 }}
        learning_rate = {{ rate = 1e-3, schedule = "cosine", warmup_steps = 2 }}
        {more}
        "#
    );
    toml::from_str(&text).expect("a spec")
}

/// Records a run, and stops it after the step `stop_after`.
#[derive(Default)]
struct Recorder {
    stop_after: Option<u32>,
    losses: Vec<f64>,
    model: Option<SavedModel>,
    samples: Vec<Vec<RgbImage>>,
}

impl Callbacks for Recorder {
    fn step(&mut self, step: u32, metrics: &[(&'static str, f64)]) -> Result<ControlFlow<()>> {
        self.losses.push(metrics.iter().find(|(name, _)| *name == "loss").expect("a loss").1);
        Ok(if self.stop_after == Some(step) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    }
    fn samples(&mut self, _: u32, _: &Settings, images: &[RgbImage]) -> Result<()> {
        self.samples.push(images.to_vec());
        Ok(())
    }
    fn model(&mut self, model: &SavedModel) -> Result<()> {
        self.model = Some(model.clone());
        Ok(())
    }
    fn retire(&mut self, _: u32) -> Result<bool> {
        Ok(true)
    }
}

fn run(spec: &TrainSpec, start: PartFolders, folder: PathBuf, stop_after: Option<u32>) -> (Ending, Recorder) {
    let cache = folder.parent().expect("the scratch folder").join("cache");
    let paths = RunPaths { start, reference: None, run: folder, cache };
    let mut recorder = Recorder { stop_after, ..Recorder::default() };
    let ending = train(spec, &paths, &Device::Cpu, &mut recorder).expect("trains");
    (ending, recorder)
}

fn base() -> PartFolders {
    PartFolders::new(&bundled(), None)
}

/// Checks that a stopped and resumed run saves the same file as an undisturbed one.
fn resumes(spec: &TrainSpec) {
    let scratch = tempfile::tempdir().expect("a folder");
    let at = |name: &str| scratch.path().join(name);
    let (_, whole) = run(spec, base(), at("whole"), None);
    let (ending, first) = run(spec, base(), at("parts"), Some(2));
    assert_eq!(ending, Ending::Stopped(2));
    let (_, second) = run(spec, base(), at("parts"), None);
    let joined: Vec<f64> = first.losses.iter().chain(&second.losses).copied().collect();
    assert_eq!(whole.losses, joined);
    let sha = |recorder: &Recorder| recorder.model.as_ref().expect("a model").sha256.clone();
    assert_eq!(sha(&whole), sha(&second));
    if spec.objective.is_preference() {
        assert!((whole.losses[0] - std::f64::consts::LN_2).abs() < 1e-6, "the reference is not the base");
    }
    assert!((whole.losses[4] - whole.losses[0]).abs() > 1e-9, "the loss did not change");
}

#[test]
fn a_preference_run_with_a_moving_average_resumes() {
    resumes(&spec(
        "{ kind = 'diff_contrast', beta = 500.0, tau = 0.5 }",
        "winter",
        "ema_decay = 0.9\nlora = {}",
    ));
}

#[test]
fn adapters_of_convolutions_with_adafactor_resume() {
    let lora = "optimizer = { kind = 'adafactor' }
        lora = { rank = 2, alpha = 1.0, targets = ['conv1', 'to_q', 'ff.net.2', 'proj_in', 'downsamplers.0.conv'] }";
    resumes(&spec("{ kind = 'sft' }", "sketch", lora));
    resumes(&spec("{ kind = 'denoise' }", "images", lora));
}

/// The frozen weights are in 16 bits, the adapter in 32.
#[test]
fn an_adapter_over_a_base_in_half_precision_resumes() {
    let half = |steps| {
        let lora =
            "precision = 'f16'\noptimizer = { kind = 'adafactor' }\nlora = { targets = ['to_q', 'conv1'] }";
        TrainSpec { steps, ..spec("{ kind = 'sft' }", "winter", lora) }
    };
    resumes(&half(5));
    let scratch = tempfile::tempdir().expect("a folder");
    let at = |name: &str| scratch.path().join(name);
    let (_, narrow) = run(&half(2), base(), at("f16"), None);
    let wide = TrainSpec { precision: Precision::F32, ..half(2) };
    let (_, wide) = run(&wide, base(), at("f32"), None);
    let off = (narrow.losses[0] / wide.losses[0] - 1.0).abs();
    assert!(off > 0.0 && off < 5e-3, "f16 {}, f32 {}", narrow.losses[0], wide.losses[0]);
}

/// A saved adapter over its base draws the run's sample images, and another adapter can be trained over it.
#[test]
fn a_saved_adapter_draws_the_samples_of_its_run() {
    let more = "sample_every = 5\nsample_prompts = ['a red circle']\nlora = { rank = 2 }";
    let spec = spec("{ kind = 'diffusion_dpo', beta = 500.0 }", "winter", more);
    let scratch = tempfile::tempdir().expect("a folder");
    let (_, first_run) = run(&spec, base(), scratch.path().join("run"), None);
    assert_ne!(first_run.samples[0], first_run.samples[1]);
    let model = first_run.model.expect("a model");
    assert!(model.folder.join(WEIGHTS_FILE).is_file() && !model.folder.join("unet").exists());

    let over = |folder: &Path, bases: &[PathBuf]| PartFolders::with_bases(folder, bases.to_vec());
    let draw = |folders: &PartFolders| {
        let pipeline = TextToImage::open(folders, &Device::Cpu).expect("a model");
        let d = *pipeline.defaults();
        let settings = Settings {
            width: d.width,
            height: d.height,
            steps: d.steps,
            guidance_scale: d.guidance_scale,
            sampler: d.sampler,
        };
        let prompt = Prompt {
            prompt: "a red circle".to_owned(),
            negative_prompt: None,
            seed: catalogue::images::SAMPLE_SEED,
        };
        let drawn = pipeline.generate(&[prompt], &settings, &mut |_, _| ControlFlow::Continue(()));
        drawn.expect("drawn").expect("not interrupted").remove(0)
    };
    let first = over(&model.folder, &[bundled()]);
    let difference = |a: &RgbImage, b: &RgbImage| {
        a.as_raw().iter().zip(b.as_raw()).map(|(a, b)| a.abs_diff(*b)).max().expect("pixels")
    };
    // The run computes base and adapter apart; here they are fused, which rounds differently.
    assert!(difference(&draw(&first), &first_run.samples[1][0]) <= 3);

    let second = run(&spec, first.clone(), scratch.path().join("second"), None).1;
    assert!(
        difference(&draw(&first), &second.samples[0][0]) <= 3,
        "the second run does not start from the first adapter"
    );
    let second_model = second.model.expect("a model");
    let both = over(&second_model.folder, &[model.folder.clone(), bundled()]);
    assert!(difference(&draw(&both), &second.samples[1][0]) <= 3, "not both adapters are fused");
    let alone = over(&second_model.folder, &[bundled()]);
    assert_ne!(draw(&alone), draw(&both));

    // A run that trains all weights can start from an adapter too.
    let whole = TrainSpec { lora: None, steps: 2, ..spec };
    let third = run(&whole, first, scratch.path().join("third"), None).1;
    assert!(third.model.expect("a model").folder.join("unet").exists());
}

#[test]
fn invalid_lora_settings_are_refused_by_their_field() {
    let bad = |lora: &str, field: &str| {
        let spec = spec("{ kind = 'denoise' }", "images", lora);
        let problems = spec.validate().expect_err(field);
        assert!(problems.0.iter().any(|problem| problem.field == field), "{problems}");
    };
    bad("lora = { rank = 0 }", "lora.rank");
    bad("lora = { alpha = -1.0 }", "lora.alpha");
    bad("lora = { targets = [] }", "lora.targets");
    bad("from_nothing = true\nlora = {}", "lora");
    let spec = spec("{ kind = 'denoise' }", "images", "lora = { targets = ['to_x'] }");
    let scratch = tempfile::tempdir().expect("a folder");
    let paths = RunPaths {
        start: base(),
        reference: None,
        run: scratch.path().join("run"),
        cache: scratch.path().join("cache"),
    };
    let error = train(&spec, &paths, &Device::Cpu, &mut Recorder::default()).expect_err("no such layer");
    assert!(format!("{error:#}").contains("lora.targets"), "{error:#}");
}
