//! A small model of SDXL's shape learns: every parameter of its UNet gets a gradient, and what it is told of a dropped
//! caption is what it is told of the empty one. That it resumes is in `resume.rs`.

use candle_core::{Device, Tensor};
use diffusion::conditioning::Conditioning;
use diffusion::config::VaeConfig;
use diffusion::pipeline::Folders;
use diffusion::schedule::Schedule;
use diffusion::tape::Keep;
use diffusion::text_encoders::TextEncoders;
use diffusion::unet::Unet;
use domain::train::TrainSpec;
use std::collections::BTreeMap;
use std::path::Path;
use tempfile::TempDir;
use trainer::data::batch::Dealer;
use trainer::data::encoded::EncodedSet;
use trainer::forward::{Forward, Way};
use trainer::optim::Gradients;
use trainer::recipes::objective::objective;

/// The model, what it learns from, and what is needed to deal batches.
struct World {
    folders: Folders,
    spec: TrainSpec,
    set: EncodedSet,
    schedule: Schedule,
    vae: VaeConfig,
    _cache: TempDir,
}

impl World {
    fn new(caption_dropout: f64) -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        // CLIP for the weights of Diff-contrast is the bundled model's.
        let bundled = root.join("../models/shapes");
        let folders = Folders::new(&root.join("../diffusion/tests/fixtures/sdxl"), Some(&bundled));
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
        let spec: TrainSpec = toml::from_str(&text).expect("a spec");
        let cache = tempfile::tempdir().expect("a folder");
        let set = EncodedSet::prepare(
            &spec.data,
            &spec.picture(),
            &folders,
            true,
            cache.path(),
            &Device::Cpu,
            &mut |_, _| Ok(()),
        )
        .expect("encodes");
        let schedule = folders.schedule().expect("a schedule");
        let vae = folders.part("vae").expect("a VAE").join("config.json");
        let vae = VaeConfig::read(&vae).expect("a config");
        Self { folders, spec, set, schedule, vae, _cache: cache }
    }

    fn dealer(&self) -> Dealer<'_> {
        Dealer::new(&self.set, &self.spec, &self.schedule, &self.vae, &Device::Cpu).expect("deals")
    }
}

fn numbers(t: &Tensor) -> Vec<f32> {
    t.flatten_all().and_then(|t| t.to_vec1()).expect("numbers")
}

/// The gradients of Diff-contrast by name, and that every parameter has one.
fn gradients(world: &World, way: Way) -> BTreeMap<String, Vec<f32>> {
    let folder = world.folders.part("unet").expect("a UNet");
    let (policy, variables) = Unet::load(&folder, &Device::Cpu, true).expect("loads");
    let (reference, _) = Unet::load(&folder, &Device::Cpu, false).expect("loads");
    let batch = world.dealer().deal(0).expect("a batch");
    let forward = Forward::run(&policy, Some(&reference), &world.schedule, &batch, way).expect("forward");
    let loss = objective(&world.spec.objective, &world.schedule, &forward, &batch).expect("a loss").loss;
    let mut gradients = Gradients::default();
    forward.backward(&loss, &variables, &mut gradients).expect("backward");
    let all = variables.keys().map(|name| (name.clone(), numbers(gradients.get(name).expect("a gradient"))));
    all.collect()
}

#[test]
fn every_parameter_of_the_unet_gets_a_gradient_and_the_same_in_less_memory() {
    let world = World::new(0.0);
    let way = Way::of(&world.spec);
    let plain = gradients(&world, way);
    assert!(plain.contains_key("add_embedding.linear_1.weight"));
    for (name, gradient) in &plain {
        assert!(gradient.iter().any(|&g| g != 0.0), "the gradient of {name} is zero");
        assert!(gradient.iter().all(|g| g.is_finite()), "the gradient of {name} is not finite");
    }
    let norm = |gradient: &[f32]| gradient.iter().map(|&g| f64::from(g).powi(2)).sum::<f64>().sqrt();
    let all = plain.values().map(|g| norm(g).powi(2)).sum::<f64>().sqrt();
    for way in [Way { two_pass: true, ..way }, Way { keep: Keep::Inputs, ..way }] {
        for (name, gradient) in gradients(&world, way) {
            let off: Vec<f32> = gradient.iter().zip(&plain[&name]).map(|(a, b)| a - b).collect();
            let (off, size) = (norm(&off), norm(&gradient));
            if way.two_pass {
                // Pictures run one by one round differently, and what cancels leaves the rounding of the whole.
                assert!(off < 3e-4 * size + 1e-7 * all, "{name}: off by {off:e} of {size:e}, all {all:e}");
            } else {
                assert_eq!(off, 0.0, "{name}: running blocks again changes no bit");
            }
        }
    }
}

#[test]
fn a_dropped_caption_is_the_empty_one_in_states_and_pooled_text() {
    let kept = World::new(0.0);
    let dropped = World::new(1.0);
    let encoders = TextEncoders::open(&kept.folders, &Device::Cpu).expect("text encoders");
    let empty = encoders.encode(&["", "", ""]).expect("encodes");
    let told = |world: &World| world.dealer().deal(0).expect("a batch").conditioning.swap_remove(0);
    let Conditioning { text, added } = told(&dropped);
    let added = added.expect("pooled text");
    assert_eq!(numbers(&text), numbers(&empty.states));
    assert_eq!(numbers(&added.pooled), numbers(empty.pooled.as_ref().expect("pooled text")));
    // Whole pictures of 64 x 64 pixels.
    assert_eq!(numbers(&added.time_ids), [64.0, 64.0, 0.0, 0.0, 64.0, 64.0].repeat(3));
    let Conditioning { text, added } = told(&kept);
    assert_ne!(numbers(&text), numbers(&empty.states));
    let pooled = added.expect("pooled text").pooled;
    assert_ne!(numbers(&pooled), numbers(empty.pooled.as_ref().expect("pooled text")));
}
