//! Samplers and noise schedule against `DDIMScheduler` (without clipping) and `EulerDiscreteScheduler`.

use crate::fixture::{Expected, relative_error};
use candle_core::Tensor;
use diffusion::sampler::{Sampler, SamplerKind};
use diffusion::schedule::Schedule;
use serde_json::json;
use std::path::Path;

fn schedule(extra: serde_json::Value) -> Schedule {
    let mut config = json!({
        "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "steps_offset": 1
    });
    config.as_object_mut().expect("fields").extend(extra.as_object().expect("fields").clone());
    Schedule::new(serde_json::from_value(config).expect("a config"), Path::new("test")).expect("a schedule")
}

/// Every spacing (also the sampler's own), prediction type and end, from 1 to 50 steps: the same timesteps and,
/// fed with the same predictions, the same latents after each step.
#[test]
fn steps() {
    let expected = Expected::read("samplers");
    let names = expected.names("");
    let names: Vec<&str> = names.iter().filter_map(|n| n.strip_suffix(".latents")).collect();
    assert_eq!(names.len(), 3 * 2 * (3 * 4 + 1));
    let mut worst = (0.0, String::new());
    for name in names {
        let [kind, spacing, prediction, to_one, steps] =
            name.split('.').collect::<Vec<_>>().try_into().expect("five parts");
        let mut extra = json!({ "prediction_type": prediction, "set_alpha_to_one": to_one == "true" });
        if spacing != "default" {
            extra["timestep_spacing"] = spacing.into();
        }
        let kind: SamplerKind = kind.parse().expect("a kind");
        let sampler = Sampler::new(kind, &schedule(extra), steps.parse().expect("steps")).expect("a sampler");
        let timesteps: Vec<f32> = sampler.timesteps().iter().map(|&t| t as f32).collect();
        let theirs = expected.get(&format!("{name}.timesteps")).to_vec1::<f32>().expect("timesteps");
        assert_eq!(timesteps, theirs, "{name}");
        let mut latents = (expected.get("noise") * sampler.initial_deviation()).expect("latents");
        for i in 0..timesteps.len() {
            let row = |t: &str| expected.get(t).get(i).expect("a step");
            if kind == SamplerKind::Euler {
                let seen = sampler.scale_input(&latents, i).expect("scale");
                assert!(relative_error(&seen, &row(&format!("{name}.seen"))) < 1e-5, "{name} step {i}");
            }
            let prediction = row("predictions").unsqueeze(0).and_then(|p| p.reshape(latents.shape()));
            latents = sampler.step(&prediction.expect("a prediction"), &latents, i).expect("step");
            let error = relative_error(&latents, &row(&format!("{name}.latents")));
            if error > worst.0 {
                worst = (error, format!("{name} step {i}"));
            }
        }
    }
    eprintln!("worst step off by {:.1e}: {}", worst.0, worst.1);
    assert!(worst.0 <= 1e-5, "{} is off by {:e}", worst.1, worst.0);
}

/// Numbers of steps at which timesteps lie half way between two whole ones.
#[test]
fn timesteps_are_rounded_as_numpy_does() {
    let expected = Expected::read("samplers");
    let names = expected.names("rounded.");
    assert_eq!(names.len(), 2 * 3 * 5);
    for name in names {
        let [kind, spacing, steps] = name.split('.').collect::<Vec<_>>().try_into().expect("three parts");
        let schedule = schedule(json!({ "timestep_spacing": spacing }));
        let kind = kind.parse().expect("a kind");
        let sampler = Sampler::new(kind, &schedule, steps.parse().expect("steps")).expect("a sampler");
        let timesteps: Vec<f32> = sampler.timesteps().iter().map(|&t| t as f32).collect();
        let theirs: Vec<f32> = expected.get(&format!("rounded.{name}")).to_vec1().expect("timesteps");
        assert_eq!(timesteps, theirs, "{name}");
    }
}

/// Each sample at its own timestep, from the first to the last.
#[test]
fn noising_and_velocity() {
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
fn no_steps_and_too_many_are_errors() {
    for kind in [SamplerKind::Ddim, SamplerKind::Euler] {
        assert!(Sampler::new(kind, &schedule(json!({})), 0).is_err());
        assert!(Sampler::new(kind, &schedule(json!({})), 1001).is_err());
        assert!(Sampler::new(kind, &schedule(json!({})), 1000).is_ok());
    }
}
