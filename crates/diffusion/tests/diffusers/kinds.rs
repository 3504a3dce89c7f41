//! Complete small models with the structure of SD 2.1 (v-prediction, exact GELU, padding with `!`) and SDXL (two text encoders,
//! pooled text and time ids) against diffusers' pipelines.

use crate::fixture::{Expected, folder, json};
use candle_core::{Device, Tensor};
use diffusion::conditioning::MicroConditioning;
use diffusion::config::UnetConfig;
use diffusion::part_folders::PartFolders;
use diffusion::pipeline::{Prompt, Settings, TextToImage};
use diffusion::sampler::SamplerKind;
use diffusion::text_encoders::TextEncoders;
use serde_json::Value;
use std::ops::ControlFlow;
use std::path::Path;

fn texts(list: &Value) -> Vec<&str> {
    list.as_array().expect("texts").iter().map(|text| text.as_str().expect("a text")).collect()
}

fn open(name: &str) -> TextEncoders {
    TextEncoders::open(&PartFolders::new(&folder(name), None), &Device::Cpu).expect(name)
}

/// Asserts that the images of a case equal those of diffusers.
fn check_case(model: &TextToImage, expected: &Expected, case: &str, request: &Value, steps: u32) {
    let prompts = texts(&request["prompt"]);
    let negative = request["negative_prompt"].as_array().map(|_| texts(&request["negative_prompt"]));
    let batch = prompts.iter().enumerate().map(|(i, prompt)| Prompt {
        prompt: (*prompt).to_owned(),
        negative_prompt: negative.as_ref().map(|texts| texts[i].to_owned()),
        seed: 0,
    });
    let side = |name: &str| request[name].as_u64().expect("pixels") as u32;
    let settings = Settings {
        width: side("width"),
        height: side("height"),
        steps,
        guidance_scale: request["guidance_scale"].as_f64().expect("a scale"),
        sampler: model.defaults().sampler,
    };
    let noise = expected.get(&format!("{case}.noise"));
    let mut go_on = |_, _| ControlFlow::Continue(());
    let images = model.decoded_from(noise, &batch.collect::<Vec<_>>(), &settings, &mut go_on);
    let images = images.expect("images").expect("not stopped").clamp(-1.0, 1.0).expect("numbers");
    expected.assert_close(&format!("{case}.pictures"), &images, 1e-4);
}

/// Checks the text states and the images of every case.
fn check(name: &str) -> TextToImage {
    let (expected, request) = (Expected::read(name), json(&format!("{name}/expected.json")));
    let model = TextToImage::load(&folder(name), None, &Device::Cpu).expect(name);
    let encoded = model.text_encoders().encode(&texts(&request["texts"])).expect("encoded");
    expected.assert_close("states", &encoded.states, 1e-5);
    assert_eq!(encoded.pooled.is_some(), expected.names("").contains(&"pooled"));
    if let Some(pooled) = &encoded.pooled {
        expected.assert_close("pooled", pooled, 1e-5);
    }
    let steps = request["steps"].as_u64().expect("a number") as u32;
    let cases = request["cases"].as_object().expect("cases");
    assert_eq!(cases.len(), 4);
    for (case, request) in cases {
        check_case(&model, &expected, case, request, steps);
    }
    model
}

#[test]
fn sd21() {
    let model = check("sd21");
    let defaults = model.defaults();
    assert_eq!((defaults.sampler, defaults.guidance_scale), (SamplerKind::Ddim, 7.5));
}

#[test]
fn sdxl() {
    let model = check("sdxl");
    let defaults = model.defaults();
    assert_eq!((defaults.sampler, defaults.guidance_scale), (SamplerKind::Euler, 5.0));
    assert_eq!((defaults.width, model.size_multiple()), (64, 8));
    assert_eq!(model.text_encoders().tokens(), 77);
}

/// Copies the folder of a fixture with its subfolders.
fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("create");
    for entry in std::fs::read_dir(from).expect("a fixture") {
        let entry = entry.expect("an entry");
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).expect("copy");
        }
    }
}

