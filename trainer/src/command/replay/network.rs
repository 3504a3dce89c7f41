//! The network on noised images, one at a time: their errors without a graph, and the gradient of a weighted sum of
//! the errors. Memory holds the graph of one image.

use anyhow::{Result, bail, ensure};
use candle_core::{Device, Tensor};
use diffusion::gradients::GradientSums;
use diffusion::unet::{AddedConditioning, Unet};
use diffusion::weights::Variables;
use std::collections::BTreeMap;

/// A noised image with what the network should predict for it.
pub(super) struct NoisedImage {
    /// Noised latents, (1, channels, height, width).
    pub(super) noised: Tensor,
    /// The noise or velocity, one value for each of `noised`, in f64.
    pub(super) target: Vec<f64>,
    /// (1)
    pub(super) timestep: Tensor,
    /// Text states, (1, tokens, width).
    pub(super) text: Tensor,
    pub(super) added: Option<AddedConditioning>,
}

impl NoisedImage {
    /// The network's prediction, and its difference from the target in f64.
    fn predict(&self, unet: &Unet) -> Result<(Tensor, Vec<f64>)> {
        let prediction = unet.forward_with(&self.noised, &self.timestep, &self.text, self.added.as_ref())?;
        let values = prediction.detach().flatten_all()?.to_vec1::<f32>()?;
        let differences = values.iter().zip(&self.target).map(|(&p, t)| f64::from(p) - t).collect();
        Ok((prediction, differences))
    }
}

/// e(k) of every image: the squared error, averaged over channels and pixels. Summed in f64, because beta multiplies
/// the difference of two errors by thousands.
pub(super) fn errors(unet: &Unet, images: &[NoisedImage]) -> Result<Vec<f64>> {
    let pairs = images.len() / 2;
    images
        .iter()
        .enumerate()
        .map(|(k, image)| {
            let (_, differences) = image.predict(unet)?;
            let error = differences.iter().map(|d| d * d).sum::<f64>() / differences.len() as f64;
            ensure!(
                error.is_finite(),
                "the error of {} {} is {error}: check the weights for NaN and huge values",
                if k < pairs { "winner" } else { "loser" },
                k % pairs
            );
            Ok(error)
        })
        .collect()
}

/// The gradient of the sum of `derivatives[k]` e(k) for every parameter, including zero gradients.
pub(super) fn gradients(
    unet: &Unet,
    variables: &Variables,
    images: &[NoisedImage],
    derivatives: &[f64],
) -> Result<BTreeMap<String, Tensor>> {
    // The largest derivative is factored out, because the derivatives of pairs that the policy is almost certain of
    // would underflow in f32.
    let unit = derivatives.iter().fold(0f64, |a, d| a.max(d.abs()));
    let sums = GradientSums::of(variables);
    for (image, derivative) in images.iter().zip(derivatives) {
        if *derivative == 0.0 {
            continue;
        }
        let (prediction, differences) = image.predict(unet)?;
        let scale = 2.0 / differences.len() as f64 * (derivative / unit);
        let direction: Vec<f32> = differences.iter().map(|d| (d * scale) as f32).collect();
        let direction = Tensor::from_vec(direction, prediction.shape(), &Device::Cpu)?;
        sums.backward(&(prediction * direction)?.sum_all()?)?;
    }
    let mut sums = sums.take()?;
    let all_zero = derivatives.iter().all(|&derivative| derivative == 0.0);
    for (name, variable) in variables {
        let gradient = match sums.remove(name) {
            Some(sum) => scaled(&sum, unit)?,
            None if all_zero => variable.zeros_like()?,
            None => bail!("{name} received no gradient"),
        };
        let largest = gradient.abs()?.flatten_all()?.max(0)?.to_scalar::<f32>()?;
        ensure!(
            largest.is_finite(),
            "the gradient of {name} is not finite: check the weights for huge values"
        );
        sums.insert(name.clone(), gradient);
    }
    Ok(sums)
}

/// Multiplies in f64, because the factor may be outside the range of f32.
fn scaled(x: &Tensor, factor: f64) -> Result<Tensor> {
    let values = x.flatten_all()?.to_vec1::<f32>()?;
    let values: Vec<f32> = values.into_iter().map(|v| (f64::from(v) * factor) as f32).collect();
    Ok(Tensor::from_vec(values, x.shape(), &Device::Cpu)?)
}
