//! The autoencoder: moments, decoded images, and the gradient of every parameter.

use crate::fixture::{Expected, folder};
use candle_core::Device;
use diffusion::vae::Autoencoder;

fn check(name: &str) {
    let expected = Expected::read(name);
    let (vae, variables) = Autoencoder::load(&folder(name), &Device::Cpu, true).expect(name);
    let [images, noise] = ["pictures", "noise"].map(|n| expected.get(n));
    let posterior = vae.encode(images).expect("encode");
    expected.assert_close("mean", &posterior.mean, 1e-5);
    expected.assert_close("log_variance", &posterior.log_variance, 1e-5);
    // Encoder and decoder are one graph with one loss, as in the oracle.
    let deviation = (&posterior.log_variance * 0.5).and_then(|l| l.exp()).expect("deviation");
    let latents = (deviation * noise).and_then(|n| &posterior.mean + n).expect("latents");
    let decoded = vae.decode(&latents).expect("decode");
    expected.assert_close("decoded", &decoded, 1e-5);
    let loss = (&decoded - images)
        .and_then(|d| d.sqr()?.mean_all()? + (posterior.log_variance.sqr()?.mean_all()? * 0.1)?)
        .expect("loss");
    expected.assert_close("loss", &loss, 1e-5);
    expected.assert_gradients(&variables, &loss.backward().expect("backward"), 1e-4);
}

#[test]
fn with_attention_in_the_middle() {
    check("model/vae");
}

/// Also without the 1 x 1 convolutions around the latents.
#[test]
fn without_attention() {
    check("vae_plain");
}
