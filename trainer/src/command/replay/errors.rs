//! What one network makes of the images, one at a time: its errors without a graph, and the gradient of a weighted
//! sum of them with the graph of one image in memory (method.md section 1's way of memory for one image).

use anyhow::{Result, bail, ensure};
use candle_core::{Device, Tensor};
use diffusion::gradients::GradientSums;
use diffusion::unet::{AddedConditioning, Unet};
use diffusion::weights::Variables;
use std::collections::BTreeMap;

/// A noised image and what the network should make of it.
pub(super) struct Image {
    /// (1, channels, height, width)
    pub(super) noised: Tensor,
    /// As many values, in f64.
    pub(super) target: Vec<f64>,
    /// (1)
    pub(super) timestep: Tensor,
    /// (1, tokens, width)
    pub(super) text: Tensor,
    pub(super) added: Option<AddedConditioning>,
}

impl Image {
    /// The network's prediction, and how far it is from the target, in f64.
    fn predict(&self, unet: &Unet) -> Result<(Tensor, Vec<f64>)> {
        let prediction = unet.forward_with(&self.noised, &self.timestep, &self.text, self.added.as_ref())?;
        let values = prediction.detach().flatten_all()?.to_vec1::<f32>()?;
        let off = values.iter().zip(&self.target).map(|(&p, t)| f64::from(p) - t).collect();
        Ok((prediction, off))
    }
}

/// e(k) of every image: the mean over channels and pixels of the squared error. Summed in f64: beta multiplies the
/// difference of two such numbers by thousands.
pub(super) fn errors(unet: &Unet, images: &[Image]) -> Result<Vec<f64>> {
    images
        .iter()
        .enumerate()
        .map(|(k, image)| {
            let (_, off) = image.predict(unet)?;
            let error = off.iter().map(|d| d * d).sum::<f64>() / off.len() as f64;
            ensure!(
                error.is_finite(),
                "its error on {} {} is {error}: look for NaN or huge values in its weights",
                if k < images.len() / 2 { "winner" } else { "loser" },
                k % (images.len() / 2)
            );
            Ok(error)
        })
        .collect()
}

/// The gradient of the sum of `slopes[k]` e(k) for every parameter, zeros included.
pub(super) fn gradients(
    unet: &Unet,
    variables: &Variables,
    images: &[Image],
    slopes: &[f64],
) -> Result<BTreeMap<String, Tensor>> {
    // The largest slope is taken out, since slopes of almost certain pairs would underflow on the way.
    let unit = slopes.iter().fold(0f64, |a, s| a.max(s.abs()));
    let sums = GradientSums::of(variables);
    for (image, slope) in images.iter().zip(slopes) {
        if *slope == 0.0 {
            continue;
        }
        let (prediction, off) = image.predict(unet)?;
        let scale = 2.0 / off.len() as f64 * (slope / unit);
        let direction: Vec<f32> = off.iter().map(|d| (d * scale) as f32).collect();
        let direction = Tensor::from_vec(direction, prediction.shape(), &Device::Cpu)?;
        sums.backward(&(prediction * direction)?.sum_all()?)?;
    }
    let mut sums = sums.take()?;
    let none_counts = slopes.iter().all(|&slope| slope == 0.0);
    for (name, variable) in variables {
        let gradient = match sums.remove(name) {
            Some(sum) => scaled(&sum, unit)?,
            None if none_counts => variable.zeros_like()?,
            None => bail!("no gradient reaches {name}"),
        };
        let largest = gradient.abs()?.flatten_all()?.max(0)?.to_scalar::<f32>()?;
        ensure!(
            largest.is_finite(),
            "the gradient of {name} is not finite: look for huge values in the weights"
        );
        sums.insert(name.clone(), gradient);
    }
    Ok(sums)
}

/// In f64, since the factor may be far outside of f32.
fn scaled(x: &Tensor, factor: f64) -> Result<Tensor> {
    let values = x.flatten_all()?.to_vec1::<f32>()?;
    let values: Vec<f32> = values.into_iter().map(|v| (f64::from(v) * factor) as f32).collect();
    Ok(Tensor::from_vec(values, x.shape(), &Device::Cpu)?)
}
