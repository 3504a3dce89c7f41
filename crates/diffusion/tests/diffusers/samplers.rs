//! Samplers and noise schedules against diffusers' schedulers.

use crate::fixture::{Expected, json, relative_error};
use candle_core::Tensor;
use diffusion::sampler::{Sampler, SamplerKind};
use diffusion::schedule::Schedule;
use serde_json::{Value, json};
use std::path::Path;

fn schedule(extra: serde_json::Value) -> Schedule {
    let mut config = json!({
        "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "steps_offset": 1
    });
    config.as_object_mut().expect("fields").extend(extra.as_object().expect("fields").clone());
    Schedule::new(serde_json::from_value(config).expect("a config"), Path::new("test")).expect("a schedule")
}

/// The cases of `oracles/samplers.py`: sampler, schedule, and numbers of steps.
fn cases(file: &str) -> Vec<(SamplerKind, Schedule, Vec<usize>)> {
    let cases = json(&format!("samplers/{file}"));
    let case = |case: &Value| {
        let config = serde_json::from_value(case["config"].clone()).expect("a config");
        let steps = case["steps"].as_array().map(|steps| steps.iter().filter_map(Value::as_u64));
        let steps = steps.into_iter().flatten().map(|n| n as usize).collect();
        let kind = case["sampler"].as_str().expect("a name").parse().expect("a kind");
        (kind, Schedule::new(config, Path::new("test")).expect("a schedule"), steps)
    };
    cases.as_array().expect("a list").iter().map(case).collect()
}

fn timesteps(sampler: &Sampler) -> Vec<f32> {
    sampler.timesteps().map(|t| t as f32).collect()
}

/// Every sampler, spacing (including its default), prediction type and final noise level, with 1 to 50 steps. With the same
/// predictions and added noise, timesteps, network inputs and latents must be the same.
#[test]
fn steps_equal_diffusers() {
    let worst = follow("cases.json", "", 1e-5, 4 * 2 * (3 * 10 + 4) + 14 * 3);
    for (kind, (error, place)) in SamplerKind::ALL.iter().zip(&worst) {
        eprintln!("{kind}: the worst step off by {error:.1e}");
        assert!((1e-9..=1e-5).contains(error), "{place}: off by {error:e}");
    }
}

/// With zero terminal signal-to-noise ratio (`rescale_betas_zero_snr`), whose last timestep has no signal, or hardly any.
#[test]
fn steps_without_signal_at_the_end_equal_diffusers() {
    let worst = follow("zero_snr.json", "zero.", 2e-4, 4 * (3 * 8 + 4));
    for (kind, (error, place)) in SamplerKind::ALL.iter().zip(&worst) {
        eprintln!("{kind}: the worst step off by {error:.1e}");
        // diffusers computes in f32, with a ratio of noise to signal of 4096.
        let is_tested = *kind != SamplerKind::Pndm;
        assert!(
            if is_tested { (1e-9..=2e-4).contains(error) } else { *error == 0.0 },
            "{place}: off by {error:e}"
        );
    }
}

/// Follows the sequences of a file, whose tensors' names have a prefix; the worst error of each sampler, and where it is.
fn follow(file: &str, prefix: &str, tolerance: f64, count: usize) -> Vec<(f64, String)> {
    let expected = Expected::read("samplers");
    let row =
        |tensor: &str, i: usize| expected.get(tensor).get(i).expect("a row").contiguous().expect("a row");
    let mut worst = vec![(0.0, String::new()); SamplerKind::ALL.len()];
    let mut sequences = 0;
    for (number, (kind, schedule, numbers_of_steps)) in cases(file).into_iter().enumerate() {
        assert_eq!(SamplerKind::of(schedule.config()), Ok(kind));
        for steps in numbers_of_steps {
            let name = format!("{prefix}{number}.{steps}");
            let theirs =
                |i: usize, from: usize, length: usize| row(&name, i).narrow(0, from, length).expect("a row");
            let sampler = Sampler::new(kind, &schedule, steps).expect("a sampler");
            assert_eq!(sampler.timesteps().len(), expected.get(&name).dim(0).expect("rows"), "{kind} {name}");
            let mut denoising = sampler.start(expected.get("noise")).expect("a start");
            for (i, t) in sampler.timesteps().enumerate() {
                let place = format!("{kind} {name} at {t}, case {:?}", schedule.config());
                // Timesteps that are not whole are interpolated.
                let apart = (t as f32 - theirs(i, 0, 1).to_vec1::<f32>().expect("a timestep")[0]).abs();
                assert!(
                    if t.fract() == 0.0 { apart == 0.0 } else { apart < 1e-3 },
                    "{place}: off by {apart}"
                );
                let input = denoising.model_input().and_then(|s| Ok(s.flatten_all()?)).expect("latents");
                let apart = relative_error(&input, &theirs(i, 1, 4));
                assert!(apart < tolerance, "{place}: the network input is off by {apart:e}");
                denoising.advance(&row("predictions", i), || Ok(row("fresh_noise", i))).expect("a step");
                let latents = denoising.latents().flatten_all().expect("latents");
                let error = relative_error(&latents, &theirs(i, 5, 4));
                let worst = &mut worst[SamplerKind::ALL.iter().position(|&k| k == kind).expect("listed")];
                if error > worst.0 {
                    *worst = (error, place);
                }
            }
            sequences += 1;
            let after_the_last = denoising.advance(&row("predictions", 0), || Ok(row("fresh_noise", 0)));
            assert!(after_the_last.expect_err("no step is left").to_string().contains("done"));
        }
    }
    assert_eq!(sequences, count);
    worst
}

