//! `export` of a model of SDXL's shape, and of adapters: names, shapes and values are those that diffusers writes.

use anyhow::Result;
use candle_core::Device;
use diffusion::part_folders::PartFolders;
use domain::train::TrainSpec;
use safetensors::SafeTensors;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use training::checkpoint::SavedModel;
use training::recipes::callbacks::Callbacks;
use training::recipes::run_paths::RunPaths;
use training::recipes::train::train;

/// A model that diffusers wrote, in half precision.
fn sdxl() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/diffusion/tests/fixtures/sdxl")
}

/// A folder of models with the fixture imported as `tiny`.
fn models(scratch: &Path) -> PathBuf {
    let models = scratch.join("models");
    let output = succeed(&["import", sdxl().to_str().expect("a path"), "--name", "tiny"], &models);
    for words in ["text_encoder_2: ", "64 x 64 pixels", "euler"] {
        assert!(output.contains(words), "{output}");
    }
    models
}

fn run(arguments: &[&str], models: &Path) -> (String, String, bool) {
    let output = Command::new(env!("CARGO_BIN_EXE_diff-contrast-trainer"))
        .args(arguments)
        .arg("--models")
        .arg(models)
        .output()
        .expect("the program");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    (text(output.stdout), text(output.stderr), output.status.success())
}

fn succeed(arguments: &[&str], models: &Path) -> String {
    let (stdout, stderr, ok) = run(arguments, models);
    assert!(ok, "{stderr}");
    stdout
}

/// Shapes and values by name.
fn tensors(file: &Path) -> BTreeMap<String, (Vec<usize>, Vec<f32>)> {
    let tensors = candle_core::safetensors::load(file, &Device::Cpu).expect("safetensors");
    let values = |tensor: &candle_core::Tensor| {
        let tensor = tensor.to_dtype(candle_core::DType::F32)?;
        tensor.flatten_all()?.to_vec1()
    };
    tensors.into_iter().map(|(name, t)| (name, (t.dims().to_vec(), values(&t).expect("values")))).collect()
}

fn json_of(file: &Path) -> Value {
    serde_json::from_slice(&fs::read(file).expect("a file")).expect("JSON")
}

const PARTS: [(&str, &str); 4] = [
    ("text_encoder", "model.safetensors"),
    ("text_encoder_2", "model.safetensors"),
    ("unet", "diffusion_pytorch_model.safetensors"),
    ("vae", "diffusion_pytorch_model.safetensors"),
];

#[test]
fn sdxl_is_exported_as_diffusers_writes_it() {
    let scratch = tempfile::tempdir().expect("a folder");
    let models = models(scratch.path());
    // transformers states the type of the weights in the config, and obeys it.
    let config = models.join("tiny/text_encoder/config.json");
    let mut stating = json_of(&config);
    stating["dtype"] = json!("float16");
    fs::write(&config, stating.to_string()).expect("written");
    for dtype in ["f32", "f16"] {
        let out = scratch.path().join(dtype);
        let place = out.to_str().expect("a path");
        succeed(&["export", "tiny", "--out", place, "--dtype", dtype, "--sample", "a red circle"], &models);
        for (part, file) in PARTS {
            let (theirs, ours) = (sdxl().join(part), out.join(part));
            let mut config = json_of(&ours.join("config.json"));
            if part == "text_encoder" {
                let stated = config.as_object_mut().and_then(|config| config.remove("dtype"));
                assert_eq!(stated, Some(json!(if dtype == "f16" { "float16" } else { "float32" })));
            }
            assert_eq!(config, json_of(&theirs.join("config.json")), "{part}");
            // The fixture is in half precision, so both types hold its values exactly.
            assert!(tensors(&ours.join(file)) == tensors(&theirs.join(file)), "{part}");
            let bytes = fs::read(ours.join(file)).expect("weights");
            let kind =
                SafeTensors::deserialize(&bytes).expect("safetensors").iter().next().map(|(_, t)| t.dtype());
            assert_eq!(kind.map(|kind| kind.to_string()), Some(dtype.to_uppercase()), "{part}");
        }
        assert!(
            tensors(&out.join("text_encoder_2/model.safetensors")).contains_key("text_projection.weight")
        );
        for folder in ["tokenizer", "tokenizer_2"] {
            for file in ["vocab.json", "merges.txt", "tokenizer_config.json"] {
                let read = |of: &Path| fs::read(of.join(folder).join(file)).expect("a file");
                assert_eq!(read(&out), read(&sdxl()), "{folder}/{file}");
            }
        }
        assert_eq!(
            json_of(&out.join("model_index.json")).get("_class_name"),
            Some(&json!("StableDiffusionXLPipeline"))
        );
        let (ours, theirs) =
            (json_of(&out.join("model_index.json")), json_of(&sdxl().join("model_index.json")));
        for (name, value) in theirs.as_object().expect("an object") {
            assert_eq!(&ours[name], value, "{name}");
        }
        let card = fs::read_to_string(out.join("README.md")).expect("a card");
        assert!(
            card.contains("StableDiffusionXLPipeline.from_pretrained") && card.contains("sample.png"),
            "{card}"
        );
        assert!(out.join("sample.png").is_file());
    }
    // The model's own entry about empty negative prompts is kept, and the export can be imported again.
    let index = models.join("tiny/model_index.json");
    let mut changed = json_of(&index);
    changed["force_zeros_for_empty_prompt"] = json!(false);
    fs::write(&index, changed.to_string()).expect("room");
    let out = scratch.path().join("empty");
    succeed(&["export", "tiny", "--out", out.to_str().expect("a path")], &models);
    assert_eq!(json_of(&out.join("model_index.json"))["force_zeros_for_empty_prompt"], json!(false));
    succeed(&["import", out.to_str().expect("a path"), "--name", "again"], &models);

    // A UNet of SDXL without a second text encoder.
    fs::remove_dir_all(models.join("again/text_encoder_2")).expect("a folder");
    let out = scratch.path().join("incomplete");
    let (_, stderr, ok) = run(&["export", "again", "--out", out.to_str().expect("a path")], &models);
    assert!(!ok && stderr.contains("--base") && !out.exists(), "{stderr}");
}

