//! Applying the adapters of a request to a loaded model.

use super::text_to_image::TextToImage;
use crate::lora::{self, Adapter, Adapters, Layers, Network};
use crate::unet::Unet;
use crate::weights::Weights;
use crate::{Error, Result};
use candle_core::DType;
use std::path::Path;

impl TextToImage {
    /// Reads an adapter for this model's UNet and text encoders.
    ///
    /// # Errors
    /// Fails if the file is damaged or does not fit this model.
    pub fn read_adapter(&self, file: &Path) -> Result<Adapters> {
        let mut layers = self.text_encoders.layers();
        layers.insert(Network::Unet, Layers::of(self.base_weights()?));
        let adapters = lora::open(file, &layers)?.into_iter();
        adapters.map(|(network, adapter)| Ok((network, adapter.to(&self.device)?))).collect()
    }

    /// Fuses adapters, each with its scale, into the UNet and the text encoders, in place of those applied before. Starts from
    /// the model's own weights every time, so the same adapters always give the same weights.
    ///
    /// # Errors
    /// Fails if an adapter does not fit, or the weights would not be finite. Then no adapters are applied.
    pub fn apply_adapters(&mut self, adapters: &[(&Adapters, f64)]) -> Result<()> {
        let applied = self.fuse(adapters);
        if applied.is_err() {
            self.fuse(&[])?;
        }
        applied
    }

    fn fuse(&mut self, adapters: &[(&Adapters, f64)]) -> Result<()> {
        let mut weights = self.base_weights()?.clone();
        for (adapters, scale) in adapters {
            if let Some(adapter) = adapters.get(&Network::Unet) {
                adapter.fuse(*scale, &mut weights)?;
            }
        }
        let config = self.unet.config().clone();
        self.unet = Unet::of_weights(config, &weights, &Adapter::default(), DType::F32, &self.device)?;
        self.text_encoders.apply_adapters(adapters)
    }

    fn base_weights(&self) -> Result<&Weights> {
        self.weights.as_ref().ok_or_else(|| {
            Error::setting(
                "lora",
                "adapters need a model that was loaded from a folder, not a UNet in training",
            )
        })
    }
}