/// The levels of rescaled betas, noisy latents and velocities, those of the last timestep, which has no signal, included.
#[test]
fn rescaled_betas_equal_diffusers() {
    let expected = Expected::read("samplers");
    let zero = schedule(json!({ "rescale_betas_zero_snr": true, "prediction_type": "v_prediction" }));
    let levels: Vec<f32> = expected.get("zero.levels").to_vec1().expect("levels");
    assert_eq!(levels.len(), 1000);
    for (t, theirs) in levels.into_iter().enumerate() {
        // Computed in f64 and stored in f32.
        let ours = zero.alpha_bar(t) as f32;
        assert!((ours - theirs).abs() <= 1e-6 * theirs, "{ours} instead of {theirs} at {t}");
    }
    assert_eq!((zero.alpha_bar(999), zero.signal_to_noise(999)), (0.0, 0.0));
    let plain = schedule(json!({ "rescale_betas_zero_snr": false, "prediction_type": "v_prediction" }));
    assert!((plain.alpha_bar(0) - zero.alpha_bar(0)).abs() < 1e-12);
    let at: Vec<i64> = expected.get("noised_at").to_vec1().expect("timesteps");
    let at: Vec<usize> = at.into_iter().map(|t| t as usize).collect();
    let (clean, noise): (&Tensor, &Tensor) = (expected.get("clean"), expected.get("noise_added"));
    assert_eq!(at.last(), Some(&999));
    expected.assert_close("zero.noised", &zero.add_noise(clean, noise, &at).expect("noised"), 1e-5);
    expected.assert_close("zero.velocity", &zero.target(clean, noise, &at).expect("target"), 1e-5);
}

/// Without signal, a predicted noise says nothing about the image; and diffusers' PNDM does not have the setting.
#[test]
fn what_cannot_end_without_signal_is_refused() {
    let config = json!({
        "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "rescale_betas_zero_snr": true
    });
    let config = serde_json::from_value(config).expect("a config");
    let error = Schedule::new(config, Path::new("test")).expect_err("no signal").to_string();
    assert!(error.contains("rescale_betas_zero_snr") && error.contains("v_prediction"), "{error}");
    let zero = schedule(json!({ "rescale_betas_zero_snr": true, "prediction_type": "v_prediction" }));
    let error = Sampler::new(SamplerKind::Pndm, &zero, 5).expect_err("no such setting").to_string();
    for words in ["rescale_betas_zero_snr", "pndm", "ddim, ddpm, euler"] {
        assert!(error.contains(words), "{error}");
    }
}

/// Numbers of steps for which timesteps are halfway between two whole numbers.
#[test]
fn timesteps_are_rounded_as_numpy_does() {
    let expected = Expected::read("samplers");
    let mut compared = 0;
    for (number, (kind, schedule, _)) in cases("rounded.json").into_iter().enumerate() {
        for name in expected.names(&format!("rounded.{number}.")) {
            let sampler = Sampler::new(kind, &schedule, name.parse().expect("steps")).expect("a sampler");
            let theirs: Vec<f32> =
                expected.get(&format!("rounded.{number}.{name}")).to_vec1().expect("timesteps");
            let ours = timesteps(&sampler);
            assert_eq!(ours.len(), theirs.len(), "{kind} {name}");
            let whole = |t: &f32| t.fract() == 0.0;
            let apart =
                |(a, b): (&f32, &f32)| if whole(a) && whole(b) { a != b } else { (a - b).abs() > 1e-3 };
            assert!(!ours.iter().zip(&theirs).any(apart), "{kind} {name}: {ours:?} instead of {theirs:?}");
            compared += 1;
        }
    }
    assert_eq!(compared, 5 * (10 * 3 + 2) + 3 * 2);
}

/// A different timestep for each sample, from the first to the last.
#[test]
fn noisy_latents_and_velocities_equal_diffusers() {
    let expected = Expected::read("samplers");
    let at: Vec<i64> = expected.get("noised_at").to_vec1().expect("timesteps");
    let at: Vec<usize> = at.into_iter().map(|t| t as usize).collect();
    let (clean, noise): (&Tensor, &Tensor) = (expected.get("clean"), expected.get("noise_added"));
    for (kind, from, to) in [("scaled_linear", 0.00085, 0.012), ("linear", 0.0001, 0.02)] {
        let betas = json!({ "beta_schedule": kind, "beta_start": from, "beta_end": to });
        let noised = schedule(betas.clone()).add_noise(clean, noise, &at).expect("noised");
        expected.assert_close(&format!("{kind}.noised"), &noised, 1e-5);
        let mut velocity = betas.clone();
        velocity["prediction_type"] = "v_prediction".into();
        let target = schedule(velocity).target(clean, noise, &at).expect("target");
        expected.assert_close(&format!("{kind}.velocity"), &target, 1e-5);
        let target = schedule(betas).target(clean, noise, &at).expect("target");
        assert_eq!(relative_error(&target, noise), 0.0);
    }
}

