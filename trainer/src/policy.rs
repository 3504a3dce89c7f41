//! The network that is trained, in the precision asked for.

use anyhow::{Result, ensure};
use candle_core::{DType, Device};
use diffusion::unet::Unet;
use diffusion::weights::{Parameters, Variables, values};
use domain::train::{Precision, TrainSpec};
use std::path::Path;

/// The trained network. Its weights are kept in f32, to which updates are made; in 16 bits it computes with copies.
#[derive(Debug)]
pub struct Policy {
    unet: Unet,
    masters: Variables,
    copies: Option<Variables>,
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
    /// The start checkpoint's network, or one drawn anew.
    ///
    /// # Errors
    /// It cannot be read, or the device lacks the precision.
    pub fn open(spec: &TrainSpec, folder: &Path, device: &Device) -> Result<Self> {
        let dtype = dtype_of(spec.precision, device)?;
        let (unet, masters) = if spec.from_nothing {
            let parameters = Parameters::random(spec.seed, device);
            let unet = Unet::new(&parameters.root(), Unet::config_of(folder)?)?;
            (unet, parameters.finish()?)
        } else {
            Unet::load(folder, device, true)?
        };
        if dtype == DType::F32 {
            return Ok(Self { unet, masters, copies: None });
        }
        let parameters = Parameters::of_tensors(values(&masters, dtype)?, device).in_type(dtype).trained();
        let unet = Unet::new(&parameters.root(), unet.config().clone())?;
        Ok(Self { unet, masters, copies: Some(parameters.finish()?) })
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
