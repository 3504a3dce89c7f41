//! The UNet: its output, and the gradient of every parameter.

use crate::fixture::{Expected, folder};
use candle_core::{DType, Device, Tensor};
use diffusion::config::UnetConfig;
use diffusion::gradients::GradientSums;
use diffusion::tape::{BackwardMode, Pass};
use diffusion::unet::{AddedConditioning, Unet};
use diffusion::weights::{Parameters, Variables};
use serde_json::json;
use std::collections::BTreeMap;

/// Checks the output and all gradients of a mean squared error, for latents with odd sides and a different timestep for each
/// sample.
fn check(name: &str) {
    let expected = Expected::read(name);
    let (unet, variables) = Unet::load(&folder(name), &Device::Cpu, true).expect(name);
    let [latents, timesteps, text, target] =
        ["latents", "timesteps", "text", "target"].map(|n| expected.get(n));
    let output = unet.forward(latents, timesteps, text).expect("forward");
    expected.assert_close("output", &output, 1e-5);
    let loss = (&output - target).and_then(|d| d.sqr()?.mean_all()).expect("loss");
    expected.assert_close("loss", &loss, 1e-5);
    expected.assert_gradients(&variables, &loss.backward().expect("backward"), 1e-4);
}

/// The structure of SD 1.5: attention except at the lowest resolution, two layers per block.
#[test]
fn as_stable_diffusion_1_5() {
    check("unet_sd15");
}

/// Attention only at lower resolutions, as in the bundled model.
#[test]
fn attention_in_the_lower_blocks_only() {
    check("model/unet");
}

/// Different heads and transformer layers per block, linear projections, sine first, another epsilon.
#[test]
fn settings_per_block_and_linear_projections() {
    check("unet_lists");
}

/// Checks that a pass that recomputes its graph has the same gradients as one that stores it, bit for bit, and that one without
/// a backward pass has the same output.
fn check_backward_modes(
    unet: &Unet,
    variables: &Variables,
    inputs: [&Tensor; 3],
    added: Option<&AddedConditioning>,
) {
    let [latents, timesteps, text] = inputs;
    let pass = |mode| unet.pass(latents, timesteps, text, added, mode).expect("a pass");
    let loss = |pass: &Pass<'_>| pass.output().sqr().and_then(|d| d.mean_all()).expect("a loss");
    let values = |t: &Tensor| t.flatten_all().and_then(|t| t.to_vec1::<f32>()).expect("values");
    let modes = [BackwardMode::StoreGraph, BackwardMode::Recompute, BackwardMode::Disabled];
    let [stored, recomputed, disabled] = modes.map(pass);
    assert_eq!(values(stored.output()), values(recomputed.output()));
    assert_eq!(values(stored.output()), values(disabled.output()));
    let [stored_loss, recomputed_loss, disabled_loss] = [&stored, &recomputed, &disabled].map(loss);
    let gradients = |pass: Pass<'_>, loss: &Tensor| {
        let sums = GradientSums::of(variables);
        pass.backward(loss, &sums).map(|()| sums.take().expect("sums"))
    };
    assert!(gradients(disabled, &disabled_loss).is_err());
    let stored = gradients(stored, &stored_loss).expect("backward");
    let recomputed = gradients(recomputed, &recomputed_loss).expect("backward");
    assert_eq!(stored.len(), variables.len());
    assert!(stored.keys().eq(recomputed.keys()));
    for (name, gradient) in &stored {
        assert!(values(gradient).iter().any(|&g| g != 0.0), "{name}: no gradient");
        assert_eq!(values(gradient), values(&recomputed[name]), "{name}");
        assert!(!recomputed[name].track_op(), "{name} keeps its graph alive");
    }
}

#[test]
fn gradients_do_not_depend_on_the_backward_mode() {
    for name in ["unet_sd15", "model/unet", "unet_lists"] {
        let expected = Expected::read(name);
        let (unet, variables) = Unet::load(&folder(name), &Device::Cpu, true).expect(name);
        check_backward_modes(
            &unet,
            &variables,
            ["latents", "timesteps", "text"].map(|n| expected.get(n)),
            None,
        );
    }
}

