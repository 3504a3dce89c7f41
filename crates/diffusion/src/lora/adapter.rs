//! The low-rank updates of one network.

use super::layers::Layers;
use crate::nn::{Factor, LowRank};
use crate::noise::Noise;
use crate::weights::{Variables, Weights, is_finite};
use crate::{Error, Result};
use candle_core::{Device, Tensor};
use std::collections::BTreeMap;

/// Low-rank updates by layer name.
#[derive(Clone, Debug, Default)]
pub struct Adapter {
    layers: BTreeMap<String, LowRank>,
}

/// The first stream of a run's seed that initialises new adapters; each layer has its own stream.
const INIT_STREAM: u64 = 3 << 60;

impl Adapter {
    /// An adapter of updates that fit their layers.
    #[must_use]
    pub fn new(layers: BTreeMap<String, LowRank>) -> Self {
        Self { layers }
    }

    /// A new adapter, which does not change the network yet: `down` is normal with standard deviation 1 / rank (PEFT's
    /// "gaussian", which diffusers' training scripts use), `up` is zero. `targets` as in [`Layers::matching`].
    ///
    /// # Errors
    /// Fails if a target names no layer.
    pub fn untrained(
        layers: &Layers,
        targets: &[String],
        rank: usize,
        alpha: f64,
        seed: u64,
    ) -> Result<Self> {
        let mut updates = BTreeMap::new();
        for (i, layer) in layers.matching(targets)?.into_iter().enumerate() {
            let weight = layers.shape(layer).unwrap_or_default();
            let [down_shape, up_shape] = LowRank::shapes(weight, rank);
            let mut noise = Noise::stream(seed, INIT_STREAM + i as u64);
            let down = (noise.normal_tensor(down_shape, &Device::Cpu)? / rank as f64)?;
            let up = Tensor::zeros(up_shape, down.dtype(), &Device::Cpu)?;
            updates.insert(layer.to_owned(), update(layer, &down, &up, alpha, weight)?);
        }
        Ok(Self::new(updates))
    }

    /// An adapter of the tensors that [`Adapter::values`] returns, with one alpha for all layers.
    ///
    /// # Errors
    /// Fails if a tensor is missing, has another shape or belongs to no layer.
    pub fn of_values(values: &BTreeMap<String, Tensor>, alpha: f64, layers: &Layers) -> Result<Self> {
        let mut updates = BTreeMap::new();
        for (name, down) in values {
            let Some(layer) = name.strip_suffix(DOWN) else { continue };
            let up = values
                .get(&format!("{layer}{UP}"))
                .ok_or_else(|| bad(layer, "has a lora_A but no lora_B"))?;
            let weight = layers.shape(layer).ok_or_else(|| bad(layer, "is not a layer of the network"))?;
            updates.insert(layer.to_owned(), update(layer, down, up, alpha, weight)?);
        }
        Ok(Self::new(updates))
    }

    /// The updates by layer name.
    #[must_use]
    pub fn layers(&self) -> &BTreeMap<String, LowRank> {
        &self.layers
    }

    /// The factors of all updates, under PEFT's names.
    #[must_use]
    pub fn values(&self) -> BTreeMap<String, Tensor> {
        let both = |(layer, update): (&String, &LowRank)| {
            [(format!("{layer}{DOWN}"), update.down().clone()), (format!("{layer}{UP}"), update.up().clone())]
        };
        self.layers.iter().flat_map(both).collect()
    }

    /// A copy on `device`, in `f32`.
    ///
    /// # Errors
    /// Fails if a tensor cannot be copied.
    pub fn to(&self, device: &Device) -> Result<Self> {
        let moved = self.layers.iter().map(|(layer, update)| Ok((layer.clone(), update.to(device)?)));
        Ok(Self::new(moved.collect::<candle_core::Result<_>>()?))
    }

    /// A copy whose factors are variables, and the variables under PEFT's names.
    ///
    /// # Errors
    /// Fails if a tensor cannot be copied.
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

    /// Fuses the adapter: replaces each updated weight by weight + scale * update. Tensors that share the old weights do not
    /// change.
    ///
    /// # Errors
    /// Fails if an updated layer is not in `weights`, or a sum is not finite.
    pub fn fuse(&self, scale: f64, weights: &mut Weights) -> Result<()> {
        for (layer, update) in &self.layers {
            let weight = weights
                .get_mut(&format!("{layer}.weight"))
                .ok_or_else(|| bad(layer, "is not a layer of the network"))?;
            let difference = update.difference(scale)?.to_device(weight.device())?;
            let sum = (weight.detach().to_dtype(difference.dtype())? + difference)?;
            let sum = sum.to_dtype(weight.dtype())?;
            if !is_finite(&sum)? {
                return Err(Error::setting(
                    "lora",
                    format!(
                        "{layer}.weight is not finite after adding {scale} times its update: use a smaller scale, or another \
                         adapter"
                    ),
                ));
            }
            *weight = sum;
        }
        Ok(())
    }
}

/// The suffix of the `down` matrices in PEFT's names.
pub(super) const DOWN: &str = ".lora_A.weight";
/// The suffix of the `up` matrices in PEFT's names.
pub(super) const UP: &str = ".lora_B.weight";

fn update(layer: &str, down: &Tensor, up: &Tensor, alpha: f64, weight: &[usize]) -> Result<LowRank> {
    LowRank::new(down, up, alpha, weight).map_err(|error| {
        let factor = match error.factor {
            Factor::Down => DOWN,
            Factor::Up => UP,
        };
        bad(&format!("{layer}{factor}"), &error.problem)
    })
}

fn bad(tensor: &str, problem: &str) -> Error {
    Error::tensor("LoRA", tensor, problem)
}
