//! Adapters over a model: those that are a part of it, fused when it is opened, and those of a request, exchanged
//! without reading the model again.

use super::{Folders, TextToImage};
use crate::lora::{self, Adapter, Layers, Network};
use crate::unet::Unet;
use crate::weights::Weights;
use crate::{Error, Result};
use candle_core::{DType, Device};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

impl Folders {
    /// The files of adapters that lie nearer than the nearest UNet, the one to be fused first first.
    #[must_use]
    pub fn adapters(&self) -> Vec<PathBuf> {
        let chain = std::iter::once(&self.folder).chain(&self.bases);
        let above = chain.take_while(|folder| !folder.join("unet").exists());
        let mut files: Vec<PathBuf> =
            above.map(|folder| folder.join(lora::WEIGHTS_FILE)).filter(|file| file.is_file()).collect();
        files.reverse();
        files
    }

    /// The UNet, frozen, with its adapters fused into it, and its parameters by name.
    ///
    /// # Errors
    /// A part is missing or damaged, or an adapter does not fit the UNet.
    pub fn unet(&self, device: &Device) -> Result<(Unet, Weights)> {
        let folder = self.part("unet")?;
        let (unet, mut weights) = Unet::load_with_weights(&folder, device)?;
        let files = self.adapters();
        if files.is_empty() {
            return Ok((unet, weights));
        }
        for file in files {
            read(&file, &weights)?.to(device)?.fuse(1.0, &mut weights)?;
        }
        let config = unet.config().clone();
        drop(unet);
        Ok((Unet::of_weights(config, &weights, &Adapter::default(), DType::F32, device)?, weights))
    }
}

impl TextToImage {
    /// Reads an adapter for this model.
    ///
    /// # Errors
    /// The file is damaged, or does not fit this model.
    pub fn read_adapter(&self, file: &Path) -> Result<Adapter> {
        read(file, self.base()?)?.to(&self.device)
    }

    /// Puts adapters on, each at its strength, in place of those it wore. It begins from the model's own weights every
    /// time, so that nothing is left of what it wore before: the same adapters always give the same weights.
    ///
    /// # Errors
    /// An adapter that does not fit, or candle's; the model then wears what it wore.
    pub fn wear(&mut self, adapters: &[(&Adapter, f64)]) -> Result<()> {
        let mut weights = self.base()?.clone();
        for (adapter, scale) in adapters {
            adapter.fuse(*scale, &mut weights)?;
        }
        let config = self.unet.config().clone();
        self.unet = Unet::of_weights(config, &weights, &Adapter::default(), DType::F32, &self.device)?;
        Ok(())
    }

    fn base(&self) -> Result<&Weights> {
        self.weights
            .as_ref()
            .ok_or_else(|| Error::setting("lora", "this network was not read from a model's folder"))
    }
}

/// The part of an adapter file that updates the UNet of these parameters.
fn read(file: &Path, weights: &Weights) -> Result<Adapter> {
    let networks = BTreeMap::from([(Network::Unet, Layers::of(weights))]);
    Ok(lora::open(file, &networks)?.remove(&Network::Unet).unwrap_or_default())
}
