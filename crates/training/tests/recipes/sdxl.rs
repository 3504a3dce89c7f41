//! Training a small SDXL: every parameter of its UNet receives a gradient, and a dropped caption is conditioned as the
//! empty one. `resume.rs` tests that it resumes.

use crate::world::{World, numbers};
use candle_core::{DType, Device};
use diffusion::conditioning::Conditioning;
use diffusion::part_folders::PartFolders;
use diffusion::tape::BackwardMode;
use diffusion::text_encoders::TextEncoders;
use diffusion::unet::Unet;
use diffusion::weights::{Parameters, StoredWeights};
use std::collections::BTreeMap;
use std::path::Path;
use training::forward::{Forward, PassOptions};
use training::optim::Gradients;
use training::recipes::objective::objective;

fn world(caption_dropout: f64) -> World {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    // The CLIP features for the weights of Diff-contrast come from the bundled model's CLIP.
    let bundled = root.join("../../models/shapes");
    let folders = PartFolders::new(&root.join("../diffusion/tests/fixtures/sdxl"), Some(&bundled));
    let text = format!(
        r#"
        name = "sdxl"
        base = "sdxl"
        steps = 2
        batch_size = 3
        caption_dropout = {caption_dropout:?}
        objective = {{ kind = "diff_contrast", beta = 500.0, tau = 0.5 }}
        data = {{ source = "shapes", set = "winter", count = 6, seed = 3 }}
        learning_rate = {{ rate = 1e-4 }}
        "#
    );
    World::new(folders, &text, true)
}

/// The gradients of Diff-contrast by parameter name. The UNet computes in `dtype`.
fn gradients(world: &World, options: PassOptions, dtype: DType) -> BTreeMap<String, Vec<f32>> {
    let folder = world.folders.part("unet").expect("a UNet");
    let load = |trainable| {
        let (config, files) = Unet::files(&folder).expect("files");
        let stored = StoredWeights::open(&files).expect("weights");
        let parameters = Parameters::from_stored(stored, &Device::Cpu, dtype, trainable);
        parameters.build(|scope| Unet::new(scope, config.clone())).expect("a UNet")
    };
    let ((policy, variables), (reference, _)) = (load(true), load(false));
    let batch = world.batches().get(0).expect("a batch");
    let forward = Forward::run(&policy, Some(&reference), &world.schedule, &batch, options).expect("forward");
    let loss = objective(&world.spec.objective, &world.schedule, &forward, &batch).expect("a loss").loss;
    let mut gradients = Gradients::default();
    forward.backward(&loss, &variables, &mut gradients).expect("backward");
    let all = variables.keys().map(|name| (name.clone(), numbers(gradients.get(name).expect("a gradient"))));
    all.collect()
}

#[test]
fn every_parameter_of_the_unet_receives_a_gradient_and_the_same_in_less_memory() {
    let world = world(0.0);
    let options = PassOptions::of(&world.spec);
    let plain = gradients(&world, options, DType::F32);
    assert!(plain.contains_key("add_embedding.linear_1.weight"));
    for (name, gradient) in &plain {
        assert!(gradient.iter().any(|&g| g != 0.0), "the gradient of {name} is zero");
        assert!(gradient.iter().all(|g| g.is_finite()), "the gradient of {name} is not finite");
    }
    let norm = |gradient: &[f32]| gradient.iter().map(|&g| f64::from(g).powi(2)).sum::<f64>().sqrt();
    let all = plain.values().map(|g| norm(g).powi(2)).sum::<f64>().sqrt();
    let checkpointed =
        gradients(&world, PassOptions { keep: BackwardMode::Recompute, ..options }, DType::F32);
    assert!(plain == checkpointed, "activation checkpointing changes the gradients");
    // The terms of winners and losers nearly cancel, so rounding is a larger share of the sum: 2.6e-4 for the last bias
    // of a feed-forward layer in one pass, where images are computed together, and 3.7e-4 in two, where they are
    // computed one by one. So both are compared with f64 instead of each other.
    let exact = gradients(&world, options, DType::F64);
    let two_pass = gradients(&world, PassOptions { two_pass: true, ..options }, DType::F32);
    for (name, exact) in &exact {
        for (passes, found) in [("one pass", &plain[name]), ("two passes", &two_pass[name])] {
            let off: Vec<f32> = found.iter().zip(exact).map(|(a, b)| a - b).collect();
            let (off, size) = (norm(&off), norm(exact));
            assert!(
                off < 3e-4 * size + 1e-7 * all,
                "{passes}, {name}: off by {off:e} of {size:e}, all {all:e}"
            );
        }
    }
}

#[test]
fn a_dropped_caption_has_the_states_and_pooled_text_of_the_empty_one() {
    let kept = world(0.0);
    let dropped = world(1.0);
    let encoders = TextEncoders::open(&kept.folders, &Device::Cpu).expect("text encoders");
    let empty = encoders.encode(&["", "", ""]).expect("encodes");
    let conditioning = |world: &World| world.batches().get(0).expect("a batch").conditioning.swap_remove(0);
    let Conditioning { text, added } = conditioning(&dropped);
    let added = added.expect("pooled text");
    assert_eq!(numbers(&text), numbers(&empty.states));
    assert_eq!(numbers(&added.pooled), numbers(empty.pooled.as_ref().expect("pooled text")));
    // Whole images of 64 x 64 pixels.
    assert_eq!(numbers(&added.time_ids), [64.0, 64.0, 0.0, 0.0, 64.0, 64.0].repeat(3));
    let Conditioning { text, added } = conditioning(&kept);
    assert_ne!(numbers(&text), numbers(&empty.states));
    let pooled = added.expect("pooled text").pooled;
    assert_ne!(numbers(&pooled), numbers(empty.pooled.as_ref().expect("pooled text")));
}
