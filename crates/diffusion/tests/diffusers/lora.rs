//! LoRA against diffusers with PEFT, whose numbers `oracles/lora.py` computed in f64.

use crate::fixture::{Expected, folder, relative_error};
use candle_core::{Device, Tensor};
use diffusion::lora::{Adapter, Layers, Network, open, save};
use diffusion::unet::Unet;
use diffusion::weights::{Parameters, Weights};
use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::Path;

/// A frozen UNet's parameters.
fn weights(base: &str) -> Weights {
    Unet::load_with_weights(&folder(base), &Device::Cpu).expect(base).1
}

fn networks(weights: &Weights) -> BTreeMap<Network, Layers> {
    BTreeMap::from([(Network::Unet, Layers::of(weights))])
}

fn read(base: &Weights, file: &Path) -> Adapter {
    let mut adapters = open(file, &networks(base)).expect("an adapter");
    assert_eq!(adapters.len(), 1);
    adapters.remove(&Network::Unet).expect("the UNet's")
}

/// The UNet of these parameters, with an adapter beside them.
fn build(base: &str, weights: &Weights, adapter: Adapter) -> Unet {
    let config = Unet::config_of(&folder(base)).expect(base);
    let parameters = Parameters::of_tensors(weights.clone(), &Device::Cpu).with_adapter(adapter);
    let unet = Unet::new(&parameters.root(), config).expect(base);
    parameters.finish().expect("all parameters are used");
    unet
}

/// The output for the inputs of the base's own fixture, and the mean squared error to its target.
fn run(base: &str, unet: &Unet) -> [Tensor; 2] {
    let given = Expected::read(base);
    let output =
        unet.forward(given.get("latents"), given.get("timesteps"), given.get("text")).expect("forward");
    let loss = (&output - given.get("target")).and_then(|d| d.sqr()?.mean_all()).expect("loss");
    [output, loss]
}

/// Forward, every gradient, and no gradient for what is frozen; fused weights and their output.
fn check(base: &str, fixture: &str, file: &str) {
    let expected = Expected::read(fixture);
    let weights = weights(base);
    let adapter = read(&weights, &folder(fixture).join(file));
    let (adapter, variables) = adapter.trainable().expect("variables");
    let [output, loss] = run(base, &build(base, &weights, adapter.clone()));
    expected.assert_close("output", &output, 1e-5);
    expected.assert_close("loss", &loss, 1e-5);
    let gradients = loss.backward().expect("backward");
    expected.assert_gradients(&variables, &gradients, 1e-4);
    for (name, weight) in &weights {
        let is_map = name.ends_with(".weight") && weight.dims().len() > 1;
        assert!(!is_map || gradients.get(weight).is_none(), "{name} is frozen and has a gradient");
    }

    let mut fused = weights.clone();
    adapter.fuse(0.75, &mut fused).expect("fuse");
    let changed = expected.names("fused.");
    assert_eq!(changed.len(), adapter.layers().len());
    for layer in changed {
        expected.assert_close(&format!("fused.{layer}"), &fused[&format!("{layer}.weight")], 1e-6);
    }
    let untouched = fused.iter().filter(|(name, weight)| weight.id() == weights[*name].id()).count();
    assert_eq!(untouched, weights.len() - adapter.layers().len(), "only the layers named are replaced");

    let mut whole = weights.clone();
    adapter.fuse(1.0, &mut whole).expect("fuse");
    expected.assert_close("output", &run(base, &build(base, &whole, Adapter::default()))[0], 1e-5);
}

#[test]
fn attention_only_under_diffusers_names() {
    check("model/unet", "lora_attention", "diffusers.safetensors");
}

#[test]
fn under_the_names_of_attention_processors() {
    check("model/unet", "lora_attention", "processors.safetensors");
}

/// Every linear layer and convolution, ranks and alphas that differ between layers.
#[test]
fn everywhere_under_pefts_names() {
    check("unet_lists", "lora_everywhere", "peft.safetensors");
}