/// Keeps the last saved model.
#[derive(Default)]
struct LastModel(Option<SavedModel>);

impl Callbacks for LastModel {
    fn model(&mut self, model: &SavedModel) -> Result<()> {
        self.0 = Some(model.clone());
        Ok(())
    }
    fn retire(&mut self, _: u32) -> Result<bool> {
        Ok(true)
    }
}

/// The export of an adapter, and of an adapter over it, is a UNet with the names and shapes of the base's.
#[test]
fn adapters_are_fused_into_the_exported_unet() {
    let scratch = tempfile::tempdir().expect("a folder");
    let models = models(scratch.path());
    let spec = |name: &str, base: &str| -> TrainSpec {
        let text = format!(
            "name = '{name}'\nbase = '{base}'\nsteps = 2\nbatch_size = 2\nobjective = {{ kind = 'sft' }}\n\
             data = {{ source = 'shapes', set = 'winter', count = 4 }}\nlearning_rate = {{ rate = 1e-2 }}\n\
             lora = {{ rank = 2 }}"
        );
        toml::from_str(&text).expect("a spec")
    };
    let train_adapter = |spec: &TrainSpec, start: PartFolders| {
        let run = scratch.path().join(&spec.name);
        let paths = RunPaths { start, reference: None, run, cache: scratch.path().join("cache") };
        let mut last = LastModel::default();
        train(spec, &paths, &Device::Cpu, &mut last).expect("trains");
        last.0.expect("a model").folder
    };
    let tiny = models.join("tiny");
    let first = train_adapter(&spec("first", "tiny"), PartFolders::new(&tiny, None));
    let over = first.to_str().expect("a path");
    let second = train_adapter(&spec("second", over), PartFolders::with_bases(&first, vec![tiny.clone()]));

    let export = |model: &Path, name: &str| {
        let out = scratch.path().join(name);
        let model = model.to_str().expect("a path");
        succeed(&["export", model, "--out", out.to_str().expect("a path"), "--sample", "a star"], &models);
        out
    };
    let file = "unet/diffusion_pytorch_model.safetensors";
    let base = tensors(&tiny.join(file));
    let mut before = base.clone();
    for (folder, bases, name) in [
        (&first, vec![tiny.clone()], "first-exported"),
        (&second, vec![first.clone(), tiny.clone()], "second-exported"),
    ] {
        let out = export(folder, name);
        let ours = tensors(&out.join(file));
        let (_, fused) = PartFolders::with_bases(folder, bases).unet(&Device::Cpu).expect("a UNet");
        assert_eq!(ours.len(), fused.len());
        for (name, (shape, values)) in &ours {
            let expected = fused[name].flatten_all().and_then(|t| t.to_vec1::<f32>()).expect("values");
            assert!(shape == fused[name].dims() && *values == expected, "{name}");
            assert_eq!(*shape, base[name].0, "{name}");
            let adapted =
                ["to_k", "to_q", "to_v", "to_out.0"].iter().any(|t| name.ends_with(&format!("{t}.weight")));
            assert_eq!(before[name].1 != *values, adapted, "{name}");
        }
        let card = fs::read_to_string(out.join("README.md")).expect("a card");
        assert!(card.contains("| adapter | rank 2, alpha 2, fused into the weights |"), "{card}");
        assert!(!out.join("pytorch_lora_weights.safetensors").exists());
        before = ours;
    }
}
