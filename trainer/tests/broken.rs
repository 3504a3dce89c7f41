//! A loss or gradient that is not finite ends the run, names the micro-batch, and leaves the last good checkpoint.

use anyhow::Result;
use candle_core::{Device, Tensor};
use diffusion::pipeline::{Folders, Settings};
use domain::train::TrainSpec;
use image::RgbImage;
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::Path;
use trainer::checkpoint::SavedModel;
use trainer::recipes::train::{Places, Watcher, train};

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

impl Watcher for Quiet {
    fn encoding(&mut self, _: usize, _: usize) -> Result<()> {
        Ok(())
    }
    fn begin(&mut self, _: u32) -> Result<()> {
        Ok(())
    }
    fn step(&mut self, step: u32, _: &[(&'static str, f64)]) -> Result<ControlFlow<()>> {
        self.steps = step;
        Ok(ControlFlow::Continue(()))
    }
    fn samples(&mut self, _: u32, _: &Settings, _: &[RgbImage]) -> Result<()> {
        Ok(())
    }
    fn retire(&mut self, _: u32) -> Result<bool> {
        Ok(true)
    }
    fn model(&mut self, model: &SavedModel) -> Result<()> {
        self.models.push(model.clone());
        Ok(())
    }
}

fn places(scratch: &Path) -> Places {
    Places {
        start: Folders::new(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/shapes"), None),
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

/// One damaged example in a sound run: the run ends at it, by name, and what was learnt before is saved.
#[test]
fn at_a_damaged_example() {
    let scratch = tempfile::tempdir().expect("a folder");
    let spec = spec("{ kind = 'sft' }", "1e-4");
    // Encode, then damage an example that is not dealt at once.
    let whole = TrainSpec { steps: 1, ..spec.clone() };
    train(&whole, &places(scratch.path()), &Device::Cpu, &mut Quiet::default()).expect("trains");
    std::fs::remove_dir_all(places(scratch.path()).run).expect("removed");
    let cache = std::fs::read_dir(scratch.path().join("cache")).expect("a cache").next().expect("a file");
    let cache = cache.expect("a file").path();
    let mut steps = 0;
    for damaged in 0..24 {
        let tensors = candle_core::safetensors::load(&cache, &Device::Cpu).expect("the cache");
        let mut tensors: BTreeMap<String, Tensor> = tensors.into_iter().collect();
        let mean = tensors["winner.mean"].clone();
        let nan =
            (mean.get(damaged).expect("an example").ones_like().expect("ones") * f64::NAN).expect("NaN");
        let rows: Vec<Tensor> =
            (0..24).map(|i| if i == damaged { nan.clone() } else { mean.get(i).expect("a row") }).collect();
        tensors.insert("winner.mean".to_owned(), Tensor::stack(&rows, 0).expect("rows"));
        let folder = scratch.path().join(format!("damaged-{damaged}"));
        diffusion::weights::save(&tensors, &folder.join("cache").join(cache.file_name().expect("a name")))
            .expect("saved");
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