/// A pass that recomputes its graph would silently cut off the graph of an input.
#[test]
fn recomputing_refuses_inputs_with_a_graph() {
    let expected = Expected::read("unet_sd15");
    let (unet, _) = Unet::load(&folder("unet_sd15"), &Device::Cpu, true).expect("load");
    let [latents, timesteps, text] = ["latents", "timesteps", "text"].map(|n| expected.get(n));
    let variable = |t: &Tensor| candle_core::Var::from_tensor(t).expect("a variable");
    let (latents_v, text_v) = (variable(latents), variable(text));
    for (latents, text) in [(latents_v.as_tensor(), text), (latents, text_v.as_tensor())] {
        assert!(unet.pass(latents, timesteps, text, None, BackwardMode::Recompute).is_err());
        assert!(unet.pass(latents, timesteps, text, None, BackwardMode::StoreGraph).is_ok());
    }
}

/// A frozen network has no variables and the same output.
#[test]
fn a_frozen_network_has_the_same_output() {
    let expected = Expected::read("unet_sd15");
    let (unet, variables) = Unet::load(&folder("unet_sd15"), &Device::Cpu, false).expect("load");
    assert!(variables.is_empty());
    let output = unet
        .forward(expected.get("latents"), expected.get("timesteps"), expected.get("text"))
        .expect("forward");
    expected.assert_close("output", &output, 1e-5);
}

/// The configs of the published models, as published and as diffusers writes them now, describe exactly the parameters that
/// diffusers' networks have. The weights take no memory: all are broadcast from one zero.
#[test]
fn published_models_at_full_size() {
    for (name, count) in [("sd15", 686), ("sd21", 686), ("sdxl", 1680)] {
        let folder = folder("published").join(name);
        let listed = std::fs::read_to_string(folder.join("parameters.txt")).expect("a list");
        let zero = Tensor::zeros((), DType::F32, &Device::Cpu).expect("zero");
        let (mut tensors, mut before) = (BTreeMap::new(), String::new());
        for line in listed.lines() {
            let [shared, rest, shape] = line.split(' ').collect::<Vec<_>>()[..] else { panic!("{line}") };
            before = before[..shared.parse().expect(line)].to_owned() + rest;
            let shape: Vec<usize> = shape.split(',').map(|n| n.parse().expect(line)).collect();
            tensors.insert(before.clone(), zero.broadcast_as(shape).expect("zeros"));
        }
        assert_eq!(tensors.len(), count);
        for config in ["config.json", "config_today.json"] {
            let config = UnetConfig::read(&folder.join(config)).expect(name);
            let parameters = Parameters::of_tensors(tensors.clone(), &Device::Cpu);
            Unet::new(&parameters.root(), config).expect(name);
            parameters.finish().expect(name);
        }
    }
}

/// Missing, misshapen and superfluous added conditioning are errors.
#[test]
fn added_conditioning() {
    let mut config = json!({
        "block_out_channels": [4, 8], "norm_num_groups": 2, "layers_per_block": 1, "attention_head_dim": 2,
        "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D"],
        "up_block_types": ["CrossAttnUpBlock2D", "UpBlock2D"], "cross_attention_dim": 6,
        "addition_embed_type": "text_time", "addition_time_embed_dim": 5, "projection_class_embeddings_input_dim": 33,
    });
    let build = |config: &serde_json::Value| {
        let config: UnetConfig = serde_json::from_value(config.clone()).expect("a config");
        Unet::new(&Parameters::random(1, &Device::Cpu).root(), config).expect("a network")
    };
    let of = |value: f32, shape: &[usize]| Tensor::full(value, shape, &Device::Cpu).expect("numbers");
    let (latents, timesteps, text) = (of(0.5, &[1, 4, 8, 9]), of(3.0, &[1]), of(0.1, &[1, 2, 6]));
    let added = |pooled: f32, width: usize| AddedConditioning {
        pooled: of(pooled, &[1, width]),
        time_ids: of(64.0, &[1, 6]),
    };
    let run = |unet: &Unet, added: Option<&AddedConditioning>| {
        let output = unet.forward_with(&latents, &timesteps, &text, added);
        output.map(|y| y.flatten_all().and_then(|y| y.to_vec1::<f32>()).expect("numbers"))
    };
    let unet = build(&config);
    let first = run(&unet, Some(&added(1.0, 3))).expect("forward");
    assert_ne!(first, run(&unet, Some(&added(2.0, 3))).expect("forward"));
    let lacking = run(&unet, None).expect_err("it is missing").to_string();
    assert!(lacking.contains("pooled"), "{lacking}");
    let misfit = run(&unet, Some(&added(1.0, 4))).expect_err("too wide").to_string();
    assert!(misfit.contains("33"), "{misfit}");
    config["addition_embed_type"] = json!(null);
    let superfluous = run(&build(&config), Some(&added(1.0, 3))).expect_err("superfluous").to_string();
    assert!(superfluous.contains("neither"), "{superfluous}");
}