/// Without `force_zeros_for_empty_prompt`, a missing negative prompt is the empty text.
#[test]
fn the_model_index_determines_the_encoding_of_a_missing_negative_prompt() {
    let scratch = tempfile::tempdir().expect("a folder");
    copy(&folder("sdxl"), scratch.path());
    std::fs::write(scratch.path().join("model_index.json"), r#"{"force_zeros_for_empty_prompt": false}"#)
        .expect("write");
    let model = TextToImage::load(scratch.path(), None, &Device::Cpu).expect("load");
    let request = json("sdxl/expected.json");
    let mut case = request["cases"]["empty_negative"].clone();
    case["negative_prompt"] = Value::Null;
    check_case(&model, &Expected::read("sdxl"), "empty_negative", &case, 4);
}

/// A batch in which some prompts have a negative prompt and others do not.
#[test]
fn missing_texts_keep_their_positions() {
    for name in ["sd21", "sdxl"] {
        let encoders = open(name);
        let none = encoders.encode_optional(&[None, None]).expect("none");
        let mixed = encoders.encode_optional(&[None, Some("a dog"), None, Some("")]).expect("mixed");
        let alone = encoders.encode(&["a dog", ""]).expect("alone");
        let same = |a: &Tensor, i: usize, b: &Tensor, j: usize| {
            let (a, b) = (a.get(i).expect("a row"), b.get(j).expect("a row"));
            a.flatten_all().and_then(|t| t.to_vec1::<f32>()).expect("numbers")
                == b.flatten_all().and_then(|t| t.to_vec1::<f32>()).expect("numbers")
        };
        for (i, of, j) in [(0, &none, 0), (1, &alone, 0), (2, &none, 1), (3, &alone, 1)] {
            assert!(same(&mixed.states, i, &of.states, j), "{name}: {i}");
            let (Some(mixed), Some(of)) = (&mixed.pooled, &of.pooled) else { continue };
            assert!(same(mixed, i, of, j), "{name}: pooled {i}");
        }
        let largest = none.states.abs().and_then(|t| t.max_all()?.to_scalar::<f32>()).expect("a number");
        assert_eq!(largest == 0.0, name == "sdxl");
        let (empty, none) = (alone.states.narrow(0, 1, 1), none.states.narrow(0, 0, 1));
        assert_eq!(same(&empty.expect("one"), 0, &none.expect("one"), 0), name == "sd21");
    }
}

#[test]
fn only_sdxl_is_conditioned_on_sizes() {
    let image = MicroConditioning { original_size: [5, 7], crop: [1, 2], target_size: [3, 4] };
    let conditioning =
        open("sdxl").encode(&["a", "b"]).and_then(|text| text.for_images(&[image; 2])).expect("conditioning");
    let added = conditioning.added.expect("added");
    let ids = added.time_ids.to_vec2::<f32>().expect("numbers");
    assert_eq!(ids, [[5.0, 7.0, 1.0, 2.0, 3.0, 4.0]; 2]);
    assert_eq!(added.pooled.dims(), [2, 10]);
    let conditioning =
        open("sd21").encode(&["a"]).and_then(|text| text.for_images(&[image])).expect("conditioning");
    assert!(conditioning.added.is_none());
}

/// A UNet over a base of another kind is an error; it would generate noise.
#[test]
fn a_unet_that_does_not_fit_its_base_is_an_error() {
    let config = |name: &str| UnetConfig::read(&folder(name).join("unet/config.json")).expect("a config");
    let (sdxl, sd21) = (open("sdxl"), open("sd21"));
    assert_eq!(sdxl.check(&config("sdxl")), Ok(()));
    assert_eq!(sd21.check(&config("sd21")), Ok(()));
    let problem =
        |encoders: &TextEncoders, config: UnetConfig| encoders.check(&config).expect_err("it does not fit");
    assert!(problem(&sdxl, config("sd21")).starts_with("cross_attention_dim: is 12"));
    assert!(problem(&sd21, config("sdxl")).starts_with("cross_attention_dim: is 28"));
    let without_pooled_text = UnetConfig { addition_embed_type: None, ..config("sdxl") };
    assert!(problem(&sdxl, without_pooled_text).starts_with("addition_embed_type: is null"));
    let with_pooled_text = UnetConfig { cross_attention_dim: 12, ..config("sdxl") };
    assert!(problem(&sd21, with_pooled_text).contains("text_encoder_2"));
    let wide = UnetConfig { projection_class_embeddings_input_dim: Some(35), ..config("sdxl") };
    assert!(problem(&sdxl, wide).contains("make 34"));

    let scratch = tempfile::tempdir().expect("a folder");
    copy(&folder("sdxl/unet"), &scratch.path().join("unet"));
    let error =
        TextToImage::load(scratch.path(), Some(&folder("sd21")), &Device::Cpu).expect_err("it does not fit");
    let error = error.to_string();
    assert!(error.contains("unet/config.json: cross_attention_dim") && error.contains("base"), "{error}");
    TextToImage::load(scratch.path(), Some(&folder("sdxl")), &Device::Cpu).expect("its own base");
}

#[test]
fn tokenizers_with_different_lengths_are_an_error() {
    let scratch = tempfile::tempdir().expect("a folder");
    copy(&folder("sdxl"), scratch.path());
    std::fs::write(scratch.path().join("tokenizer_2/tokenizer_config.json"), r#"{"model_max_length": 70}"#)
        .expect("write");
    let opened = TextEncoders::open(&PartFolders::new(scratch.path(), None), &Device::Cpu);
    let error = opened.expect_err("different lengths").to_string();
    assert!(error.contains("tokenizer_2: model_max_length 70 differs from the 77"), "{error}");
}
