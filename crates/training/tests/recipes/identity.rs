//! What a run learns from and which of its settings decide updates: a resumed run may change the rest, is refused with other
//! models or another set, and names what differs.

use anyhow::Result;
use candle_core::Device;
use diffusion::part_folders::PartFolders;
use domain::data::DataSpec;
use domain::train::TrainSpec;
use serde_json::Value;
use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use tempfile::TempDir;
use training::checkpoint::SavedModel;
use training::origins::Origins;
use training::recipes::callbacks::Callbacks;
use training::recipes::run_paths::RunPaths;
use training::recipes::train::{Ending, train};

#[derive(Debug, Default)]
struct Recorder {
    stop_after: Option<u32>,
    new_rate: bool,
    began: u32,
    losses: Vec<f64>,
    rates: Vec<f64>,
    model: Option<SavedModel>,
}

impl Callbacks for Recorder {
    fn takes_new_learning_rate(&self) -> bool {
        self.new_rate
    }
    fn begin(&mut self, step: u32) -> Result<()> {
        self.began = step;
        Ok(())
    }
    fn step(&mut self, step: u32, metrics: &[(&'static str, f64)]) -> Result<ControlFlow<()>> {
        let value = |name: &str| metrics.iter().find(|(found, _)| *found == name).expect(name).1;
        self.losses.push(value("loss"));
        self.rates.push(value("learning_rate"));
        Ok(if self.stop_after == Some(step) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    }
    fn retire(&mut self, _: u32) -> Result<bool> {
        Ok(true)
    }
    fn model(&mut self, model: &SavedModel) -> Result<()> {
        self.model = Some(model.clone());
        Ok(())
    }
}

fn bundled() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/shapes")
}

/// A run over copies of the bundled model and of a set of pairs, all of which a test may change.
struct World {
    scratch: TempDir,
    base: PathBuf,
    reference: Option<PathBuf>,
    spec: TrainSpec,
}

impl World {
    fn new(objective: &str, more: &str) -> Self {
        let scratch = tempfile::tempdir().expect("a folder");
        let at = |name: &str| scratch.path().join(name);
        files::copy_folder(&bundled(), &at("base")).expect("copied");
        fs::create_dir(at("pairs")).expect("a folder");
        let mut list = String::new();
        for index in 0..4_u8 {
            for (side, shade) in [("winner", 200), ("loser", 90)] {
                let image = image::RgbImage::from_fn(64, 64, |x, _| {
                    image::Rgb([shade, index * 40, if x < 32 { 10 } else { 250 }])
                });
                image.save(at("pairs").join(format!("{side}{index}.png"))).expect("an image");
            }
            let line = serde_json::json!({
                "prompt": format!("a circle {index}"), "winner": format!("winner{index}.png"),
                "loser": format!("loser{index}.png"),
            });
            list += &format!("{line}\n");
        }
        fs::write(at("pairs/pairs.jsonl"), list).expect("a list");
        let text = format!(
            "name = 'n'\nbase = 'base'\nsteps = 3\nbatch_size = 2\nseed = 4\n{more}\nobjective = {objective}\n\
             data = {{ source = 'folder', folder = '{}' }}",
            at("pairs").display()
        );
        let rate = if more.contains("learning_rate") { "" } else { "\nlearning_rate = { rate = 1e-4 }" };
        let spec: TrainSpec = toml::from_str(&(text + rate)).expect("a spec");
        spec.validate().expect("valid");
        Self { base: at("base"), reference: None, spec, scratch }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }

    fn paths(&self) -> RunPaths {
        RunPaths {
            start: PartFolders::new(&self.base, None),
            reference: self.reference.as_ref().map(|folder| PartFolders::new(folder, None)),
            run: self.at("run"),
            cache: self.at("cache"),
        }
    }

    fn train(&self, stop_after: Option<u32>) -> Result<(Ending, Recorder)> {
        self.train_with(Recorder { stop_after, ..Recorder::default() })
    }

    fn train_with(&self, mut recorder: Recorder) -> Result<(Ending, Recorder)> {
        let ending = train(&self.spec, &self.paths(), &Device::Cpu, &mut recorder)?;
        Ok((ending, recorder))
    }

    fn refused(&self) -> String {
        let state = fs::read(self.at("run/state.safetensors")).expect("a state");
        let error = format!("{:#}", self.train(None).expect_err("other files or settings"));
        assert!(state == fs::read(self.at("run/state.safetensors")).expect("a state"), "the state changed");
        error
    }
}

fn set(file: &Path, key: &str, value: impl Into<Value>) {
    let mut json: Value = serde_json::from_slice(&fs::read(file).expect("a file")).expect("JSON");
    json[key] = value.into();
    fs::write(file, serde_json::to_vec(&json).expect("JSON")).expect("written");
}

/// Flips the lowest bit of the last value of a file.
fn change_last_byte(file: &Path) {
    let mut bytes = fs::read(file).expect("a file");
    let at = bytes.len() - 4;
    bytes[at] ^= 1;
    fs::write(file, bytes).expect("written");
}

/// A file, a change of it, and what the refusal says.
type Change<'a> = (&'a str, &'a dyn Fn(&Path), &'a str);

#[test]
fn a_resume_with_another_base_or_set_is_refused_and_names_what_changed() {
    let mut world = World::new("{ kind = 'diffusion_dpo', beta = 500.0 }", "");
    world.train(Some(1)).expect("stops");
    let weights = "unet/diffusion_pytorch_model.safetensors";
    let changes: [Change<'_>; 5] = [
        (
            "scheduler/scheduler_config.json",
            &|file| set(file, "prediction_type", "epsilon"),
            "the scheduler config of the base",
        ),
        (weights, &change_last_byte, "the unet weights of the base"),
        ("vae/diffusion_pytorch_model.safetensors", &change_last_byte, "the vae weights of the base"),
        (
            "tokenizer/tokenizer_config.json",
            &|file| set(file, "model_max_length", 70),
            "the tokenizer of the base",
        ),
        (
            "../pairs/winner1.png",
            &|file| drop(fs::copy(file.with_file_name("winner0.png"), file)),
            "the rows or images of the set",
        ),
    ];
    for (file, change, expected) in changes {
        let file = world.base.join(file);
        let original = fs::read(&file).expect("a file");
        change(&file);
        let error = world.refused();
        assert!(error.contains("began with other files") && error.contains(expected), "{expected}: {error}");
        fs::write(&file, original).expect("restored");
    }
    // A row that is added, and a caption that is changed.
    let list = world.at("pairs/pairs.jsonl");
    let text = fs::read_to_string(&list).expect("a list");
    fs::write(&list, text.replace("a circle 1", "a square 1")).expect("written");
    assert!(world.refused().contains("the rows or images of the set"), "a caption");
    fs::write(&list, &text).expect("restored");

    // What decides no update of this run, and where everything lies, may change.
    set(&world.base.join("generation_config.json"), "guidance_scale", 1.5);
    fs::rename(&world.base, world.at("moved")).expect("moved");
    fs::rename(world.at("pairs"), world.at("moved pairs")).expect("moved");
    world.base = world.at("moved");
    world.spec.base = "moved".to_owned();
    let DataSpec::Folder(data) = &mut world.spec.data else { panic!("a folder") };
    data.folder = data.folder.replace("pairs", "moved pairs");
    let (ending, recorder) = world.train(None).expect("goes on");
    assert_eq!((ending, recorder.began, recorder.losses.len()), (Ending::Finished, 1, 2));

    // Each model says what it was made from.
    let model = recorder.model.expect("a model").folder;
    let origins = fs::read(model.join("fingerprints.json")).expect("fingerprints");
    let origins: Origins = serde_json::from_slice(&origins).expect("fingerprints");
    let weights = files::sha256::of_file(&world.base.join(weights)).expect("a file");
    assert_eq!(origins.base.parts()["unet weights"], weights);
    assert!(origins.reference.is_none() && origins.set.contains_key("latents"));
}

#[test]
fn a_resume_with_another_reference_is_refused() {
    let mut world = World::new("{ kind = 'diffusion_dpo', beta = 500.0 }", "reference = 'reference'");
    files::copy_folder(&bundled(), &world.at("reference")).expect("copied");
    world.reference = Some(world.at("reference"));
    world.train(Some(1)).expect("stops");
    change_last_byte(&world.at("reference/unet/diffusion_pytorch_model.safetensors"));
    let error = world.refused();
    assert!(error.contains("the unet weights of the reference"), "{error}");
    assert!(!error.contains("of the base") && !error.contains("of the set"), "{error}");
}

#[test]
fn an_adapter_below_a_run_is_part_of_its_base() {
    let world = World::new("{ kind = 'sft' }", "lora = { rank = 2 }");
    let (_, first) = world.train(None).expect("trains");
    let adapter = first.model.expect("a model").folder;
    let over = |adapter: &Path| RunPaths {
        start: PartFolders::new(adapter, Some(&world.base)),
        reference: None,
        run: world.at("over"),
        cache: world.at("cache"),
    };
    let mut stops = Recorder { stop_after: Some(1), ..Recorder::default() };
    train(&world.spec, &over(&adapter), &Device::Cpu, &mut stops).expect("stops");
    change_last_byte(&adapter.join("pytorch_lora_weights.safetensors"));
    let error = train(&world.spec, &over(&adapter), &Device::Cpu, &mut Recorder::default());
    let error = format!("{:#}", error.expect_err("another adapter"));
    assert!(error.contains("the adapter weights of the base"), "{error}");
}

/// The bits are those of a run that had as many steps from the start.
#[test]
fn a_run_is_prolonged() {
    let mut whole = World::new("{ kind = 'diffusion_dpo', beta = 500.0 }", "ema_decay = 0.9");
    whole.spec.steps = 5;
    let (_, undisturbed) = whole.train(None).expect("trains");

    let mut world = World::new("{ kind = 'diffusion_dpo', beta = 500.0 }", "ema_decay = 0.9");
    let (ending, first) = world.train(None).expect("trains");
    assert_eq!((ending, first.losses.len()), (Ending::Finished, 3));
    let spec = &mut world.spec;
    (spec.steps, spec.checkpoint_every, spec.keep_checkpoints) = (5, 1, Some(1));
    (spec.sample_every, spec.sample_prompts) = (5, vec!["a red circle".to_owned()]);
    (spec.evaluate_prompts, spec.memory.checkpoint_activations) = (3, true);
    let (ending, second) = world.train(None).expect("is prolonged");
    assert_eq!((ending, second.began), (Ending::Finished, 3));
    assert_eq!(undisturbed.losses, [&first.losses[..], &second.losses].concat());
    let weights = |recorder: &Recorder| recorder.model.as_ref().expect("a model").sha256.clone();
    assert_eq!(weights(&undisturbed), weights(&second));
    assert!(!world.at("run/models/step-0000003").exists() && world.at("run/models/step-0000005").exists());

    // It cannot be shortened below what is done, and says so.
    world.spec.steps = 4;
    let error = world.refused();
    assert!(error.contains("steps: 5 are done, more than the 4 of the spec"), "{error}");
}

/// After prolonging, the rate is that of the schedule over all steps, as in the scripts of diffusers.
#[test]
fn a_schedule_follows_the_new_number_of_steps() {
    let mut world = World::new("{ kind = 'sft' }", "learning_rate = { rate = 1e-4, schedule = 'linear' }");
    let (_, first) = world.train(None).expect("trains");
    world.spec.steps = 6;
    let (_, second) = world.train(None).expect("is prolonged");
    let close = |rates: &[f64], expected: [f64; 3]| {
        assert!(rates.iter().zip(expected).all(|(a, b)| (a - b * 1e-4).abs() < 1e-12), "{rates:?}");
    };
    close(&first.rates, [1.0, 2.0 / 3.0, 1.0 / 3.0]);
    close(&second.rates, [0.5, 2.0 / 6.0, 1.0 / 6.0]);
}

#[test]
fn a_refused_resume_names_every_field_with_both_values() {
    let mut world = World::new("{ kind = 'sft' }", "");
    world.train(Some(1)).expect("stops");
    let original = world.spec.clone();
    world.spec.seed = 5;
    world.spec.caption_dropout = 0.1;
    world.spec.steps = 9;
    let error = world.refused();
    for expected in ["belongs to another spec", "seed was 4 and is 5", "caption_dropout was 0.2 and is 0.1"] {
        assert!(error.contains(expected), "{expected}: {error}");
    }
    assert!(!error.contains("steps was") && !error.contains("--new-learning-rate"), "{error}");

    world.spec = original;
    world.spec.learning_rate.rate = 2e-4;
    let error = world.refused();
    assert!(error.contains("learning_rate.rate was 0.0001 and is 0.0002"), "{error}");
    assert!(error.contains("use --new-learning-rate"), "{error}");
    let recorder = Recorder { new_rate: true, ..Recorder::default() };
    let (ending, recorder) = world.train_with(recorder).expect("goes on at another rate");
    assert_eq!((ending, recorder.began, recorder.rates), (Ending::Finished, 1, vec![2e-4; 2]));
}
