//! Edited images against diffusers' InstructPix2Pix pipeline and its port of Prompt Diffusion, from the same noise.

use crate::fixture::{Expected, folder, json};
use candle_core::{Device, Tensor};
use diffusion::controlnet::ControlNet;
use diffusion::part_folders::PartFolders;
use diffusion::pipeline::{
    Edit, EditSettings, HintScale, InstructPix2Pix, PromptDiffusion, Query, QuerySettings, size_for,
};
use diffusion::sampler::SamplerKind;
use image::RgbImage;
use std::ops::ControlFlow;

const TOLERANCE: f64 = 1e-4;

/// The images of a fixture, (height, width, 3) each.
fn images(expected: &Expected, name: &str) -> Vec<RgbImage> {
    let all = expected.get(name);
    let all = if all.rank() == 3 { all.unsqueeze(0).expect("one") } else { all.clone() };
    let (_, height, width, _) = all.dims4().expect("images");
    let rows = all.flatten_from(1).and_then(|t| t.to_vec2::<u8>()).expect("bytes");
    let image = |bytes| RgbImage::from_raw(width as u32, height as u32, bytes).expect("an image");
    rows.into_iter().map(image).collect()
}

fn instruct_pix2pix() -> InstructPix2Pix {
    let base = folder("model");
    InstructPix2Pix::load(&folder("instruct_pix2pix"), Some(&base), &Device::Cpu).expect("load")
}

fn edits(expected: &Expected) -> Vec<Edit> {
    let request = json("instruct_pix2pix/expected.json");
    let text = |field: &str, i: usize| request[field][i].as_str().expect("a text").to_owned();
    let edit = |(i, image)| Edit {
        image,
        instruction: text("prompt", i),
        negative_prompt: text("negative_prompt", i),
        seed: 7 + i as u64,
    };
    images(expected, "pictures").into_iter().enumerate().map(edit).collect()
}

fn settings(steps: u32, guidance_scale: f64, image_guidance_scale: f64) -> EditSettings {
    EditSettings { steps, guidance_scale, image_guidance_scale, sampler: SamplerKind::EulerAncestral }
}

/// Images from -1 to 1 as diffusers returns them: clamped and from 0 to 1.
fn from_0_to_1(images: &Tensor) -> Tensor {
    images.clamp(-1.0, 1.0).and_then(|p| (p + 1.0)? * 0.5).expect("images")
}

/// One and four steps, with guidance and, where a scale is too low, without.
#[test]
fn instruct_pix2pix_equals_diffusers() {
    let expected = Expected::read("instruct_pix2pix");
    let editor = instruct_pix2pix();
    assert_eq!(editor.sampler(), SamplerKind::EulerAncestral);
    let edits = edits(&expected);
    for steps in [1, 4] {
        for (name, text, image) in [("guided", 7.5, 1.5), ("plain", 1.0, 1.5), ("image_below_1", 7.5, 0.9)] {
            let mut drawn = 0;
            let mut step_noise = || {
                drawn += 1;
                Ok(expected.get("fresh").get(drawn - 1)?.contiguous()?)
            };
            let mut progress = Vec::new();
            let latents = editor
                .latents_from(
                    expected.get("noise"),
                    &mut step_noise,
                    &edits,
                    &settings(steps, text, image),
                    &mut |done, all| {
                        progress.push((done, all));
                        ControlFlow::Continue(())
                    },
                )
                .expect("latents")
                .expect("not stopped");
            assert_eq!(progress, (1..=steps as usize).map(|i| (i, steps as usize)).collect::<Vec<_>>());
            expected.assert_close(&format!("{name}.{steps}.latents"), &latents, TOLERANCE);
            let decoded = from_0_to_1(&editor.decode(&latents).expect("images"));
            expected.assert_close(&format!("{name}.{steps}.pictures"), &decoded, TOLERANCE);
        }
    }
}

#[test]
fn an_edit_does_not_depend_on_its_batch() {
    let editor = instruct_pix2pix();
    let [first, second] = edits(&Expected::read("instruct_pix2pix")).try_into().expect("two");
    let make = |batch: &[Edit], settings: &EditSettings| {
        let made = editor.edit(batch, settings, &mut |_, _| ControlFlow::Continue(()));
        made.expect("images").expect("not stopped")
    };
    let usual = settings(3, 7.5, 1.5);
    let together = make(&[first.clone(), second.clone()], &usual);
    assert_eq!(
        together,
        [make(std::slice::from_ref(&first), &usual), make(std::slice::from_ref(&second), &usual)].concat()
    );
    for other in [
        Edit { seed: 1, ..first.clone() },
        Edit { instruction: "blue".to_owned(), ..first.clone() },
        Edit { negative_prompt: "snow".to_owned(), ..first.clone() },
        Edit { image: second.image, ..first.clone() },
    ] {
        assert_ne!(make(&[other], &usual)[0], together[0]);
    }
    assert_ne!(make(std::slice::from_ref(&first), &settings(3, 7.5, 2.0))[0], together[0]);
    assert!(make(&[], &usual).is_empty());
    let mut calls = 0;
    let stopped = editor.edit(&[first], &usual, &mut |_, _| {
        calls += 1;
        ControlFlow::Break(())
    });
    assert!(stopped.expect("no error").is_none());
    assert_eq!(calls, 1);
}

