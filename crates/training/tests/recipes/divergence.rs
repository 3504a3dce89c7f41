//! A non-finite loss or gradient ends the run with an error that names the micro-batch, and keeps the last good
//! checkpoint.

use anyhow::Result;
use candle_core::{Device, Tensor};
use diffusion::part_folders::PartFolders;
use domain::train::TrainSpec;
use std::ops::ControlFlow;
use std::path::Path;
use training::checkpoint::SavedModel;
use training::recipes::callbacks::Callbacks;
use training::recipes::run_paths::RunPaths;
use training::recipes::train::train;

fn spec(objective: &str, rate: &str) -> TrainSpec {
    let text = format!(
        r#"
        name = "diverges"
        base = "shapes"
        steps = 6
        batch_size = 2
        gradient_accumulation = 2
        seed = 3
        objective = {objective}
        data = {{ source = "shapes", set = "winter", count = 24, seed = 3 }}
        learning_rate = {{ rate = {rate} }}
        "#
    );
    toml::from_str(&text).expect("a spec")
}

#[derive(Default)]
struct Recorder {
    steps: u32,
    models: Vec<SavedModel>,
    stop_after: Option<u32>,
    new_rate: bool,
    began: u32,
}

impl Callbacks for Recorder {
    fn takes_new_learning_rate(&self) -> bool {
        self.new_rate
    }
    fn begin(&mut self, step: u32) -> Result<()> {
        self.began = step;
        Ok(())
    }
    fn step(&mut self, step: u32, _: &[(&'static str, f64)]) -> Result<ControlFlow<()>> {
        self.steps = step;
        Ok(if self.stop_after == Some(step) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    }
    fn retire(&mut self, _: u32) -> Result<bool> {
        Ok(true)
    }
    fn model(&mut self, model: &SavedModel) -> Result<()> {
        self.models.push(model.clone());
        Ok(())
    }
}

fn paths(scratch: &Path) -> RunPaths {
    RunPaths {
        start: PartFolders::new(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/shapes"), None),
        reference: None,
        run: scratch.join("run"),
        cache: scratch.join("cache"),
    }
}

/// Trains until the run fails. Returns the error, and what the run reported before it.
fn failure(spec: &TrainSpec, scratch: &Path) -> (String, Recorder) {
    let mut recorder = Recorder::default();
    let error = train(spec, &paths(scratch), &Device::Cpu, &mut recorder).expect_err("not finite");
    (format!("{error:#}"), recorder)
}

/// Policy and reference are equal at the start, and an infinite beta times 0 is NaN.
#[test]
fn a_run_that_diverges_at_its_first_step_saves_nothing() {
    let scratch = tempfile::tempdir().expect("a folder");
    let (error, recorder) =
        failure(&spec("{ kind = 'diffusion_dpo', beta = 1e300 }", "1e-4"), scratch.path());
    assert!(error.contains("the loss is not finite (NaN) at step 0, micro-batch 0: examples "), "{error}");
    assert!(error.contains(" circle") || error.contains(" square") || error.contains(" on a "), "{error}");
    assert!(error.contains("nothing is lost"), "{error}");
    assert_eq!((recorder.steps, recorder.models.len()), (0, 0));
}

/// A learning rate of 1e30 makes the weights unusable in one update.
#[test]
fn weights_that_an_update_made_unusable_are_not_saved() {
    let scratch = tempfile::tempdir().expect("a folder");
    let (error, recorder) = failure(&spec("{ kind = 'sft' }", "1e30"), scratch.path());
    assert!(error.contains("the update before it made the weights unusable"), "{error}");
    assert!(recorder.models.is_empty());
    assert!(!paths(scratch.path()).run.join("state.safetensors").exists());
}

/// Every checkpoint is due right after the update that broke the weights.
#[test]
fn a_checkpoint_is_only_saved_once_its_weights_gave_a_finite_loss() {
    for (objective, more) in
        [("{ kind = 'diffusion_dpo', beta = 2000.0 }", None), ("{ kind = 'sft' }", Some(0.5))]
    {
        let scratch = tempfile::tempdir().expect("a folder");
        let mut spec = spec(objective, "1e30");
        (spec.checkpoint_every, spec.keep_checkpoints, spec.ema_decay) = (1, Some(1), more);
        let (error, recorder) = failure(&spec, scratch.path());
        assert!(error.contains("the update of step 1 made the weights unusable"), "{error}");
        assert!(error.contains("Nothing was saved before"), "{error}");
        let run = paths(scratch.path()).run;
        assert!(recorder.models.is_empty() && !run.join("state.safetensors").exists());
        assert!(catalogue::run_folder::saved_steps(&run).expect("steps").is_empty());
        // Nothing keeps the run from starting again with a rate that works.
        spec.learning_rate.rate = 1e-6;
        spec.steps = 1;
        train(&spec, &paths(scratch.path()), &Device::Cpu, &mut Recorder::default()).expect("trains");
    }
}

/// A run that breaks later keeps its last good checkpoint, although rotation keeps one only, and goes on from it.
#[test]
fn a_run_that_broke_goes_on_from_its_last_good_state() {
    let scratch = tempfile::tempdir().expect("a folder");
    let paths = paths(scratch.path());
    let mut spec = spec("{ kind = 'sft' }", "1e-4");
    (spec.checkpoint_every, spec.keep_checkpoints) = (1, Some(1));
    let mut stops = Recorder { stop_after: Some(2), ..Recorder::default() };
    train(&spec, &paths, &Device::Cpu, &mut stops).expect("stops");
    let state = std::fs::read(paths.run.join("state.safetensors")).expect("a state");

    spec.learning_rate.rate = 1e30;
    for _ in 0..2 {
        let mut breaks = Recorder { new_rate: true, ..Recorder::default() };
        let error = train(&spec, &paths, &Device::Cpu, &mut breaks).expect_err("breaks");
        let error = format!("{error:#}");
        assert!(error.contains("the update of step 3 made the weights unusable"), "{error}");
        assert!(error.contains("The last good state is that after step 2"), "{error}");
        assert!(error.contains("--new-learning-rate"), "{error}");
        assert_eq!(catalogue::run_folder::saved_steps(&paths.run).expect("steps"), [2]);
        assert!(state == std::fs::read(paths.run.join("state.safetensors")).expect("the same state"));
    }
    spec.learning_rate.rate = 1e-5;
    let mut goes_on = Recorder { new_rate: true, ..Recorder::default() };
    train(&spec, &paths, &Device::Cpu, &mut goes_on).expect("goes on");
    assert_eq!((goes_on.began, goes_on.steps), (2, 6));
    assert_eq!(catalogue::run_folder::saved_steps(&paths.run).expect("steps"), [6]);
}

/// A stop signal does not save weights that are unusable.
#[test]
fn a_stopped_run_saves_no_state_of_unusable_weights() {
    let scratch = tempfile::tempdir().expect("a folder");
    let mut recorder = Recorder { stop_after: Some(1), ..Recorder::default() };
    let spec = spec("{ kind = 'sft' }", "1e30");
    let error = train(&spec, &paths(scratch.path()), &Device::Cpu, &mut recorder).expect_err("breaks");
    assert!(format!("{error:#}").contains("made the weights unusable"), "{error:#}");
    assert!(!paths(scratch.path()).run.join("state.safetensors").exists());
}

/// Copies an encoded set of 24 images, with NaN in place of the latents of image `damaged`.
fn damage(set: &Path, copy: &Path, damaged: usize) {
    std::fs::create_dir_all(copy).expect("a folder");
    let mut found = 0;
    for entry in std::fs::read_dir(set).expect("a set") {
        let file = entry.expect("a file").path();
        let mut bytes = std::fs::read(&file).expect("its bytes");
        if file.extension().is_some_and(|extension| extension == "safetensors") {
            let length = u64::from_le_bytes(bytes[..8].try_into().expect("8 bytes")) as usize;
            let header: serde_json::Value = serde_json::from_slice(&bytes[8..8 + length]).expect("a header");
            if let Some(offsets) = header["winner.mean"]["data_offsets"].as_array() {
                let [from, to] = [0, 1].map(|i| offsets[i].as_u64().expect("an offset") as usize);
                let row = (to - from) / 24;
                let data = &mut bytes[8 + length + from..][damaged * row..][..row];
                data.chunks_exact_mut(4).for_each(|value| value.copy_from_slice(&f32::NAN.to_le_bytes()));
                found += 1;
            }
        }
        std::fs::write(copy.join(file.file_name().expect("a name")), bytes).expect("written");
    }
    assert_eq!(found, 1, "one file holds the latents");
}

/// The run ends at the damaged example, names it, and saves the weights before it.
#[test]
fn a_damaged_example_is_named_and_the_weights_before_it_are_saved() {
    let scratch = tempfile::tempdir().expect("a folder");
    let spec = spec("{ kind = 'sft' }", "1e-4");
    // Encode the set, then damage an example that the first step does not use.
    let one_step = TrainSpec { steps: 1, ..spec.clone() };
    train(&one_step, &paths(scratch.path()), &Device::Cpu, &mut Recorder::default()).expect("trains");
    std::fs::remove_dir_all(paths(scratch.path()).run).expect("removed");
    let set = std::fs::read_dir(scratch.path().join("cache")).expect("a cache").next().expect("a set");
    let set = set.expect("a set").path();
    let mut steps = 0;
    for damaged in 0..24 {
        let folder = scratch.path().join(format!("damaged-{damaged}"));
        damage(&set, &folder.join("cache").join(set.file_name().expect("a name")), damaged);
        let (error, recorder) = failure(&spec, &folder);
        assert!(error.contains("the loss is not finite (NaN)"), "{error}");
        assert!(error.contains(&format!(" {damaged} \"")), "{damaged}: {error}");
        steps = recorder.steps;
        if steps == 0 {
            continue; // The first step uses it: try the next example.
        }
        assert!(error.contains("finite and saved in"), "{error}");
        let model = recorder.models.last().expect("a model");
        assert_eq!(model.step, steps);
        let weights = model.folder.join("unet/diffusion_pytorch_model.safetensors");
        let weights = candle_core::safetensors::load(weights, &Device::Cpu).expect("weights");
        let finite =
            |t: &Tensor| t.abs().and_then(|t| t.sum_all()?.to_scalar::<f32>()).expect("a sum").is_finite();
        assert!(weights.values().all(finite));
        // The resumed run fails at the same example, without a step to save.
        let (again, recorder) = failure(&spec, &folder);
        assert!(again.contains("nothing is lost"), "{again}");
        assert_eq!(recorder.steps, 0);
        break;
    }
    assert!(steps > 0);
}