/// Alphas as tensors; the original layout's names mean the same layers.
#[test]
fn under_kohyas_names() {
    let expected = Expected::read("lora_kohya");
    let weights = weights("unet_lists");
    for file in ["kohya.safetensors", "original.safetensors"] {
        let adapter = read(&weights, &folder("lora_kohya").join(file));
        assert!(adapter.layers().values().all(|update| update.scale() == 0.5));
        let [output, loss] = run("unet_lists", &build("unet_lists", &weights, adapter));
        expected.assert_close("output", &output, 1e-5);
        expected.assert_close("loss", &loss, 1e-5);
    }
}

/// What is written is read back, and is the very file that `oracles/lora.py check` gave to diffusers.
#[test]
fn written_as_diffusers_reads_it() {
    let weights = weights("unet_lists");
    let adapter = read(&weights, &folder("lora_everywhere").join("peft.safetensors"));
    let place = tempfile::tempdir().expect("a folder");
    let file = place.path().join("written.safetensors");
    save(&BTreeMap::from([(Network::Unet, adapter.clone())]), &file).expect("save");
    let again = read(&weights, &file);
    assert_eq!(again.layers().len(), adapter.layers().len());
    for (layer, update) in adapter.layers() {
        let other = &again.layers()[layer];
        assert_eq!((update.rank(), update.alpha()), (other.rank(), other.alpha()), "{layer}");
        assert_eq!(relative_error(update.down(), other.down()), 0.0);
        assert_eq!(relative_error(update.up(), other.up()), 0.0);
    }
    let shown_to_diffusers = folder("lora_everywhere").join("written.safetensors");
    if std::env::var_os("WRITE_FIXTURES").is_some() {
        fs::copy(&file, &shown_to_diffusers).expect("copy");
    }
    assert_eq!(fs::read(&file).expect("ours"), fs::read(shown_to_diffusers).expect("a fixture"));
}