#[test]
fn invalid_numbers_of_steps_are_errors() {
    for kind in SamplerKind::ALL {
        let most = match kind {
            SamplerKind::Lcm => 50,
            // They use one more level than steps.
            SamplerKind::Dpmpp2m | SamplerKind::Unipc => 999,
            _ => 1000,
        };
        for (steps, fits) in [(0, false), (1, true), (most, true), (most + 1, false), (1001, false)] {
            match Sampler::new(kind, &schedule(json!({})), steps) {
                Ok(sampler) => assert!(fits && sampler.timesteps().all(|t| t >= 0.0), "{kind} {steps}"),
                Err(error) => assert!(!fits && error.to_string().starts_with("steps: "), "{kind}: {error}"),
            }
        }
    }
}

/// Unsupported settings are errors that name the setting; samplers whose class does not have the setting ignore it.
#[test]
fn unsupported_settings_are_errors() {
    let karras = json!({ "_class_name": "DPMSolverMultistepScheduler", "use_karras_sigmas": true });
    for (kind, other, settings) in [
        ("dpmpp_2m", "euler", json!({ "algorithm_type": "sde-dpmsolver++" })),
        ("dpmpp_2m_karras", "ddim", json!({ "solver_order": 3 })),
        ("dpmpp_2m", "pndm", json!({ "solver_type": "heun" })),
        ("unipc", "dpmpp_2m", json!({ "predict_x0": false })),
        ("unipc", "dpmpp_2m", json!({ "disable_corrector": [0] })),
        ("euler", "euler_ancestral", json!({ "final_sigmas_type": "sigma_min" })),
        ("euler", "unipc", json!({ "interpolation_type": "log_linear" })),
        ("ddim", "euler", json!({ "clip_sample": true })),
        ("lcm", "pndm", json!({ "thresholding": true })),
        ("ddpm", "dpmpp_2m", json!({ "variance_type": "fixed_large" })),
        ("pndm", "ddim", json!({ "skip_prk_steps": false })),
    ] {
        let schedule = schedule(settings.clone());
        let kind: SamplerKind = kind.parse().expect("a kind");
        let error = Sampler::new(kind, &schedule, 5).expect_err("an unsupported setting").to_string();
        let field = settings.as_object().and_then(|s| s.keys().next()).expect("a field");
        assert!(error.contains(field) && error.contains(kind.as_str()), "{error}");
        assert!(
            Sampler::new(other.parse().expect("a kind"), &schedule, 5).is_ok(),
            "{other} does not have {field}"
        );
    }
    // Values that have no effect.
    let supported = json!({
        "algorithm_type": "dpmsolver++", "solver_order": 2, "solver_type": "midpoint", "lower_order_final": true,
        "disable_corrector": [], "final_sigmas_type": "zero", "sigma_min": null, "clip_sample": false
    });
    for kind in SamplerKind::ALL {
        assert!(Sampler::new(kind, &schedule(supported.clone()), 5).is_ok(), "{kind}");
        assert!(Sampler::new(kind, &schedule(karras.clone()), 5).is_ok(), "{kind}");
        assert_eq!(kind.to_string().parse(), Ok(kind));
    }
    // The class of PNDM starts with Runge-Kutta steps by default.
    let class = schedule(json!({ "_class_name": "PNDMScheduler" }));
    assert!(Sampler::new(SamplerKind::Pndm, &class, 5).is_err());
}

#[test]
fn the_scheduler_config_determines_the_sampler() {
    let of = |config| SamplerKind::of(schedule(config).config());
    assert_eq!(of(json!({})), Ok(SamplerKind::Ddim));
    let dpm = "DPMSolverMultistepScheduler";
    assert_eq!(of(json!({ "_class_name": dpm, "use_karras_sigmas": true })), Ok(SamplerKind::Dpmpp2mKarras));
    assert_eq!(of(json!({ "_class_name": dpm, "use_karras_sigmas": false })), Ok(SamplerKind::Dpmpp2m));
    let unknown = of(json!({ "_class_name": "HeunDiscreteScheduler" })).expect_err("an unknown class");
    assert!(
        ["_class_name", "HeunDiscreteScheduler", "--sampler", "unipc"]
            .iter()
            .all(|word| unknown.contains(word)),
        "{unknown}"
    );
    // Only samplers that support the other settings are named.
    let unknown =
        of(json!({ "_class_name": "LMSDiscreteScheduler", "clip_sample": true })).expect_err("unknown");
    assert!(unknown.contains("euler") && !unknown.contains("ddim"), "{unknown}");
    let unknown = "heun".parse::<SamplerKind>().expect_err("an unknown class");
    assert!(SamplerKind::ALL.iter().all(|kind| unknown.contains(kind.as_str())), "{unknown}");
}
