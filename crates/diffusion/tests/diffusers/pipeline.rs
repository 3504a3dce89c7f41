//! Text to image against diffusers' `StableDiffusionPipeline`, from the same noise.

use crate::fixture::{Expected, folder, json};
use candle_core::Device;
use diffusion::pipeline::{Prompt, Settings, TextToImage};
use diffusion::sampler::SamplerKind;
use std::ops::ControlFlow;

/// Samplers that add noise, which diffusers draws from another generator.
const ADD_NOISE: [SamplerKind; 3] = [SamplerKind::Ddpm, SamplerKind::EulerAncestral, SamplerKind::Lcm];

fn prompts() -> Vec<Prompt> {
    let request = json("model/expected.json");
    let texts = |field: &str| -> Vec<String> {
        serde_json::from_value(request[field].clone()).expect("a list of texts")
    };
    let pairs = texts("prompt").into_iter().zip(texts("negative_prompt"));
    let prompts = pairs.map(|(prompt, negative)| Prompt { prompt, negative_prompt: Some(negative), seed: 3 });
    prompts.collect()
}

fn settings(sampler: SamplerKind, guidance_scale: f64) -> Settings {
    Settings { width: 16, height: 24, steps: 5, guidance_scale, sampler }
}

#[test]
fn images_equal_diffusers() {
    let expected = Expected::read("model");
    let model = TextToImage::load(&folder("model"), None, &Device::Cpu).expect("load");
    for sampler in SamplerKind::ALL.into_iter().filter(|kind| !ADD_NOISE.contains(kind)) {
        for guidance in [1, 4] {
            let mut progress = Vec::new();
            let images = model
                .generate_from(
                    expected.get("noise"),
                    &prompts(),
                    &settings(sampler, f64::from(guidance)),
                    &mut |done, all| {
                        progress.push((done, all));
                        ControlFlow::Continue(())
                    },
                )
                .expect("images")
                .expect("not stopped");
            let evaluations = if sampler == SamplerKind::Pndm { 6 } else { 5 };
            assert_eq!(progress, (1..=evaluations).map(|done| (done, evaluations)).collect::<Vec<_>>());
            let theirs = expected.get(&format!("{sampler}.{guidance}")).flatten_all().expect("bytes");
            let theirs: Vec<u8> = theirs.to_vec1().expect("bytes");
            let ours: Vec<u8> = images.iter().flat_map(|p| p.as_raw().clone()).collect();
            assert_eq!(ours.len(), theirs.len());
            let apart = ours.iter().zip(&theirs).map(|(&a, &b)| a.abs_diff(b));
            eprintln!(
                "{sampler} at guidance {guidance}: {} of {} bytes differ",
                apart.clone().filter(|&d| d > 0).count(),
                ours.len()
            );
            assert_eq!(apart.filter(|&d| d > 1).count(), 0, "{sampler} at guidance {guidance}");
        }
    }
}

#[test]
fn an_image_depends_on_its_seed_but_not_on_its_batch() {
    let model = TextToImage::load(&folder("model"), None, &Device::Cpu).expect("load");
    for sampler in [SamplerKind::Ddim, SamplerKind::EulerAncestral] {
        let settings = settings(sampler, 4.0);
        let make = |batch: &[Prompt]| {
            let made = model.generate(batch, &settings, &mut |_, _| ControlFlow::Continue(()));
            made.expect("images").expect("not stopped")
        };
        let [first, second] = prompts().try_into().expect("two prompts");
        let together = make(&[first.clone(), second.clone()]);
        assert_eq!(together, [make(std::slice::from_ref(&first)), make(&[second])].concat());
        let other = make(&[Prompt { seed: 4, ..first.clone() }]);
        assert_ne!(other[0], together[0]);
        // The negative prompt has an effect.
        let other = make(&[Prompt { negative_prompt: Some("snow".to_owned()), ..first }]);
        assert_ne!(other[0], together[0]);
        assert!(make(&[]).is_empty());
    }
}

#[test]
fn added_noise_depends_on_the_seed() {
    let expected = Expected::read("model");
    let model = TextToImage::load(&folder("model"), None, &Device::Cpu).expect("load");
    for sampler in SamplerKind::ALL {
        let make = |seed: u64| {
            let batch: Vec<Prompt> = prompts().into_iter().map(|p| Prompt { seed, ..p }).collect();
            let mut go_on = |_, _| ControlFlow::Continue(());
            let made =
                model.generate_from(expected.get("noise"), &batch, &settings(sampler, 1.0), &mut go_on);
            made.expect("images").expect("not stopped")
        };
        // The initial noise is the same.
        assert_eq!(make(3), make(3), "{sampler}");
        assert_eq!(make(3) != make(4), ADD_NOISE.contains(&sampler), "{sampler}");
    }
}

#[test]
fn the_progress_callback_can_stop_the_generation() {
    let model = TextToImage::load(&folder("model"), None, &Device::Cpu).expect("load");
    let mut calls = 0;
    let stopped = model.generate(&prompts(), &settings(SamplerKind::Euler, 1.0), &mut |_, _| {
        calls += 1;
        ControlFlow::Break(())
    });
    assert!(stopped.expect("no error").is_none());
    assert_eq!(calls, 1);
}

#[test]
fn invalid_sizes_are_errors() {
    let model = TextToImage::load(&folder("model"), None, &Device::Cpu).expect("load");
    let mut go_on = |_, _| ControlFlow::Continue(());
    for (width, height) in [(0, 16), (16, 0), (15, 16), (16, 17)] {
        let settings = Settings { width, height, ..settings(SamplerKind::Ddim, 1.0) };
        let error = model.generate(&prompts(), &settings, &mut go_on).expect_err("a bad size").to_string();
        assert!(error.contains("multiples of 2"), "{error}");
    }
    let noise = Expected::read("model").get("noise").narrow(0, 0, 1).expect("one");
    let error = model
        .generate_from(&noise, &prompts(), &settings(SamplerKind::Ddim, 1.0), &mut go_on)
        .expect_err("noise of another shape");
    assert!(error.to_string().contains("noise"), "{error}");
}
