//! The network that is trained, in the precision asked for: a whole UNet, or an adapter over a frozen one.

use crate::checkpoint::{SavedModel, save_adapter, save_model};
use anyhow::{Result, ensure};
use candle_core::{DType, Device, Tensor};
use diffusion::config::UnetConfig;
use diffusion::lora::{Adapter, Layers};
use diffusion::part_folders::PartFolders;
use diffusion::unet::Unet;
use diffusion::weights::{Parameters, Variables, Weights, values};
use domain::lora::LoraSpec;
use domain::train::{Precision, TrainSpec};
use std::collections::BTreeMap;
use std::path::Path;

/// The trained network. Its weights are kept in f32, to which updates are made; in 16 bits it computes with copies, and under
/// an adapter keeps the frozen weights in 16 bits alone.
#[derive(Debug)]
pub struct Policy {
    unet: Unet,
    masters: Variables,
    copies: Option<Variables>,
    adapted: Option<Adapted>,
    device: Device,
}

/// What an adapter is trained over.
#[derive(Debug)]
struct Adapted {
    base: Weights,
    layers: Layers,
    alpha: f64,
}

/// The type that a precision computes in on a device.
///
/// # Errors
/// The device cannot.
pub fn dtype_of(precision: Precision, device: &Device) -> Result<DType> {
    ensure!(
        precision != Precision::Bf16 || !device.is_cpu(),
        "precision: bf16 is not to be had on a CPU (its matrix products and convolutions are missing): use f32, or a GPU"
    );
    Ok(match precision {
        Precision::F32 => DType::F32,
        Precision::F16 => DType::F16,
        Precision::Bf16 => DType::BF16,
    })
}

impl Policy {
    /// The start checkpoint's network, one drawn anew, or a new adapter over the start checkpoint's.
    ///
    /// # Errors
    /// It cannot be read or has no layer that the spec wants to update, or the device lacks the precision.
    pub fn open(spec: &TrainSpec, start: &PartFolders, device: &Device) -> Result<Self> {
        let dtype = dtype_of(spec.precision, device)?;
        if let Some(lora) = &spec.lora {
            let (unet, base) = start.unet(device)?;
            let config = unet.config().clone();
            drop(unet);
            return Self::adapter(lora, spec.seed, config, base, dtype, device);
        }
        let folder = start.part("unet")?;
        let of = |parameters: Parameters| -> Result<(Unet, Variables)> {
            let unet = Unet::new(&parameters.root(), Unet::config_of(&folder)?)?;
            Ok((unet, parameters.finish()?))
        };
        let (unet, masters) = if spec.from_nothing {
            of(Parameters::random(spec.seed, device))?
        } else if start.adapters().is_empty() {
            Unet::load(&folder, device, true)?
        } else {
            of(Parameters::of_tensors(start.unet(device)?.1, device).trainable())?
        };
        Self::whole(unet, masters, dtype, device)
    }

    /// A network whose weights are all trained, in f32, to compute in this type.
    ///
    /// # Errors
    /// candle's.
    pub fn whole(unet: Unet, masters: Variables, dtype: DType, device: &Device) -> Result<Self> {
        let (adapted, device) = (None, device.clone());
        if dtype == DType::F32 {
            return Ok(Self { unet, masters, copies: None, adapted, device });
        }
        let parameters =
            Parameters::of_tensors(values(&masters, dtype)?, &device).with_dtype(dtype).trainable();
        let unet = Unet::new(&parameters.root(), unet.config().clone())?;
        Ok(Self { unet, masters, copies: Some(parameters.finish()?), adapted, device })
    }

    /// A new adapter, in f32, over frozen weights that compute in this type.
    ///
    /// # Errors
    /// Weights of another network, or that have no layer to update.
    pub fn adapter(
        lora: &LoraSpec,
        seed: u64,
        config: UnetConfig,
        base: Weights,
        dtype: DType,
        device: &Device,
    ) -> Result<Self> {
        // One tensor after the other goes, so that not all are there twice.
        let base =
            base.into_iter().map(|(name, t)| Ok((name, t.to_dtype(dtype)?))).collect::<Result<Weights>>()?;
        let (layers, alpha) = (Layers::of(&base), lora.alpha());
        let new = Adapter::untrained(&layers, &lora.targets, lora.rank as usize, alpha, seed)?;
        let (adapter, masters) = new.to(device)?.trainable()?;
        let unet = Unet::of_weights(config, &base, &adapter, dtype, device)?;
        let adapted = Some(Adapted { base, layers, alpha });
        Ok(Self { unet, masters, copies: None, adapted, device: device.clone() })
    }

    /// The frozen reference: the model that is named, or else the start checkpoint, which under an adapter takes no
    /// memory of its own.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn reference(&self, named: Option<&PartFolders>, start: &PartFolders) -> Result<Unet> {
        let folders = match (named, &self.adapted) {
            (None, Some(Adapted { base, .. })) => {
                return self.over(base, &Adapter::default(), self.unet.dtype());
            }
            (named, _) => named.unwrap_or(start),
        };
        if folders.adapters().is_empty() {
            return Ok(Unet::load_frozen(&folders.part("unet")?, &self.device, self.unet.dtype())?);
        }
        self.over(&folders.unet(&self.device)?.1, &Adapter::default(), self.unet.dtype())
    }

    /// The network that these values of what is trained make, without variables.
    ///
    /// # Errors
    /// Values of another network.
    pub fn frozen(&self, values: &BTreeMap<String, Tensor>, dtype: DType) -> Result<Unet> {
        match &self.adapted {
            None => self.over(values, &Adapter::default(), dtype),
            Some(Adapted { base, layers, alpha }) => {
                let adapter = Adapter::of_values(values, *alpha, layers)?.to(&self.device)?;
                self.over(base, &adapter, dtype)
            }
        }
    }

    fn over(&self, weights: &Weights, adapter: &Adapter, dtype: DType) -> Result<Unet> {
        Ok(Unet::of_weights(self.unet.config().clone(), weights, adapter, dtype, &self.device)?)
    }

    /// Writes values of what is trained as a model over its base. `config` is the UNet's.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn save(
        &self,
        folder: &Path,
        config: &Path,
        values: &BTreeMap<String, Tensor>,
        spec: &TrainSpec,
        step: u32,
    ) -> Result<SavedModel> {
        match &self.adapted {
            None => save_model(folder, config, values, spec, step),
            Some(Adapted { layers, alpha, .. }) => {
                save_adapter(folder, Adapter::of_values(values, *alpha, layers)?, spec, step)
            }
        }
    }

    /// The network.
    #[must_use]
    pub fn unet(&self) -> &Unet {
        &self.unet
    }

    /// The weights in f32.
    #[must_use]
    pub fn masters(&self) -> &Variables {
        &self.masters
    }

    /// The weights that the network computes with, and that receive gradients.
    #[must_use]
    pub fn variables(&self) -> &Variables {
        self.copies.as_ref().unwrap_or(&self.masters)
    }

    /// Makes the network compute with the weights as they are now.
    ///
    /// # Errors
    /// candle's.
    pub fn refresh(&self) -> Result<()> {
        for (name, copy) in self.copies.iter().flatten() {
            copy.set(&self.masters[name].as_detached_tensor().to_dtype(copy.dtype())?)?;
        }
        Ok(())
    }
}
