//! Adapters that also update text encoders, against diffusers with PEFT. `oracles/lora_text.py` computed the expected values
//! in `f64`.

use crate::fixture::{Expected, folder, raw, relative_error, write_raw};
use candle_core::{DType, Device};
use diffusion::conditioning::EncodedText;
use diffusion::layout::{PARTS, copy_part, write_fused};
use diffusion::lora::{self, Network, WEIGHTS_FILE};
use diffusion::part_folders::PartFolders;
use diffusion::pipeline::{Prompt, Settings, TextToImage};
use diffusion::sampler::SamplerKind;
use diffusion::text_encoders::TextEncoders;
use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// The models and the fixtures of adapters for them.
const MODELS: [(&str, &str); 2] = [("model", "lora_text_sd15"), ("sdxl", "lora_text_sdxl")];
const FILES: [&str; 2] = ["kohya", "diffusers"];
const PROMPTS: [&str; 2] = ["a red circle", "a blue square on a green field"];

fn load(model: &str) -> TextToImage {
    TextToImage::load(&folder(model), None, &Device::Cpu).expect(model)
}

fn file(fixture: &str, name: &str) -> PathBuf {
    folder(fixture).join(format!("{name}.safetensors"))
}

fn assert_encoded(encoded: &EncodedText, fixture: &str, key: &str) {
    let expected = Expected::read(fixture);
    expected.assert_close(&format!("{key}.states"), &encoded.states, 1e-5);
    if let Some(pooled) = &encoded.pooled {
        expected.assert_close(&format!("{key}.pooled"), pooled, 1e-5);
    }
}

fn image(model: &TextToImage) -> Vec<u8> {
    let prompts = PROMPTS.map(|prompt| Prompt { prompt: prompt.to_owned(), negative_prompt: None, seed: 7 });
    let side = model.size_multiple() * 4;
    let settings =
        Settings { width: side, height: side, steps: 2, guidance_scale: 4.0, sampler: SamplerKind::Ddim };
    let images = model.generate(&prompts[..1], &settings, &mut |_, _| ControlFlow::Continue(()));
    images.expect("an image").expect("not stopped").remove(0).into_raw()
}

/// In each naming, at each scale, and back to the same bytes without adapters.
#[test]
fn text_encoders_are_updated_as_by_diffusers() {
    for (name, fixture) in MODELS {
        let mut model = load(name);
        let plain = image(&model);
        let mut images = vec![];
        for writer in FILES {
            let adapters = model.read_adapter(&file(fixture, writer)).expect(writer);
            assert_eq!(adapters.len(), if name == "sdxl" { 3 } else { 2 }, "networks of {writer}");
            for scale in ["1.0", "0.75"] {
                model.apply_adapters(&[(&adapters, scale.parse().expect("a number"))]).expect("applied");
                let encoded = model.text_encoders().encode(&PROMPTS).expect("encoded");
                assert_encoded(&encoded, fixture, &format!("{writer}.{scale}"));
                images.push(image(&model));
            }
        }
        model.apply_adapters(&[]).expect("none");
        assert_eq!(image(&model), plain, "{name}: the adapters left something behind");
        let encoded = model.text_encoders().encode(&PROMPTS).expect("encoded");
        Expected::read(fixture).assert_close("plain.states", &encoded.states, 1e-5);
        // In another order, the same sets give the same bytes.
        for (writer, scale, i) in [("diffusers", 0.75, 3), ("kohya", 1.0, 0)] {
            let adapters = model.read_adapter(&file(fixture, writer)).expect(writer);
            model.apply_adapters(&[(&adapters, scale)]).expect("applied");
            assert_eq!(image(&model), images[i], "{name} with {writer} at {scale}");
        }
        // A set that cannot be applied leaves none.
        let adapters = model.read_adapter(&file(fixture, "kohya")).expect("kohya");
        model.apply_adapters(&[(&adapters, 1e39)]).expect_err("an overflow");
        assert_eq!(image(&model), plain);
    }
}

