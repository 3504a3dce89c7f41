//! A loss or gradient that is not finite ends the run, names the micro-batch, and leaves the last good checkpoint.

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
        name = "broken"
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
struct Quiet {
    steps: u32,
    models: Vec<SavedModel>,
}

impl Callbacks for Quiet {
    fn step(&mut self, step: u32, _: &[(&'static str, f64)]) -> Result<ControlFlow<()>> {
        self.steps = step;
        Ok(ControlFlow::Continue(()))
    }
    fn retire(&mut self, _: u32) -> Result<bool> {
        Ok(true)
    }
    fn model(&mut self, model: &SavedModel) -> Result<()> {
        self.models.push(model.clone());
        Ok(())
    }
}

fn places(scratch: &Path) -> RunPaths {
    RunPaths {
        start: PartFolders::new(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/shapes"), None),
        reference: None,
        run: scratch.join("run"),
        cache: scratch.join("cache"),
    }
}

fn end(spec: &TrainSpec, scratch: &Path) -> (String, Quiet) {
    let mut heard = Quiet::default();
    let error = train(spec, &places(scratch), &Device::Cpu, &mut heard).expect_err("not finite");
    (format!("{error:#}"), heard)
}

/// Infinity times no difference is not a number: nothing was done yet, nothing is lost.
#[test]
fn at_the_first_step() {
    let scratch = tempfile::tempdir().expect("a folder");
    let (error, heard) = end(&spec("{ kind = 'diffusion_dpo', beta = 1e300 }", "1e-4"), scratch.path());
    assert!(error.contains("the loss is not finite (NaN) at step 0, micro-batch 0: examples "), "{error}");
    assert!(error.contains(" circle") || error.contains(" square") || error.contains(" on a "), "{error}");
    assert!(error.contains("nothing is lost"), "{error}");
    assert_eq!((heard.steps, heard.models.len()), (0, 0));
}

/// A rate that throws the weights away: what the update before has broken is not saved as good.
#[test]
fn after_an_update_that_broke_the_weights() {
    let scratch = tempfile::tempdir().expect("a folder");
    let (error, heard) = end(&spec("{ kind = 'sft' }", "1e30"), scratch.path());
    assert!(error.contains("the update before broke the weights"), "{error}");
    assert!(heard.models.is_empty());
    assert!(!places(scratch.path()).run.join("state.safetensors").exists());
}

/// Copies an encoded set of 24 images; the latents of one of them are no numbers in the copy.
fn damage(set: &Path, copy: &Path, damaged: usize) {
    std::fs::create_dir_all(copy).expect("a folder");
    let mut found = 0;
    for entry in std::fs::read_dir(set).expect("a set") {
        let file = entry.expect("a file").path();
        let mut bytes = std::fs::read(&file).expect("its bytes");
        if file.extension().is_some_and(|extension| extension == "safetensors") {
            let length = u64::from_le_bytes(bytes[..8].try_into().expect("8 bytes")) as usize;
            let header: serde_json::Value = serde_json::from_slice(&bytes[8..8 + length]).expect("a header");
            if let Some(place) = header["winner.mean"]["data_offsets"].as_array() {
                let [from, to] = [0, 1].map(|i| place[i].as_u64().expect("an offset") as usize);
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

/// One damaged example in a sound run: the run ends at it, by name, and what was learnt before is saved.
#[test]
fn at_a_damaged_example() {
    let scratch = tempfile::tempdir().expect("a folder");
    let spec = spec("{ kind = 'sft' }", "1e-4");
    // Encode, then damage an example that is not dealt at once.
    let whole = TrainSpec { steps: 1, ..spec.clone() };
    train(&whole, &places(scratch.path()), &Device::Cpu, &mut Quiet::default()).expect("trains");
    std::fs::remove_dir_all(places(scratch.path()).run).expect("removed");
    let set = std::fs::read_dir(scratch.path().join("cache")).expect("a cache").next().expect("a set");
    let set = set.expect("a set").path();
    let mut steps = 0;
    for damaged in 0..24 {
        let folder = scratch.path().join(format!("damaged-{damaged}"));
        damage(&set, &folder.join("cache").join(set.file_name().expect("a name")), damaged);
        let (error, heard) = end(&spec, &folder);
        assert!(error.contains("the loss is not finite (NaN)"), "{error}");
        assert!(error.contains(&format!(" {damaged} \"")), "{damaged}: {error}");
        steps = heard.steps;
        if steps == 0 {
            continue; // dealt at once: the next one then
        }
        assert!(error.contains("sound and saved in"), "{error}");
        let model = heard.models.last().expect("a model");
        assert_eq!(model.step, steps);
        let weights = model.folder.join("unet/diffusion_pytorch_model.safetensors");
        let weights = candle_core::safetensors::load(weights, &Device::Cpu).expect("weights");
        let finite =
            |t: &Tensor| t.abs().and_then(|t| t.sum_all()?.to_scalar::<f32>()).expect("a sum").is_finite();
        assert!(weights.values().all(finite));
        // Taken up, it comes to the same example, and has nothing more to save.
        let (again, heard) = end(&spec, &folder);
        assert!(again.contains("nothing is lost"), "{again}");
        assert_eq!(heard.steps, 0);
        break;
    }
    assert!(steps > 0);
}
