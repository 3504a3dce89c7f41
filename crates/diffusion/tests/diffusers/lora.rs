//! LoRA adapters against diffusers with PEFT. `oracles/lora.py` computed the expected values in `f64`.

use crate::fixture::{Expected, folder, relative_error};
use candle_core::{Device, Tensor};
use diffusion::lora::{Adapter, Layers, Network, open, save};
use diffusion::unet::Unet;
use diffusion::weights::{Parameters, Weights};
use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::Path;

/// The parameters of a frozen UNet.
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

/// The UNet with these parameters and an adapter that is not fused.
fn build(base: &str, weights: &Weights, adapter: Adapter) -> Unet {
    let config = Unet::config_of(&folder(base)).expect(base);
    let parameters = Parameters::of_tensors(weights.clone(), &Device::Cpu).with_adapter(adapter);
    let unet = Unet::new(&parameters.root(), config).expect(base);
    parameters.finish().expect("all parameters are used");
    unet
}

/// The output for the inputs in the fixture of the base, and the mean squared error to the target.
fn run(base: &str, unet: &Unet) -> [Tensor; 2] {
    let given = Expected::read(base);
    let output =
        unet.forward(given.get("latents"), given.get("timesteps"), given.get("text")).expect("forward");
    let loss = (&output - given.get("target")).and_then(|d| d.sqr()?.mean_all()).expect("loss");
    [output, loss]
}

/// Checks the output, every gradient, that frozen weights have no gradient, and the fused weights and their output.
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

/// All linear layers and convolutions, with different ranks and alphas.
#[test]
fn everywhere_under_pefts_names() {
    check("unet_lists", "lora_everywhere", "peft.safetensors");
}

/// Alphas are tensors; names of the original layout refer to the same layers.
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

/// A written file can be read back and equals the file that `oracles/lora.py check` loaded with diffusers.
#[test]
fn written_files_are_read_by_diffusers() {
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

/// PEFT itself stores its settings in a separate file, which is required.
#[test]
fn files_of_peft_are_read_with_their_settings() {
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
    let error = open(&file, &networks(&weights)).expect_err("no settings").to_string();
    assert!(error.contains("adapter_config.json"), "{error}");
    let settings = |text: &str| fs::write(place.path().join("adapter_config.json"), text).expect("write");
    settings(r#"{ "peft_type": "LORA", "r": 3, "lora_alpha": 6, "alpha_pattern": { "to_v": 9 } }"#);
    for (layer, update) in read(&weights, &file).layers() {
        assert_eq!(update.scale(), if layer.ends_with("to_v") { 3.0 } else { 2.0 }, "{layer}");
    }
    settings(r#"{ "r": 3, "lora_alpha": 6, "use_rslora": true }"#);
    let scale = read(&weights, &file).layers().values().next().expect("an update").scale();
    assert!((scale - 6.0 / 3f64.sqrt()).abs() < 1e-12, "{scale}");
    settings(r#"{ "r": 3, "use_dora": true }"#);
    let error = open(&file, &networks(&weights)).expect_err("DoRA").to_string();
    assert!(error.contains("DoRA"), "{error}");
}

/// A new adapter does not change the output, depends only on the seed, and `down` has PEFT's standard deviation, 1 / rank.
#[test]
fn an_untrained_adapter_changes_nothing() {
    let weights = weights("unet_sd15");
    let layers = Layers::of(&weights);
    let targets = ["to_k", "to_q", "to_v", "to_out.0"].map(str::to_owned);
    let untrained = |seed| Adapter::untrained(&layers, &targets, 4, 4.0, seed).expect("an adapter");
    let adapter = untrained(1);
    assert!(adapter.layers().keys().all(|layer| layer.contains(".attn")));
    let numbers = |adapter: &Adapter| -> Vec<f32> {
        let values = adapter.values();
        let down = values.iter().filter(|(name, _)| name.ends_with("lora_A.weight"));
        down.flat_map(|(_, t)| t.flatten_all().and_then(|t| t.to_vec1()).expect("numbers")).collect()
    };
    let drawn = numbers(&adapter);
    assert_eq!(drawn, numbers(&untrained(1)));
    assert_ne!(drawn, numbers(&untrained(2)));
    let deviation = (drawn.iter().map(|v| v * v).sum::<f32>() / drawn.len() as f32).sqrt();
    assert!((deviation - 0.25).abs() < 0.01, "{deviation}");
    let plain = run("unet_sd15", &build("unet_sd15", &weights, Adapter::default()));
    let updated = run("unet_sd15", &build("unet_sd15", &weights, adapter));
    assert_eq!(relative_error(&updated[0], &plain[0]), 0.0);

    let unknown = Adapter::untrained(&layers, &["to_x".to_owned()], 4, 4.0, 1).expect_err("no such layer");
    assert!(unknown.to_string().contains("\"to_x\""), "{unknown}");
    let part = Adapter::untrained(&layers, &["o_q".to_owned()], 4, 4.0, 1).expect_err("not a whole name");
    assert!(part.to_string().contains("\"o_q\""), "{part}");
}

/// A file with one wrong tensor is an error that names the tensor.
#[test]
fn wrong_tensors_are_errors_that_name_them() {
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
        open(&file, &networks(&weights)).expect_err("a wrong tensor").to_string()
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
        (insert("unet.conv_in.weight", &[1]), "unet.conv_in.weight", "not a LoRA tensor"),
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
        (insert(text, &[3, 8]), text, "updates text_encoder, which this model does not have"),
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
    assert!(refusal(&all).contains("no LoRA tensors"));
}
