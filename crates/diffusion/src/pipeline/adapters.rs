//! Applying the adapters of a request to a loaded model.

use super::text_to_image::TextToImage;
use crate::lora::{self, Adapter};
use crate::unet::Unet;
use crate::weights::Weights;
use crate::{Error, Result};
use candle_core::DType;
use std::path::Path;

impl TextToImage {
    /// Reads an adapter for this model.
    ///
    /// # Errors
    /// Fails if the file is damaged or does not fit this model.
    pub fn read_adapter(&self, file: &Path) -> Result<Adapter> {
        lora::open_for_unet(file, self.base_weights()?)?.to(&self.device)
    }

    /// Fuses adapters, each with its scale, into the UNet, in place of those applied before. Starts from the model's own
    /// weights every time, so the same adapters always give the same weights.
    ///
    /// # Errors
    /// Fails if an adapter does not fit. The adapters applied before then stay in place.
    pub fn apply_adapters(&mut self, adapters: &[(&Adapter, f64)]) -> Result<()> {
        let mut weights = self.base_weights()?.clone();
        for (adapter, scale) in adapters {
            adapter.fuse(*scale, &mut weights)?;
        }
        let config = self.unet.config().clone();
        self.unet = Unet::of_weights(config, &weights, &Adapter::default(), DType::F32, &self.device)?;
        Ok(())
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
