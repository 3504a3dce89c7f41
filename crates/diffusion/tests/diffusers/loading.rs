//! Damaged models are errors that name the file, and the tensor or field.

use crate::fixture::folder;
use candle_core::{Device, Tensor};
use diffusion::clip::TextTower;
use diffusion::config::{UnetConfig, VaeConfig};
use diffusion::part_folders::PartFolders;
use diffusion::pipeline::TextToImage;
use diffusion::sampler::SamplerKind;
use diffusion::schedule::Schedule;
use diffusion::tokenizer::Tokenizer;
use diffusion::unet::{Unet, WEIGHTS_FILE};
use diffusion::vae::Autoencoder;
use diffusion::weights;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;
use tempfile::TempDir;

/// Copies the folder of a fixture without its subfolders.
pub(crate) fn copy(name: &str) -> TempDir {
    let copy = tempfile::tempdir().expect("a folder");
    for entry in std::fs::read_dir(folder(name)).expect("a fixture") {
        let file = entry.expect("an entry").path();
        if file.is_file() {
            std::fs::copy(&file, copy.path().join(file.file_name().expect("a name"))).expect("copy");
        }
    }
    copy
}

/// Asserts that the result is an error whose text contains all of `words`.
pub(crate) fn assert_names<T>(result: diffusion::Result<T>, words: &[&str]) {
    let Err(error) = result else { panic!("no error, where it should name {words:?}") };
    let error = error.to_string();
    for word in words {
        assert!(error.contains(word), "{error:?} does not name {word:?}");
    }
}

pub(crate) fn load_unet(folder: &TempDir) -> diffusion::Result<()> {
    Unet::load(folder.path(), &Device::Cpu, true).map(|_| ())
}

/// Changes the weights of the UNet in a folder.
fn change_weights(folder: &TempDir, change: impl FnOnce(&mut BTreeMap<String, Tensor>)) {
    let file = folder.path().join(WEIGHTS_FILE);
    let tensors = candle_core::safetensors::load(&file, &Device::Cpu).expect("weights");
    let mut tensors = tensors.into_iter().collect();
    change(&mut tensors);
    weights::save(&tensors, &file).expect("save");
}

/// Sets fields of a JSON file; null removes a field.
pub(crate) fn change_config(file: &Path, fields: Value) {
    let mut config: Value =
        serde_json::from_slice(&std::fs::read(file).expect("a config")).expect("a config");
    for (field, value) in fields.as_object().expect("fields") {
        let config = config.as_object_mut().expect("fields");
        match value {
            Value::Null => config.remove(field),
            value => config.insert(field.clone(), value.clone()),
        };
    }
    std::fs::write(file, config.to_string()).expect("write");
}

#[test]
fn truncated_and_foreign_weights_are_errors() {
    let folder = copy("unet_lists");
    let file = folder.path().join(WEIGHTS_FILE);
    let bytes = std::fs::read(&file).expect("weights");
    for damaged in [
        &bytes[..bytes.len() - 1],
        &bytes[..bytes.len() / 2],
        &bytes[..100],
        &bytes[..4],
        b"",
        b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 3438167536\n",
    ] {
        std::fs::write(&file, damaged).expect("write");
        assert_names(load_unet(&folder), &[WEIGHTS_FILE, "safetensors", "again"]);
    }
    std::fs::remove_file(&file).expect("remove");
    assert_names(load_unet(&folder), &[WEIGHTS_FILE, "is missing"]);
    let text = copy("text_encoder_gelu");
    std::fs::write(text.path().join("model.safetensors"), "hello").expect("write");
    assert_names(TextTower::load(text.path(), &Device::Cpu), &["model.safetensors"]);
}

#[test]
fn missing_superfluous_and_misshapen_tensors_are_errors() {
    const NAME: &str = "mid_block.attentions.0.transformer_blocks.1.attn2.to_k.weight";
    let folder = copy("unet_lists");
    let mut whole = None;
    change_weights(&folder, |tensors| whole = tensors.remove(NAME));
    assert_names(load_unet(&folder), &[WEIGHTS_FILE, NAME, "missing"]);
    let whole = whole.expect("a tensor");
    change_weights(&folder, |tensors| {
        tensors.insert(NAME.to_owned(), whole.t().and_then(|t| t.contiguous()).expect("transposed"));
    });
    assert_names(load_unet(&folder), &[WEIGHTS_FILE, NAME, "[12, 8]", "[8, 12]"]);
    change_weights(&folder, |tensors| {
        tensors.insert(NAME.to_owned(), whole.clone());
        tensors.insert("mid_block.extra.weight".to_owned(), whole.clone());
    });
    assert_names(load_unet(&folder), &[WEIGHTS_FILE, "mid_block.extra.weight", "config"]);
    change_weights(&folder, |tensors| {
        tensors.remove("mid_block.extra.weight");
    });
    load_unet(&folder).expect("complete again");
}