/// transformers omits the first part of the names since version 5.6.
#[test]
fn text_encoders_are_updated_under_newer_names() {
    let scratch = tempfile::tempdir().expect("a folder");
    let bare = scratch.path().join("bare.safetensors");
    let tensors = raw(&file("lora_text_sd15", "diffusers")).into_iter();
    let renamed =
        tensors.map(|(name, t)| (name.replace("text_encoder.text_model.", "text_encoder."), t)).collect();
    write_raw(&renamed, &bare);
    let mut model = load("model");
    let adapters = model.read_adapter(&bare).expect("read");
    model.apply_adapters(&[(&adapters, 1.0)]).expect("applied");
    let encoded = model.text_encoders().encode(&PROMPTS).expect("encoded");
    assert_encoded(&encoded, "lora_text_sd15", "diffusers.1.0");
}

/// A folder with an adapter alone, whose base is the fixture.
fn derived(fixture: &str, writer: &str) -> TempDir {
    let scratch = tempfile::tempdir().expect("a folder");
    fs::copy(file(fixture, writer), scratch.path().join(WEIGHTS_FILE)).expect("copied");
    scratch
}

/// A model that consists of an adapter over a base, and its export.
#[test]
fn a_model_with_an_adapter_encodes_with_it_and_is_exported_with_it() {
    for (base, fixture) in MODELS {
        let derived = derived(fixture, "kohya");
        let folders = PartFolders::new(derived.path(), Some(&folder(base)));
        let encoders = TextEncoders::open(&folders, &Device::Cpu).expect("encoders");
        assert_encoded(&encoders.encode(&PROMPTS).expect("encoded"), fixture, "kohya.1.0");
        let files = TextEncoders::files(&folders).expect("files");
        assert_eq!(files.iter().filter(|file| file.ends_with(WEIGHTS_FILE)).count(), 1, "{files:?}");

        let exported = tempfile::tempdir().expect("a folder");
        for (part, stem) in PARTS {
            let Ok(from) = folders.part(part) else { continue };
            let to = exported.path().join(part);
            match Network::of_part(part) {
                Some(network) => write_fused(&folders, network, &to, DType::F32),
                None => copy_part(&from, &to, part, stem, DType::F32, &mut |_, _| Ok(())),
            }
            .expect(part);
        }
        // What is no network comes from the base.
        let whole = PartFolders::new(exported.path(), Some(&folder(base)));
        let encoders = TextEncoders::open(&whole, &Device::Cpu).expect("encoders");
        assert_encoded(&encoders.encode(&PROMPTS).expect("encoded"), fixture, "kohya.1.0");
        let [ours, theirs] =
            [&whole, &folders].map(|of| TextToImage::open(of, &Device::Cpu).expect("a model"));
        assert_eq!(image(&ours), image(&theirs));
    }
}

/// An adapter for another kind of model names the tensor, whichever network it updates.
#[test]
fn an_adapter_for_a_network_that_the_model_lacks_is_refused() {
    let error = load("model").read_adapter(&file("lora_text_sdxl", "kohya")).expect_err("SDXL's").to_string();
    assert!(error.contains("lora_te"), "{error}");
    let scratch = tempfile::tempdir().expect("a folder");
    let second = scratch.path().join(WEIGHTS_FILE);
    let tensors = raw(&file("lora_text_sdxl", "kohya")).into_iter();
    write_raw(&tensors.filter(|(name, _)| name.starts_with("lora_te2_")).collect(), &second);
    assert_eq!(
        lora::networks_of(&second).expect("names").into_iter().collect::<Vec<_>>(),
        [Network::TextEncoder2]
    );
    let misfit = |error: diffusion::Error| {
        let error = error.to_string();
        assert!(
            error.contains("lora_te2_") && error.contains("text_encoder_2, which this model does not have"),
            "{error}"
        );
    };
    misfit(load("model").read_adapter(&second).expect_err("no second encoder"));
    let folders = PartFolders::new(scratch.path(), Some(&folder("model")));
    misfit(TextToImage::open(&folders, &Device::Cpu).expect_err("no second encoder"));
    misfit(folders.check_adapters().expect_err("no second encoder"));
}