/// A latent of the small autoencoder has a side of 2 pixels.
#[test]
fn sides_are_rounded_down_and_invalid_images_are_errors() {
    let expected = Expected::read("instruct_pix2pix");
    let editor = instruct_pix2pix();
    let edit = edits(&expected).swap_remove(0);
    let mut go_on = |_, _| ControlFlow::Continue(());
    let odd = Edit { image: images(&expected, "odd").swap_remove(0), ..edit.clone() };
    let made = editor.edit(std::slice::from_ref(&odd), &settings(1, 7.5, 1.5), &mut go_on).expect("images");
    assert_eq!(made.expect("not stopped")[0].dimensions(), (38, 20));
    let error = editor.edit(&[odd, edit.clone()], &settings(1, 7.5, 1.5), &mut go_on).expect_err("two sizes");
    assert!(error.to_string().contains("one size"), "{error}");
    let thin = Edit { image: RgbImage::new(1, 8), ..edit.clone() };
    let error = editor.edit(&[thin], &settings(1, 7.5, 1.5), &mut go_on).expect_err("too thin");
    assert!(error.to_string().contains("1 x 8"), "{error}");
    let error = editor.edit(&[edit], &settings(0, 7.5, 1.5), &mut go_on).expect_err("no steps");
    assert!(error.to_string().starts_with("steps"), "{error}");
    let error = InstructPix2Pix::load(&folder("model"), None, &Device::Cpu).expect_err("four channels");
    assert!(error.to_string().contains("in_channels"), "{error}");
}

fn prompt_diffusion() -> PromptDiffusion {
    let network = ControlNet::load(&folder("prompt_diffusion/controlnet"), &Device::Cpu).expect("load");
    PromptDiffusion::new(&PartFolders::new(&folder("model"), None), network, &Device::Cpu)
        .expect("a pipeline")
}

fn query(expected: &Expected) -> (Query, QuerySettings) {
    let request = json("prompt_diffusion/expected.json");
    let text = |field: &str| request[field].as_str().expect("a text").to_owned();
    let [source, target, image] = images(expected, "pictures").try_into().expect("three");
    let query = Query { image, prompt: text("prompt"), negative_prompt: text("negative_prompt"), seed: 5 };
    let settings = QuerySettings {
        example: [source, target],
        width: 16,
        height: 24,
        steps: 3,
        guidance_scale: 9.0,
        sampler: SamplerKind::Ddim,
        hint_scale: HintScale::Signed,
    };
    (query, settings)
}

#[test]
fn prompt_diffusion_equals_diffusers_port_with_both_hint_scales() {
    let expected = Expected::read("prompt_diffusion");
    let editor = prompt_diffusion();
    let (query, settings) = query(&expected);
    for (name, hint_scale) in [("signed", HintScale::Signed), ("unit", HintScale::Unit)] {
        let latents = editor
            .latents_from(
                expected.get("noise"),
                &mut || panic!("DDIM adds no noise"),
                std::slice::from_ref(&query),
                &QuerySettings { hint_scale, ..settings.clone() },
                &mut |_, _| ControlFlow::Continue(()),
            )
            .expect("latents")
            .expect("not stopped");
        expected.assert_close(&format!("{name}.latents"), &latents, TOLERANCE);
        let decoded = editor.decode(&latents).expect("images");
        expected.assert_close(&format!("{name}.pictures"), &decoded, TOLERANCE);
    }
}

#[test]
fn a_query_depends_on_the_pair_but_not_on_its_batch() {
    let editor = prompt_diffusion();
    let (first, settings) = query(&Expected::read("prompt_diffusion"));
    let make = |batch: &[Query], settings: &QuerySettings| {
        let made = editor.edit(batch, settings, &mut |_, _| ControlFlow::Continue(()));
        made.expect("images").expect("not stopped")
    };
    let second =
        Query { image: settings.example[0].clone(), prompt: "snow".to_owned(), seed: 6, ..first.clone() };
    let together = make(&[first.clone(), second.clone()], &settings);
    assert_eq!(
        together,
        [make(std::slice::from_ref(&first), &settings), make(&[second], &settings)].concat()
    );
    assert_eq!(together[0].dimensions(), (16, 24));
    let [source, target] = settings.example.clone();
    let turned = QuerySettings { example: [target, source], ..settings.clone() };
    assert_ne!(make(std::slice::from_ref(&first), &turned)[0], together[0]);
    let odd = QuerySettings { width: 15, ..settings };
    let error = editor.edit(&[first], &odd, &mut |_, _| ControlFlow::Continue(())).expect_err("a bad size");
    assert!(error.to_string().contains("multiples of 2"), "{error}");
}

#[test]
fn a_controlnet_that_does_not_fit_is_an_error() {
    let plain = ControlNet::load(&folder("controlnet_plain"), &Device::Cpu).expect("load");
    let error = PromptDiffusion::new(&PartFolders::new(&folder("model"), None), plain, &Device::Cpu);
    let error = error.expect_err("one hint").to_string();
    assert!(error.contains("conditioning_channels 6"), "{error}");
    let network = ControlNet::load(&folder("prompt_diffusion/controlnet"), &Device::Cpu).expect("load");
    let over = PartFolders::new(&folder("instruct_pix2pix"), Some(&folder("model")));
    let error = PromptDiffusion::new(&over, network, &Device::Cpu).expect_err("two blocks").to_string();
    assert!(error.contains("block_out_channels"), "{error}");
}

/// `resize_image` of the original notebook: at least 64 pixels, ties rounded to the even multiple.
#[test]
fn size_equals_the_original_implementation() {
    let size = |width, height, short| size_for(&RgbImage::new(width, height), short);
    assert_eq!(size(640, 480, 512), (704, 512));
    assert_eq!(size(512, 512, 512), (512, 512));
    assert_eq!(size(100, 300, 64), (64, 192));
    assert_eq!(size(10, 1000, 32), (64, 3200));
    assert_eq!(size(160, 100, 100), (128, 128));
}
