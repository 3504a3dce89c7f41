//! The network that is trained, in the precision of the spec: a whole UNet, or an adapter over a frozen one.

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

/// The trained network. The optimiser updates master weights in f32. In 16-bit precision the network computes with
/// copies of them; under an adapter, the frozen weights exist in 16 bits only and the adapter's are masters in f32.
#[derive(Debug)]
pub struct Policy {
    unet: Unet,
    masters: Variables,
    /// 16-bit copies of the masters; `None` where the network computes with the masters themselves.
    copies: Option<Variables>,
    adapted: Option<Adapted>,
    device: Device,
}

/// The frozen network under an adapter.
#[derive(Debug)]
struct Adapted {
    base: Weights,
    layers: Layers,
    alpha: f64,
}

/// The data type that a precision computes in.
///
/// # Errors
/// Fails for bf16 on a CPU.
pub fn dtype_of(precision: Precision, device: &Device) -> Result<DType> {
    ensure!(
        precision != Precision::Bf16 || !device.is_cpu(),
        "precision: bf16 needs a GPU, because candle has no bf16 matrix products and convolutions on the CPU; use f32, \
         or another device"
    );
    Ok(match precision {
        Precision::F32 => DType::F32,
        Precision::F16 => DType::F16,
        Precision::Bf16 => DType::BF16,
    })
}

impl Policy {
    /// The policy of a spec: the start checkpoint's UNet, one with random weights (`from_nothing`), or a new adapter
    /// over the start checkpoint's UNet (`lora`).
    ///
    /// # Errors
    /// Fails if the start checkpoint cannot be read, `lora.targets` matches no layer, or the device does not support
    /// the precision.
    pub(crate) fn open(spec: &TrainSpec, start: &PartFolders, device: &Device) -> Result<Self> {
        let dtype = dtype_of(spec.precision, device)?;
        if let Some(lora) = &spec.lora {
            let (unet, base) = start.unet(device)?;
            let config = unet.config().clone();
            drop(unet);
            return Self::adapter(lora, spec.seed, config, base, dtype, device);
        }
        let folder = start.part("unet")?;
        let build = |parameters: Parameters| -> Result<(Unet, Variables)> {
            let unet = Unet::new(&parameters.root(), Unet::config_of(&folder)?)?;
            Ok((unet, parameters.finish()?))
        };
        let (unet, masters) = if spec.from_nothing {
            build(Parameters::random(spec.seed, device))?
        } else if start.adapters().is_empty() {
            Unet::load(&folder, device, true)?
        } else {
            build(Parameters::of_tensors(start.unet(device)?.1, device).trainable())?
        };
        Self::whole(unet, masters, dtype, device)
    }

    /// A UNet that is trained completely: `masters` are its weights in f32, and it computes in `dtype`.
    ///
    /// # Errors
    /// Fails if the 16-bit copies do not fit in memory.
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

    /// A new adapter, in f32, over the frozen weights `base` in `dtype`.
    ///
    /// # Errors
    /// Fails if the weights do not match the config, or if `lora.targets` matches none of their layers.
    pub fn adapter(
        lora: &LoraSpec,
        seed: u64,
        config: UnetConfig,
        base: Weights,
        dtype: DType,
        device: &Device,
    ) -> Result<Self> {
        // Converts and frees one tensor at a time, so that memory never holds both copies of all weights.
        let base =
            base.into_iter().map(|(name, t)| Ok((name, t.to_dtype(dtype)?))).collect::<Result<Weights>>()?;
        let (layers, alpha) = (Layers::of(&base), lora.alpha());
        let new = Adapter::untrained(&layers, &lora.targets, lora.rank as usize, alpha, seed)?;
        let (adapter, masters) = new.to(device)?.trainable()?;
        let unet = Unet::of_weights(config, &base, &adapter, dtype, device)?;
        let adapted = Some(Adapted { base, layers, alpha });
        Ok(Self { unet, masters, copies: None, adapted, device: device.clone() })
    }

    /// The frozen reference: `named` if the spec names one, else the start checkpoint. The reference of an adapter that
    /// names none is the frozen network under it, and takes no further memory.
    ///
    /// # Errors
    /// Fails if the model cannot be read.
    pub fn reference(&self, named: Option<&PartFolders>, start: &PartFolders) -> Result<Unet> {
        let folders = match (named, &self.adapted) {
            (None, Some(Adapted { base, .. })) => {
                return self.build(base, &Adapter::default(), self.unet.dtype());
            }
            (named, _) => named.unwrap_or(start),
        };
        if folders.adapters().is_empty() {
            return Ok(Unet::load_frozen(&folders.part("unet")?, &self.device, self.unet.dtype())?);
        }
        self.build(&folders.unet(&self.device)?.1, &Adapter::default(), self.unet.dtype())
    }

    /// A frozen network in `dtype` with `values` in place of the trained weights.
    ///
    /// # Errors
    /// Fails if names or shapes are not those of the trained weights.
    pub(crate) fn frozen(&self, values: &BTreeMap<String, Tensor>, dtype: DType) -> Result<Unet> {
        match &self.adapted {
            None => self.build(values, &Adapter::default(), dtype),
            Some(Adapted { base, layers, alpha }) => {
                let adapter = Adapter::of_values(values, *alpha, layers)?.to(&self.device)?;
                self.build(base, &adapter, dtype)
            }
        }
    }

    fn build(&self, weights: &Weights, adapter: &Adapter, dtype: DType) -> Result<Unet> {
        Ok(Unet::of_weights(self.unet.config().clone(), weights, adapter, dtype, &self.device)?)
    }

    /// Writes `values` of the trained weights as a model over its base: `unet/` with `config` as its config, or an
    /// adapter.
    ///
    /// # Errors
    /// Fails if a file cannot be written.
    pub(crate) fn save(
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

    /// The network with the trained weights.
    #[must_use]
    pub fn unet(&self) -> &Unet {
        &self.unet
    }

    /// The trained weights in f32, which the optimiser updates.
    #[must_use]
    pub fn masters(&self) -> &Variables {
        &self.masters
    }

    /// The weights that the network computes with and that receive gradients: the masters, or their 16-bit copies.
    #[must_use]
    pub fn variables(&self) -> &Variables {
        self.copies.as_ref().unwrap_or(&self.masters)
    }

    /// Copies the masters into the 16-bit copies, if there are any. Needed after each change of the masters.
    ///
    /// # Errors
    /// Fails if a tensor operation does.
    pub fn refresh(&self) -> Result<()> {
        for (name, copy) in self.copies.iter().flatten() {
            copy.set(&self.masters[name].as_detached_tensor().to_dtype(copy.dtype())?)?;
        }
        Ok(())
    }
}