/// PEFT itself keeps its settings in a file of its own, without which nothing is read.
#[test]
fn as_peft_itself_saves() {
    let weights = weights("model/unet");
    let tensors =
        candle_core::safetensors::load(folder("lora_attention").join("diffusers.safetensors"), &Device::Cpu)
            .expect("a fixture");
    let renamed: HashMap<String, Tensor> = tensors
        .into_iter()
        .map(|(name, t)| {
            let name = name.replace("unet.", "base_model.model.");
            (name.replace("lora.down", "lora_A").replace("lora.up", "lora_B"), t)
        })
        .collect();
    let place = tempfile::tempdir().expect("a folder");
    let file = place.path().join("adapter_model.safetensors");
    candle_core::safetensors::save(&renamed, &file).expect("save");
    let lacking = open(&file, &networks(&weights)).expect_err("no settings").to_string();
    assert!(lacking.contains("adapter_config.json"), "{lacking}");
    let settings = |text: &str| fs::write(place.path().join("adapter_config.json"), text).expect("write");
    settings(r#"{ "peft_type": "LORA", "r": 3, "lora_alpha": 6, "alpha_pattern": { "to_v": 9 } }"#);
    for (layer, update) in read(&weights, &file).layers() {
        assert_eq!(update.scale(), if layer.ends_with("to_v") { 3.0 } else { 2.0 }, "{layer}");
    }
    settings(r#"{ "r": 3, "lora_alpha": 6, "use_rslora": true }"#);
    let scale = read(&weights, &file).layers().values().next().expect("an update").scale();
    assert!((scale - 6.0 / 3f64.sqrt()).abs() < 1e-12, "{scale}");
    settings(r#"{ "r": 3, "use_dora": true }"#);
    let refused = open(&file, &networks(&weights)).expect_err("DoRA").to_string();
    assert!(refused.contains("DoRA"), "{refused}");
}

/// A new adapter changes nothing, is the same for the same seed, and `down` has PEFT's deviation, 1 / rank.
#[test]
fn a_new_adapter_changes_nothing() {
    let weights = weights("unet_sd15");
    let layers = Layers::of(&weights);
    let targets = ["to_k", "to_q", "to_v", "to_out.0"].map(str::to_owned);
    let fresh = |seed| Adapter::fresh(&layers, &targets, 4, 4.0, seed).expect("an adapter");
    let adapter = fresh(1);
    assert!(adapter.layers().keys().all(|layer| layer.contains(".attn")));
    let numbers = |adapter: &Adapter| -> Vec<f32> {
        let values = adapter.values();
        let down = values.iter().filter(|(name, _)| name.ends_with("lora_A.weight"));
        down.flat_map(|(_, t)| t.flatten_all().and_then(|t| t.to_vec1()).expect("numbers")).collect()
    };
    let drawn = numbers(&adapter);
    assert_eq!(drawn, numbers(&fresh(1)));
    assert_ne!(drawn, numbers(&fresh(2)));
    let deviation = (drawn.iter().map(|v| v * v).sum::<f32>() / drawn.len() as f32).sqrt();
    assert!((deviation - 0.25).abs() < 0.01, "{deviation}");
    let plain = run("unet_sd15", &build("unet_sd15", &weights, Adapter::default()));
    let updated = run("unet_sd15", &build("unet_sd15", &weights, adapter));
    assert_eq!(relative_error(&updated[0], &plain[0]), 0.0);

    let unknown = Adapter::fresh(&layers, &["to_x".to_owned()], 4, 4.0, 1).expect_err("no such layer");
    assert!(unknown.to_string().contains("\"to_x\""), "{unknown}");
    let part = Adapter::fresh(&layers, &["o_q".to_owned()], 4, 4.0, 1).expect_err("no whole word");
    assert!(part.to_string().contains("\"o_q\""), "{part}");
}

/// A file with one tensor exchanged is refused, and the message names the tensor.
#[test]
fn what_does_not_fit_is_named() {
    let weights = weights("model/unet");
    let good =
        candle_core::safetensors::load(folder("lora_attention").join("diffusers.safetensors"), &Device::Cpu)
            .expect("a fixture");
    let layer = "down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_q";
    let [down, up] = ["down", "up"].map(|factor| format!("unet.{layer}.lora.{factor}.weight"));
    let zeros = |shape: &[usize]| Tensor::zeros(shape, candle_core::DType::F32, &Device::Cpu).expect("zeros");
    let refusal = |change: &dyn Fn(&mut HashMap<String, Tensor>)| {
        let mut tensors = good.clone();
        change(&mut tensors);
        let place = tempfile::tempdir().expect("a folder");
        let file = place.path().join("adapter.safetensors");
        candle_core::safetensors::save(&tensors, &file).expect("save");
        open(&file, &networks(&weights)).expect_err("it must not be read").to_string()
    };
    type Change<'a> = Box<dyn Fn(&mut HashMap<String, Tensor>) + 'a>;
    let insert = |name: &str, shape: &[usize]| -> Change<'_> {
        let (name, value) = (name.to_owned(), zeros(shape));
        Box::new(move |tensors| {
            tensors.insert(name.clone(), value.clone());
        })
    };
    let text = "text_encoder.text_model.encoder.layers.0.self_attn.q_proj.lora_A.weight";
    let elsewhere = "unet.down_blocks.7.attentions.0.transformer_blocks.0.attn1.to_q.lora.up.weight";
    let cases: Vec<(Change<'_>, &str, &str)> = vec![
        (insert("unet.conv_in.weight", &[1]), "unet.conv_in.weight", "no part of a LoRA"),
        (insert(&down, &[3, 9]), &down, "[3, 9]"),
        (insert(&down, &[2, 8]), &up, "[8, 2]"),
        (insert(&down, &[0, 8]), &down, "rank 0"),
        (
            Box::new(|tensors| {
                tensors.remove(&down);
            }),
            layer,
            "lora_A (down)",
        ),
        (insert(text, &[3, 8]), text, "text_encoder"),
        (insert(elsewhere, &[8, 3]), elsewhere, "no layer"),
        (insert(&format!("unet.{layer}.lora_A.weight"), &[3, 8]), layer, "another tensor"),
        (insert(&format!("unet.{layer}.lora_magnitude_vector"), &[8]), "magnitude", "DoRA"),
        (insert(&format!("unet.{layer}.alpha"), &[2]), "alpha", "single number"),
    ];
    for (change, name, problem) in cases {
        let message = refusal(&*change);
        eprintln!("{message}");
        assert!(message.contains(name) && message.contains(problem), "{name} / {problem}: {message}");
    }
    let all = |tensors: &mut HashMap<String, Tensor>| tensors.clear();
    assert!(refusal(&all).contains("no LoRA"));
}