/// Old text towers have an index of positions that is not a parameter.
#[test]
fn position_ids_are_ignored() {
    let folder = copy("text_encoder_gelu");
    let file = folder.path().join("model.safetensors");
    let tensors = candle_core::safetensors::load(&file, &Device::Cpu).expect("weights");
    let mut tensors: BTreeMap<String, Tensor> = tensors.into_iter().collect();
    let ids = Tensor::arange(0i64, 77, &Device::Cpu).and_then(|t| t.unsqueeze(0)).expect("ids");
    tensors.insert("text_model.embeddings.position_ids".to_owned(), ids);
    weights::save(&tensors, &file).expect("save");
    TextTower::load(folder.path(), &Device::Cpu).expect("load");
}

#[test]
fn unsupported_settings_of_a_unet_are_errors() {
    let folder = copy("unet_sd15");
    let file = folder.path().join("config.json");
    let original = std::fs::read(&file).expect("a config");
    for (field, value) in [
        ("down_block_types", json!(["AttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"])),
        ("up_block_types", json!(["UpBlock2D", "CrossAttnUpBlock2D"])),
        ("addition_embed_type", json!("text_time")), // without its widths
        ("addition_embed_type", json!("text_image")),
        ("num_attention_heads", json!(2)),
        ("class_embed_type", json!("timestep")),
        ("only_cross_attention", json!([true, false, false])),
        ("act_fn", json!("gelu")),
        ("act_fn", json!("mish")),
        ("mid_block_scale_factor", json!(0.5)),
        ("mid_block_type", json!("UNetMidBlock2DSimpleCrossAttn")),
        ("resnet_time_scale_shift", json!("scale_shift")),
        ("time_embedding_type", json!("fourier")),
        ("conv_in_kernel", json!(1)),
        ("dual_cross_attention", json!(true)),
        ("norm_num_groups", json!(3)),
        ("norm_num_groups", json!(0)),
        ("attention_head_dim", json!(9)),
        ("attention_head_dim", json!([2, 2])),
        ("transformer_layers_per_block", json!([1, 2])),
        ("transformer_layers_per_block", json!([[1, 1], [1, 1], [1]])),
        ("reverse_transformer_layers_per_block", json!([[1, 1], [1, 1], [1, 1]])),
        ("attention_head_dim", json!("two")),
        ("cross_attention_dim", json!([12, 12, 8])),
        ("layers_per_block", json!(-1)),
        ("block_out_channels", json!([])),
        ("block_out_channels", Value::Null),
    ] {
        change_config(&file, json!({ field: value }));
        assert_names(UnetConfig::read(&file), &["config.json", field]);
        assert_names(load_unet(&folder), &["config.json", field]);
        std::fs::write(&file, &original).expect("write");
    }
    // Values that have no effect.
    change_config(
        &file,
        json!({ "mid_block_scale_factor": 1.0, "only_cross_attention": [false, false, false] }),
    );
    load_unet(&folder).expect("load");
    std::fs::write(&file, "{\"sample_size\": 4,").expect("write");
    assert_names(load_unet(&folder), &["config.json", "line 1"]);
    std::fs::remove_file(&file).expect("remove");
    assert_names(load_unet(&folder), &["config.json"]);
}

#[test]
fn unsupported_settings_of_other_parts_are_errors() {
    let folder = copy("vae_plain");
    let file = folder.path().join("config.json");
    let original = std::fs::read(&file).expect("a config");
    for (field, value) in [
        ("shift_factor", json!(0.1)),
        ("latents_mean", json!([0.1, 0.2, 0.3, 0.4])),
        ("act_fn", json!("relu")),
        ("down_block_types", json!(["DownEncoderBlock2D", "AttnDownEncoderBlock2D"])),
        ("norm_num_groups", json!(5)),
        ("block_out_channels", json!([])),
        ("use_quant_conv", json!("yes")),
    ] {
        change_config(&file, json!({ field: value }));
        assert_names(VaeConfig::read(&file), &["config.json", field]);
        assert_names(Autoencoder::load(folder.path(), &Device::Cpu, false), &["config.json", field]);
        std::fs::write(&file, &original).expect("write");
    }
    let folder = copy("text_encoder_gelu");
    for (field, value) in [("hidden_act", json!("relu")), ("hidden_size", json!("wide"))] {
        let copy = tempfile::tempdir().expect("a folder");
        std::fs::copy(folder.path().join("config.json"), copy.path().join("config.json")).expect("copy");
        change_config(&copy.path().join("config.json"), json!({ field: value }));
        assert_names(TextTower::load(copy.path(), &Device::Cpu), &["config.json", field]);
    }
    let folder = copy("model/scheduler");
    let file = folder.path().join("scheduler_config.json");
    let original = std::fs::read(&file).expect("a config");
    for (field, value) in [
        ("beta_schedule", json!("squaredcos_cap_v2")),
        ("prediction_type", json!("sample")),
        ("timestep_spacing", json!("karras")),
        ("num_train_timesteps", json!(1)),
        ("rescale_betas_zero_snr", json!(true)),
        ("trained_betas", json!([0.1, 0.2])),
        ("beta_start", json!(0)),
        ("beta_end", json!(1.5)),
        ("beta_end", Value::Null),
    ] {
        change_config(&file, json!({ field: value }));
        assert_names(Schedule::load(&file), &["scheduler_config.json", field]);
        std::fs::write(&file, &original).expect("write");
    }
}

