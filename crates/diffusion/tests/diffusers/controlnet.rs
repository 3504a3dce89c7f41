//! ControlNets against diffusers and against the original implementation of Prompt Diffusion.

use crate::fixture::{Expected, folder};
use candle_core::{Device, Tensor};
use diffusion::config::ControlNetConfig;
use diffusion::controlnet::ControlNet;
use diffusion::unet::{Residuals, Unet};
use serde_json::json;

const TOLERANCE: f64 = 1e-4;

fn assert_residuals(expected: &Expected, residuals: &Residuals) {
    assert_eq!(residuals.down.len(), expected.names("down.").len());
    for (i, ours) in residuals.down.iter().enumerate() {
        expected.assert_close(&format!("down.{i}"), ours, TOLERANCE);
    }
    expected.assert_close("mid", &residuals.mid, TOLERANCE);
}

/// A ControlNet with one hint, and its effect on a UNet, with odd sides.
#[test]
fn a_plain_controlnet_equals_diffusers() {
    let expected = Expected::read("controlnet_plain");
    let network = ControlNet::load(&folder("controlnet_plain"), &Device::Cpu).expect("load");
    let (unet, _) = Unet::load(&folder("model/unet"), &Device::Cpu, false).expect("load");
    network.check(unet.config()).expect("made for it");
    let [latents, timesteps, text, hint] =
        ["latents", "timesteps", "text", "hint"].map(|name| expected.get(name));
    let hints = network.encode_hints(hint, None).expect("hints");
    let residuals = network.forward(latents, timesteps, text, &hints).expect("forward");
    assert_residuals(&expected, &residuals);
    let output = unet.forward_with_residuals(latents, timesteps, text, &residuals).expect("forward");
    expected.assert_close("output", &output, TOLERANCE);
    let error = network.encode_hints(hint, Some(hint)).expect_err("it has no query encoder");
    assert!(error.to_string().contains("takes no query"), "{error}");
    let fewer = Residuals { down: residuals.down[1..].to_vec(), mid: residuals.mid };
    let error = unet.forward_with_residuals(latents, timesteps, text, &fewer).expect_err("one is missing");
    assert!(error.to_string().contains("5 outputs"), "{error}");
}

/// The config of the small network in the original layout.
fn config() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let config = json!({
        "_class_name": "PromptDiffusionControlNetModel", "conditioning_channels": 6,
        "block_out_channels": [8, 8, 16], "layers_per_block": 2, "attention_head_dim": 4, "norm_num_groups": 4,
        "down_block_types": ["CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"],
        "cross_attention_dim": 12, "conditioning_embedding_out_channels": [4, 6, 8],
    });
    std::fs::write(folder.path().join("config.json"), config.to_string()).expect("written");
    folder
}

/// A pickle that also has tensors of other networks.
#[test]
fn checkpoints_of_the_original_implementation_are_read() {
    let expected = Expected::read("controlnet_original");
    let scratch = config();
    let config = ControlNetConfig::read(&scratch.path().join("config.json")).expect("a config");
    let file = folder("controlnet_original").join("network.ckpt");
    let network = ControlNet::load_original(&file, config.clone(), &Device::Cpu).expect("load");
    let [latents, timesteps, text, pair, query] =
        ["latents", "timesteps", "text", "pair", "query"].map(|name| expected.get(name));
    let hints = network.encode_hints(pair, Some(query)).expect("hints");
    let residuals = network.forward(latents, timesteps, text, &hints).expect("forward");
    assert_residuals(&expected, &residuals);
    let error = network.encode_hints(pair, None).expect_err("the query is missing").to_string();
    assert!(error.contains("query"), "{error}");
    // The file of another network, and a config that does not fit.
    let other = folder("controlnet_plain").join("diffusion_pytorch_model.safetensors");
    let error = ControlNet::load_original(&other, config, &Device::Cpu).expect_err("other names").to_string();
    assert!(error.contains("control_model."), "{error}");
    let full = ControlNetConfig::prompt_diffusion().expect("valid");
    let error = ControlNet::load_original(&file, full, &Device::Cpu).expect_err("too small").to_string();
    assert!(error.contains("network.ckpt") && error.contains("has shape [8]"), "{error}");
}

#[test]
fn unsupported_settings_are_errors() {
    let scratch = config();
    let file = scratch.path().join("config.json");
    let valid: serde_json::Value =
        serde_json::from_slice(&std::fs::read(&file).expect("a config")).expect("a config");
    for (field, value) in [
        ("controlnet_conditioning_channel_order", json!("bgr")),
        ("global_pool_conditions", json!(true)),
        ("conditioning_embedding_out_channels", json!([])),
        ("norm_num_groups", json!(3)),
        ("class_embed_type", json!("timestep")),
    ] {
        let mut config = valid.clone();
        config[field] = value;
        std::fs::write(&file, config.to_string()).expect("written");
        let error = ControlNetConfig::read(&file).expect_err(field).to_string();
        assert!(error.contains(field), "{error}");
    }
}

/// Before training, the zero convolutions output zeros, which do not change the UNet.
#[test]
fn zero_residuals_change_nothing() {
    let expected = Expected::read("controlnet_plain");
    let (unet, _) = Unet::load(&folder("model/unet"), &Device::Cpu, false).expect("load");
    let network = ControlNet::load(&folder("controlnet_plain"), &Device::Cpu).expect("load");
    let [latents, timesteps, text, hint] =
        ["latents", "timesteps", "text", "hint"].map(|name| expected.get(name));
    let hints = network.encode_hints(hint, None).expect("hints");
    let residuals = network.forward(latents, timesteps, text, &hints).expect("forward");
    let zero = |t: &Tensor| t.zeros_like().expect("zeros");
    let none = Residuals { down: residuals.down.iter().map(zero).collect(), mid: zero(&residuals.mid) };
    let with = unet.forward_with_residuals(latents, timesteps, text, &none).expect("forward");
    let without = unet.forward(latents, timesteps, text).expect("forward");
    assert_eq!(
        with.flatten_all().and_then(|t| t.to_vec1::<f32>()).expect("numbers"),
        without.flatten_all().and_then(|t| t.to_vec1::<f32>()).expect("numbers")
    );
}
