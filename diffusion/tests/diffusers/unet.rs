//! UNet: forward, and the gradient of every parameter.

use crate::fixture::{Expected, folder};
use candle_core::Device;
use diffusion::unet::Unet;

/// Latents whose sides do not halve evenly, a timestep for each sample, everything in one mean squared error.
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

/// SD 1.5's order of blocks: attention above, none in the lowest; two layers per block.
#[test]
fn as_stable_diffusion_1_5() {
    check("unet_sd15");
}

/// Attention only below, as in the bundled model.
#[test]
fn attention_in_the_lower_blocks_only() {
    check("model/unet");
}

/// Heads and transformer layers per block, linear projections, sine first, another epsilon.
#[test]
fn settings_per_block_and_linear_projections() {
    check("unet_lists");
}

/// A frozen network makes no variables and the same output.
#[test]
fn frozen() {
    let expected = Expected::read("unet_sd15");
    let (unet, variables) = Unet::load(&folder("unet_sd15"), &Device::Cpu, false).expect("load");
    assert!(variables.is_empty());
    let output = unet
        .forward(expected.get("latents"), expected.get("timesteps"), expected.get("text"))
        .expect("forward");
    expected.assert_close("output", &output, 1e-5);
}