#[test]
fn damaged_tokenizers_are_errors() {
    let load = |folder: &TempDir| Tokenizer::load(folder.path());
    let folder = copy("model/tokenizer");
    change_config(&folder.path().join("tokenizer_config.json"), json!({ "pad_token": "<pad>" }));
    assert_names(load(&folder), &["vocab.json", "<pad>"]);
    change_config(
        &folder.path().join("tokenizer_config.json"),
        json!({ "pad_token": null, "model_max_length": 1e30 }),
    );
    assert_names(load(&folder), &["tokenizer_config.json", "model_max_length"]);
    std::fs::remove_file(folder.path().join("tokenizer_config.json")).expect("remove");
    assert_eq!(load(&folder).expect("without a config").length(), 77);
    change_config(&folder.path().join("vocab.json"), json!({ "<|endoftext|>": null }));
    assert_names(load(&folder), &["vocab.json", "<|endoftext|>"]);
    std::fs::write(folder.path().join("merges.txt"), "no merge at all").expect("write");
    assert_names(load(&folder), &["merges.txt"]);
    std::fs::remove_file(folder.path().join("merges.txt")).expect("remove");
    assert_names(load(&folder), &["merges.txt"]);
}

/// A part that the folder does not have is taken from its base; a part that neither has is an error.
#[test]
fn missing_parts_are_taken_from_the_base() {
    let partial = tempfile::tempdir().expect("a folder");
    let unet = partial.path().join("unet");
    std::fs::create_dir(&unet).expect("create");
    for name in ["config.json", WEIGHTS_FILE] {
        std::fs::copy(folder("model/unet").join(name), unet.join(name)).expect("copy");
    }
    assert_names(TextToImage::load(partial.path(), None, &Device::Cpu), &["vae", "is missing"]);
    let base = folder("model");
    let model = TextToImage::load(partial.path(), Some(&base), &Device::Cpu).expect("load");
    let (defaults, multiple) = PartFolders::new(partial.path(), Some(&base)).defaults().expect("defaults");
    assert_eq!((defaults, multiple), (*model.defaults(), model.size_multiple()));
    assert_eq!((defaults.width, defaults.steps, multiple), (8, 5, 2));
    assert_eq!((defaults.guidance_scale, defaults.sampler), (4.0, SamplerKind::Euler));
}

#[test]
fn default_samplers() {
    let folder = copy("model/scheduler");
    let scheduler = folder.path().join("scheduler");
    std::fs::create_dir(&scheduler).expect("create");
    let file = scheduler.join("scheduler_config.json");
    let base = self::folder("model");
    let chosen = |settings: Value| {
        std::fs::copy(folder.path().join("scheduler_config.json"), &file).expect("copy");
        change_config(&file, settings);
        // Hides the generation_config.json of the base, which names another sampler.
        std::fs::write(folder.path().join("generation_config.json"), "{}").expect("write");
        PartFolders::new(folder.path(), Some(&base)).defaults().map(|(defaults, _)| defaults.sampler)
    };
    let pndm = chosen(json!({ "_class_name": "PNDMScheduler", "skip_prk_steps": true }));
    assert_eq!(pndm.expect("PNDM"), SamplerKind::Pndm);
    assert_names(
        chosen(json!({ "_class_name": "PNDMScheduler" })),
        &["scheduler_config.json", "skip_prk_steps"],
    );
    assert_names(chosen(json!({ "clip_sample": true })), &["scheduler_config.json", "clip_sample"]);
    assert_names(
        chosen(json!({ "_class_name": "HeunDiscreteScheduler" })),
        &["scheduler_config.json", "Heun"],
    );
    // The class's default as Python writes it.
    let dpm = json!({ "_class_name": "DPMSolverMultistepScheduler", "lambda_min_clipped": 0.5 });
    assert_names(chosen(dpm), &["scheduler_config.json", "lambda_min_clipped"]);
    let config: Value = serde_json::from_slice(&std::fs::read(&file).expect("a config")).expect("a config");
    std::fs::write(&file, format!("{config:#}").replace("0.5", "-Infinity")).expect("write");
    let (defaults, _) = PartFolders::new(folder.path(), Some(&base)).defaults().expect("read");
    assert_eq!(defaults.sampler, SamplerKind::Dpmpp2m);
}
