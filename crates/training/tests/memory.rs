//! Training in less memory: activation checkpointing keeps every bit of the gradients, two passes all but the last
//! digits.

use candle_core::{Device, Tensor};
use diffusion::conditioning::Conditioning;
use diffusion::noise::Noise;
use diffusion::part_folders::PartFolders;
use diffusion::tape::BackwardMode;
use diffusion::unet::Unet;
use diffusion::weights::Variables;
use domain::train::{Embedding, ErrorSpace, Objective};
use std::path::Path;
use training::data::batch::Batch;
use training::forward::{Forward, PassOptions};
use training::objectives::ClipFeatures;
use training::optim::Gradients;
use training::recipes::objective::objective;

const PLAIN: PassOptions =
    PassOptions { two_pass: false, keep: BackwardMode::StoreGraph, error_space: ErrorSpace::Prediction };

fn folders() -> PartFolders {
    PartFolders::new(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/shapes"), None)
}

/// M = 3, so that the chunks of a micro-batch differ in size.
fn batch(unet: &Unet, pairs: bool) -> Batch {
    let (m, config, mut noise) = (3, unet.config(), Noise::new(5));
    let mut draw = |shape: &[usize]| noise.normal_tensor(shape, &Device::Cpu).expect("noise");
    let latents = [m, config.in_channels, 8, 8];
    let conditioning = Conditioning { text: draw(&[m, 7, config.cross_attention_dim]), added: None };
    Batch {
        lists: Vec::new(),
        winner: draw(&latents),
        loser: pairs.then(|| draw(&latents)),
        noise: draw(&latents),
        timesteps: vec![17, 500, 930],
        examples: vec![0, 1, 2],
        conditioning: vec![conditioning; if pairs { 2 } else { 1 }],
        clip: Some(ClipFeatures { winner: draw(&[m, 5]), loser: draw(&[m, 5]), text: draw(&[m, 5]) }),
    }
}

struct Trained {
    loss: f32,
    gradients: Vec<(String, Vec<f32>)>,
}

fn train(spec: &Objective, options: PassOptions) -> Trained {
    let folder = folders().part("unet").expect("a UNet");
    let (policy, variables) = Unet::load(&folder, &Device::Cpu, true).expect("the policy");
    let reference = spec.is_preference().then(|| other(&policy, &variables));
    let schedule = folders().schedule().expect("a schedule");
    let batch = batch(&policy, spec.is_preference());
    let forward = Forward::run(&policy, reference.as_ref(), &schedule, &batch, options).expect("forward");
    let loss = objective(spec, &schedule, &forward, &batch).expect("a loss").loss;
    let mut gradients = Gradients::default();
    forward.backward(&loss, &variables, &mut gradients).expect("backward");
    let values = |name: &String| {
        let gradient = gradients.get(name).and_then(|g| Ok(g.flatten_all()?.to_vec1()?));
        (name.clone(), gradient.expect("a gradient"))
    };
    Trained { loss: loss.to_scalar().expect("a number"), gradients: variables.keys().map(values).collect() }
}

/// A reference that differs from the policy, so that dL/de differs from image to image.
fn other(policy: &Unet, variables: &Variables) -> Unet {
    let tensors =
        variables.iter().map(|(name, v)| (name.clone(), (v.as_detached_tensor() * 0.9).expect("0.9")));
    let frozen = diffusion::weights::Parameters::of_tensors(tensors.collect(), &Device::Cpu);
    Unet::new(&frozen.root(), policy.config().clone()).expect("the reference")
}

fn objectives() -> [Objective; 3] {
    [
        Objective::Sft {},
        Objective::DiffusionDpo { beta: 20.0 },
        Objective::DiffContrast { beta: 20.0, tau: 0.5, embedding: Embedding::Concat },
    ]
}

#[test]
fn activation_checkpointing_changes_no_bit() {
    for spec in objectives() {
        let plain = train(&spec, PLAIN);
        let checkpointed = train(&spec, PassOptions { keep: BackwardMode::Recompute, ..PLAIN });
        assert_eq!(plain.loss.to_bits(), checkpointed.loss.to_bits());
        assert!(plain.gradients == checkpointed.gradients, "{spec:?}");
    }
}

#[test]
fn two_passes_change_only_the_last_digits() {
    for spec in objectives() {
        let plain = train(&spec, PLAIN);
        let two_pass = PassOptions { two_pass: true, ..PLAIN };
        let twice = train(&spec, two_pass);
        assert!((plain.loss - twice.loss).abs() < 1e-5, "{spec:?}: {} {}", plain.loss, twice.loss);
        let length = |values: &mut dyn Iterator<Item = f32>| {
            values.map(|v| f64::from(v) * f64::from(v)).sum::<f64>().sqrt()
        };
        let whole = length(&mut plain.gradients.iter().flat_map(|(_, g)| g.iter().copied()));
        let mut all_off = 0.0;
        for ((name, plain), (_, twice)) in plain.gradients.iter().zip(&twice.gradients) {
            let off = length(&mut plain.iter().zip(twice).map(|(a, b)| a - b));
            let size = length(&mut plain.iter().copied());
            // Terms that nearly cancel leave the rounding errors of terms as large as the whole gradient. Where
            // attention is nearly uniform, the gradients of queries and keys have a millionth of its norm.
            all_off += off * off;
            let rounding = 1e-4 * size + 1e-7 * whole;
            assert!(
                size > 0.0 && off < rounding,
                "{spec:?}, {name}: off by {off:e} of {size:e}, all {whole:e}"
            );
        }
        let all_off = all_off.sqrt() / whole;
        assert!(all_off < 1e-5, "{spec:?}: off by {all_off:e} altogether");
        let both = train(&spec, PassOptions { keep: BackwardMode::Recompute, ..two_pass });
        assert!(both.gradients == twice.gradients, "{spec:?}");
    }
}

/// `error_space = "epsilon"` multiplies the error of a v-prediction by abar_t: compared with the error of the implied
/// noise.
#[test]
fn errors_of_a_v_prediction_in_the_space_of_the_noise() {
    let scratch = tempfile::tempdir().expect("a folder");
    let file = scratch.path().join("scheduler_config.json");
    let config = r#"{"num_train_timesteps": 1000, "beta_start": 0.00085, "beta_end": 0.012,
        "beta_schedule": "scaled_linear", "prediction_type": "v_prediction"}"#;
    std::fs::write(&file, config).expect("a config");
    let schedule = diffusion::schedule::Schedule::load(&file).expect("a schedule");
    let (unet, _) =
        Unet::load(&folders().part("unet").expect("a UNet"), &Device::Cpu, false).expect("the UNet");
    let batch = batch(&unet, false);
    let errors = |error_space| {
        let forward = Forward::run(&unet, None, &schedule, &batch, PassOptions { error_space, ..PLAIN });
        forward.expect("forward").winner().to_vec1::<f32>().expect("errors")
    };
    let (of_v, of_noise) = (errors(ErrorSpace::Prediction), errors(ErrorSpace::Epsilon));

    // The noise that v implies: sqrt(abar) v + sqrt(1 - abar) z_t.
    let noised = schedule.add_noise(&batch.winner, &batch.noise, &batch.timesteps).expect("noised");
    let timesteps: Vec<f32> = batch.timesteps.iter().map(|&t| t as f32).collect();
    let timesteps = Tensor::new(timesteps, &Device::Cpu).expect("timesteps");
    let v = unet.forward(&noised, &timesteps, &batch.conditioning[0].text).expect("forward");
    for (i, &t) in batch.timesteps.iter().enumerate() {
        let abar = schedule.alpha_bar(t);
        let row = |x: &Tensor| x.get(i).and_then(|x| x.flatten_all()?.to_vec1::<f32>()).expect("a row");
        let (v, noised, noise) = (row(&v), row(&noised), row(&batch.noise));
        let squares = (0..v.len()).map(|j| {
            let implied = abar.sqrt() * f64::from(v[j]) + (1.0 - abar).sqrt() * f64::from(noised[j]);
            (implied - f64::from(noise[j])).powi(2)
        });
        let expected = squares.sum::<f64>() / v.len() as f64;
        let off = (expected - f64::from(of_noise[i])).abs() / expected;
        assert!(off < 1e-4, "timestep {t}: {} instead of {expected}", of_noise[i]);
        assert!((f64::from(of_noise[i]) / f64::from(of_v[i]) - abar).abs() < 1e-5);
    }
}
