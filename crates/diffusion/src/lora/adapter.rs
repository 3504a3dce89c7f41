//! The updates of one network.

use super::Layers;
use crate::nn::{Factor, LowRank};
use crate::noise::Noise;
use crate::weights::{Variables, Weights};
use crate::{Error, Result};
use candle_core::{Device, Tensor};
use std::collections::BTreeMap;

/// Updates by the layer's name.
#[derive(Clone, Debug, Default)]
pub struct Adapter {
    layers: BTreeMap<String, LowRank>,
}

/// Streams of a run's seed from here on hold the draws of new adapters, one for each layer.
const DRAWS: u64 = 3 << 60;

impl Adapter {
    /// Of updates that were held to their layers.
    #[must_use]
    pub fn new(layers: BTreeMap<String, LowRank>) -> Self {
        Self { layers }
    }

    /// One that changes nothing yet: `down` is normal with deviation 1 / rank (PEFT's "gaussian", which diffusers'
    /// training scripts ask for), `up` is zero. `targets` as in [`Layers::matching`].
    ///
    /// # Errors
    /// A target that names no layer.
    pub fn fresh(layers: &Layers, targets: &[String], rank: usize, alpha: f64, seed: u64) -> Result<Self> {
        let mut updates = BTreeMap::new();
        for (i, layer) in layers.matching(targets)?.into_iter().enumerate() {
            let weight = layers.shape(layer).unwrap_or_default();
            let [narrow, wide] = LowRank::shapes(weight, rank);
            let mut noise = Noise::stream(seed, DRAWS + i as u64);
            let down = (noise.normal_tensor(narrow, &Device::Cpu)? / rank as f64)?;
            let up = Tensor::zeros(wide, down.dtype(), &Device::Cpu)?;
            updates.insert(layer.to_owned(), update(layer, &down, &up, alpha, weight)?);
        }
        Ok(Self::new(updates))
    }

    /// Of the tensors that [`Adapter::values`] gives, all with one alpha.
    ///
    /// # Errors
    /// A tensor that is missing, misshapen, or of no layer.
    pub fn of_values(values: &BTreeMap<String, Tensor>, alpha: f64, layers: &Layers) -> Result<Self> {
        let mut updates = BTreeMap::new();
        for (name, down) in values {
            let Some(layer) = name.strip_suffix(DOWN) else { continue };
            let up = values.get(&format!("{layer}{UP}")).ok_or_else(|| bad(layer, "lacks its lora_B"))?;
            let weight = layers.shape(layer).ok_or_else(|| bad(layer, "is no layer of the network"))?;
            updates.insert(layer.to_owned(), update(layer, down, up, alpha, weight)?);
        }
        Ok(Self::new(updates))
    }

    /// The updates by the layer's name.
    #[must_use]
    pub fn layers(&self) -> &BTreeMap<String, LowRank> {
        &self.layers
    }

    /// The factors under PEFT's names.
    #[must_use]
    pub fn values(&self) -> BTreeMap<String, Tensor> {
        let both = |(layer, update): (&String, &LowRank)| {
            [(format!("{layer}{DOWN}"), update.down().clone()), (format!("{layer}{UP}"), update.up().clone())]
        };
        self.layers.iter().flat_map(both).collect()
    }

    /// The same on a device, in f32.
    ///
    /// # Errors
    /// candle's.
    pub fn to(&self, device: &Device) -> Result<Self> {
        let moved = self.layers.iter().map(|(layer, update)| Ok((layer.clone(), update.to(device)?)));
        Ok(Self::new(moved.collect::<candle_core::Result<_>>()?))
    }

    /// The same with factors that can be trained, and these by PEFT's names.
    ///
    /// # Errors
    /// candle's.
    pub fn trainable(&self) -> Result<(Self, Variables)> {
        let (mut updates, mut variables) = (BTreeMap::new(), Variables::new());
        for (layer, update) in &self.layers {
            let (update, down, up) = update.trainable()?;
            updates.insert(layer.clone(), update);
            variables.insert(format!("{layer}{DOWN}"), down);
            variables.insert(format!("{layer}{UP}"), up);
        }
        Ok((Self::new(updates), variables))
    }

    /// Replaces the weights that it updates by weight + scale x update. What else shares the old ones keeps them.
    ///
    /// # Errors
    /// A layer that the weights lack.
    pub fn fuse(&self, scale: f64, weights: &mut Weights) -> Result<()> {
        for (layer, update) in &self.layers {
            let weight = weights
                .get_mut(&format!("{layer}.weight"))
                .ok_or_else(|| bad(layer, "is no layer of the network"))?;
            let difference = update.difference(scale)?.to_device(weight.device())?;
            let sum = (weight.detach().to_dtype(difference.dtype())? + difference)?;
            *weight = sum.to_dtype(weight.dtype())?;
        }
        Ok(())
    }
}

/// PEFT's endings of names.
pub(super) const DOWN: &str = ".lora_A.weight";
pub(super) const UP: &str = ".lora_B.weight";

fn update(layer: &str, down: &Tensor, up: &Tensor, alpha: f64, weight: &[usize]) -> Result<LowRank> {
    LowRank::new(down, up, alpha, weight).map_err(|misfit| {
        let factor = match misfit.factor {
            Factor::Down => DOWN,
            Factor::Up => UP,
        };
        bad(&format!("{layer}{factor}"), &misfit.problem)
    })
}

fn bad(tensor: &str, problem: &str) -> Error {
    Error::Tensor { origin: "LoRA".to_owned(), tensor: tensor.to_owned(), problem: problem.to_owned() }
}
