//! The fingerprint of a model changes with everything that decides its images, names what changed, and changes with nothing
//! else.

use crate::fixture::folder;
use diffusion::fingerprint::Fingerprint;
use diffusion::lora::WEIGHTS_FILE;
use diffusion::part_folders::PartFolders;
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// A copy of a fixture that a test may change.
fn copy_of(name: &str) -> (TempDir, PathBuf) {
    let scratch = tempfile::tempdir().expect("a folder");
    let copy = scratch.path().join("any name");
    files::copy_folder(&folder(name), &copy).expect("copied");
    (scratch, copy)
}

fn fingerprint(folder: &Path) -> Fingerprint {
    Fingerprint::of(&PartFolders::new(folder, None)).expect("a fingerprint")
}

/// Changes the last byte of a file: in a weights file, of a value.
fn change_last_byte(file: &Path) {
    let mut bytes = fs::read(file).expect("a file");
    *bytes.last_mut().expect("not empty") ^= 1;
    fs::write(file, bytes).expect("written");
}

/// Sets a key of a JSON file.
fn set(file: &Path, key: &str, value: impl Into<Value>) {
    let mut json: Value = serde_json::from_slice(&fs::read(file).expect("a file")).expect("JSON");
    json[key] = value.into();
    fs::write(file, serde_json::to_vec(&json).expect("JSON")).expect("written");
}

#[test]
fn each_thing_that_decides_images_is_named_when_it_changes() {
    type Change = fn(&Path);
    let changes: [(&str, &str, Change); 11] = [
        ("model", "unet weights", |at| {
            change_last_byte(&at.join("unet/diffusion_pytorch_model.safetensors"))
        }),
        ("model", "unet config", |at| set(&at.join("unet/config.json"), "norm_eps", 1e-4)),
        ("model", "vae weights", |at| change_last_byte(&at.join("vae/diffusion_pytorch_model.safetensors"))),
        ("model", "vae config", |at| set(&at.join("vae/config.json"), "scaling_factor", 0.5)),
        ("model", "text_encoder weights", |at| change_last_byte(&at.join("text_encoder/model.safetensors"))),
        ("model", "text_encoder config", |at| {
            set(&at.join("text_encoder/config.json"), "hidden_act", "gelu")
        }),
        ("model", "tokenizer", |at| {
            let file = at.join("tokenizer/merges.txt");
            let text = fs::read_to_string(&file).expect("text");
            fs::write(&file, text.lines().take(5).collect::<Vec<_>>().join("\n")).expect("written");
        }),
        ("model", "scheduler config", |at| {
            set(&at.join("scheduler/scheduler_config.json"), "prediction_type", "epsilon")
        }),
        ("model", "generation_config.json", |at| {
            set(&at.join("generation_config.json"), "guidance_scale", 1.25)
        }),
        ("sdxl", "text_encoder_2 weights", |at| {
            change_last_byte(&at.join("text_encoder_2/model.safetensors"))
        }),
        ("sdxl", "model_index.json", |at| {
            set(&at.join("model_index.json"), "force_zeros_for_empty_prompt", false)
        }),
    ];
    for (fixture, part, change) in changes {
        let (_scratch, copy) = copy_of(fixture);
        if part == "scheduler config" {
            set(&copy.join("scheduler/scheduler_config.json"), "prediction_type", "v_prediction");
        }
        let before = fingerprint(&copy);
        change(&copy);
        let after = fingerprint(&copy);
        assert_eq!(before.differences(&after), [part]);
        assert_ne!(before.sha256(), after.sha256(), "{part}");
    }
}

#[test]
fn nothing_else_changes_it() {
    let (_scratch, copy) = copy_of("model");
    let before = fingerprint(&folder("model"));
    assert_eq!(before, fingerprint(&copy), "a copy elsewhere");
    let weights = copy.join("unet/diffusion_pytorch_model.safetensors");
    fs::rename(weights, copy.join("unet/diffusion_pytorch_model.fp16.safetensors")).expect("renamed");
    fs::write(copy.join("vae/diffusion_pytorch_model.bin"), b"not read: there is a better file")
        .expect("written");
    set(&copy.join("unet/config.json"), "_name_or_path", "elsewhere");
    set(&copy.join("model_index.json"), "_diffusers_version", "9.9");
    let config = copy.join("vae/config.json");
    let json: Value = serde_json::from_slice(&fs::read(&config).expect("a file")).expect("JSON");
    fs::write(&config, serde_json::to_vec_pretty(&json).expect("JSON")).expect("written");
    fs::write(copy.join("README.md"), "notes").expect("written");
    assert_eq!(before.differences(&fingerprint(&copy)), Vec::<String>::new());
    assert_eq!(before.sha256(), fingerprint(&copy).sha256());
}

/// An adapter's file with one tensor of this name.
fn adapter(folder: &Path, tensor: &str) -> PathBuf {
    let value = candle_core::Tensor::ones((2, 4), candle_core::DType::F32, &candle_core::Device::Cpu);
    let tensors = std::collections::HashMap::from([(tensor.to_owned(), value.expect("a tensor"))]);
    fs::create_dir_all(folder).expect("a folder");
    let file = folder.join(WEIGHTS_FILE);
    candle_core::safetensors::save(&tensors, &file).expect("written");
    file
}

#[test]
fn an_adapter_is_its_weights_its_settings_and_its_base() {
    let (scratch, base) = copy_of("model");
    let own = scratch.path().join("adapter");
    let file = adapter(&own, "base_model.model.down_blocks.0.attentions.0.proj_in.lora_A.weight");
    fs::write(own.join("adapter_config.json"), r#"{"lora_alpha": 2, "base_model_name_or_path": "a"}"#)
        .expect("written");
    let of = || Fingerprint::of(&PartFolders::new(&own, Some(&base))).expect("a fingerprint");
    let before = of();
    let request = [(Fingerprint::of_adapter(&file).expect("an adapter"), 1.0)];
    assert_eq!(before, fingerprint(&base).with_adapters(&request), "in the folder or in the request");
    let half = [(request[0].0.clone(), 0.5)];
    let half = fingerprint(&base).with_adapters(&half);
    assert_eq!(before.differences(&half), ["adapter scale"]);
    assert_eq!(before.differences(&before.clone().with_adapters(&request)).len(), 2, "applied twice");

    set(&own.join("adapter_config.json"), "base_model_name_or_path", "b");
    assert_eq!(before.differences(&of()), Vec::<String>::new());
    set(&own.join("adapter_config.json"), "lora_alpha", 4);
    assert_eq!(before.differences(&of()), ["adapter settings"]);
    change_last_byte(&file);
    assert_eq!(before.differences(&of()), ["adapter settings", "adapter weights"]);
    change_last_byte(&base.join("vae/diffusion_pytorch_model.safetensors"));
    assert_eq!(before.differences(&of()), ["adapter settings", "adapter weights", "vae weights"]);

    // Names of kohya: nothing beside the file is read.
    adapter(&own, "lora_unet_down_blocks_0_attentions_0_proj_in.lora_down.weight");
    let kohya = of();
    set(&own.join("adapter_config.json"), "lora_alpha", 8);
    assert_eq!(kohya.differences(&of()), Vec::<String>::new());
}