/// Weights that overflow the type that is written, and weights that are not finite, are named.
#[test]
fn an_export_that_is_not_finite_is_refused() {
    let unet = crate::loading::copy("model/unet");
    let file = unet.path().join("diffusion_pytorch_model.safetensors");
    let write = |value: f32, dtype: DType| {
        let mut tensors = raw(&file);
        let bias = tensors.get_mut("conv_in.bias").expect("a bias");
        bias.dtype = safetensors::Dtype::F32;
        bias.data = vec![value; bias.shape[0]].into_iter().flat_map(f32::to_le_bytes).collect();
        write_raw(&tensors, &file);
        let out = tempfile::tempdir().expect("a folder");
        let written = copy_part(unet.path(), out.path(), "unet", PARTS[2].1, dtype, &mut |_, _| Ok(()));
        assert!(written.is_ok() || !out.path().join("diffusion_pytorch_model.safetensors").exists());
        written.map_err(|e| e.to_string())
    };
    write(1e5, DType::F32).expect("F32 holds it");
    let error = write(1e5, DType::F16).expect_err("F16 does not hold it");
    assert!(error.contains("conv_in.bias") && error.contains("F16 cannot hold"), "{error}");
    for dtype in [DType::F32, DType::F16] {
        let error = write(f32::NAN, dtype).expect_err("NaN");
        assert!(error.contains("conv_in.bias") && error.contains("not finite"), "{error}");
    }
}

/// NaN in any network is an error and never a black image.
#[test]
fn values_that_are_not_finite_are_errors_and_not_images() {
    for (part, file, tensor) in [
        ("unet", "diffusion_pytorch_model.safetensors", "conv_out.bias"),
        ("vae", "diffusion_pytorch_model.safetensors", "decoder.conv_out.bias"),
        ("text_encoder", "model.safetensors", "text_model.final_layer_norm.bias"),
    ] {
        for value in [0x7e00_u16, 0x7c00] {
            let scratch = tempfile::tempdir().expect("a folder");
            copy_all(&folder("model").join(part), &scratch.path().join(part));
            let weights = scratch.path().join(part).join(file);
            let mut tensors = raw(&weights);
            let changed = tensors.get_mut(tensor).expect(tensor);
            assert_eq!(changed.dtype, safetensors::Dtype::F16);
            changed.data[..2].copy_from_slice(&value.to_le_bytes());
            write_raw(&tensors, &weights);
            let model =
                TextToImage::load(scratch.path(), Some(&folder("model")), &Device::Cpu).expect("loaded");
            let prompt = Prompt { prompt: "a".to_owned(), negative_prompt: None, seed: 7 };
            let side = model.size_multiple() * 4;
            for sampler in [SamplerKind::Ddim, SamplerKind::Euler] {
                let settings = Settings { width: side, height: side, steps: 3, guidance_scale: 4.0, sampler };
                let drawn = model.generate(std::slice::from_ref(&prompt), &settings, &mut |_, _| {
                    ControlFlow::Continue(())
                });
                let error = drawn.expect_err(part);
                assert!(matches!(error, diffusion::Error::NotFinite { .. }), "{part}: {error}");
            }
        }
    }
}

fn copy_all(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).expect("a folder") {
        let path = entry.expect("an entry").path();
        fs::copy(&path, to.join(path.file_name().expect("a name"))).expect("copied");
    }
}

/// A fused adapter of nothing leaves an encoder as it is.
#[test]
fn an_encoder_without_updates_is_unchanged() {
    let mut model = load("sdxl");
    let before = model.text_encoders().encode(&PROMPTS).expect("encoded");
    let scratch = tempfile::tempdir().expect("a folder");
    let first = scratch.path().join(WEIGHTS_FILE);
    let tensors = raw(&file("lora_text_sdxl", "kohya")).into_iter();
    write_raw(&tensors.filter(|(name, _)| name.starts_with("lora_te1_")).collect(), &first);
    let adapters = model.read_adapter(&first).expect("read");
    model.apply_adapters(&[(&adapters, 1.0)]).expect("applied");
    let after = model.text_encoders().encode(&PROMPTS).expect("encoded");
    // The pooled text is the second encoder's alone.
    let [before_pooled, after_pooled] = [&before, &after].map(|of| of.pooled.clone().expect("pooled"));
    assert_eq!(relative_error(&before_pooled, &after_pooled), 0.0);
    assert!(relative_error(&before.states, &after.states) > 0.1);
}
