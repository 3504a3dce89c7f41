//! Inception v3 as FID uses it: TensorFlow's network of 2015-12-05, under torchvision's names as pytorch-fid and
//! torch-fidelity publish its weights.
//!
//! It differs from torchvision's in three places (pytorch-fid `inception.py`): average pools leave their padding out of
//! the count, the last block pools by the maximum, and the classifier (which FID does not use) has 1008 outputs.

mod blocks;
mod pool;
mod unit;

use blocks::{BlockA, BlockB, BlockC, BlockD, BlockE};
use candle_core::{Device, Tensor};
use diffusion::torch_file::WeightsFile;
use diffusion::weights::{Parameters, Variables};
use diffusion::{Error, Result};
use pool::{Pool, pool};
use std::collections::BTreeMap;
use std::path::Path;
use unit::Unit;

/// Height and width of what the network sees.
pub const SIDE: usize = 299;
/// Width of its features.
pub const FEATURES: usize = 2048;

/// The network up to its last pool.
#[derive(Debug)]
pub struct Inception {
    stem: [Unit; 5],
    fine: [BlockA; 3],
    to_middle: BlockB,
    middle: [BlockC; 4],
    to_coarse: BlockD,
    coarse: [BlockE; 2],
    device: Device,
}

impl Inception {
    /// Reads the published file: `pt_inception-2015-12-05-6726825d.pth`, or what `convert --for inception` made of it.
    ///
    /// # Errors
    /// A file that cannot be read, or a tensor that is missing or misshapen.
    pub fn load(file: &Path, device: &Device) -> Result<Self> {
        let tensors = WeightsFile::open(file)?.load(None)?;
        let named = |e| match e {
            Error::Tensor { tensor, problem, .. } => {
                Error::Tensor { origin: file.display().to_string(), tensor, problem }
            }
            other => other,
        };
        Self::of_tensors(tensors, device).map_err(named)
    }

    /// Of tensors at hand, by torchvision's names.
    ///
    /// # Errors
    /// A tensor that is missing, misshapen, or not of this network.
    pub fn of_tensors(tensors: BTreeMap<String, Tensor>, device: &Device) -> Result<Self> {
        // The classifier, the second classifier that training had, and counts of training steps say nothing of features.
        let unused = |name: &str| {
            name.starts_with("fc.")
                || name.starts_with("AuxLogits.")
                || name.ends_with(".num_batches_tracked")
        };
        let tensors = tensors.into_iter().filter(|(name, _)| !unused(name)).collect();
        let parameters = Parameters::of_tensors(tensors, device);
        let root = parameters.root();
        let inception = Self {
            stem: [
                Unit::new(&root.at("Conv2d_1a_3x3"), 3, 32, [3, 3], 2, [0, 0])?,
                Unit::new(&root.at("Conv2d_2a_3x3"), 32, 32, [3, 3], 1, [0, 0])?,
                Unit::new(&root.at("Conv2d_2b_3x3"), 32, 64, [3, 3], 1, [1, 1])?,
                Unit::pointwise(&root.at("Conv2d_3b_1x1"), 64, 80)?,
                Unit::new(&root.at("Conv2d_4a_3x3"), 80, 192, [3, 3], 1, [0, 0])?,
            ],
            fine: [
                BlockA::new(&root.at("Mixed_5b"), 192, 32)?,
                BlockA::new(&root.at("Mixed_5c"), 256, 64)?,
                BlockA::new(&root.at("Mixed_5d"), 288, 64)?,
            ],
            to_middle: BlockB::new(&root.at("Mixed_6a"), 288)?,
            middle: [
                BlockC::new(&root.at("Mixed_6b"), 768, 128)?,
                BlockC::new(&root.at("Mixed_6c"), 768, 160)?,
                BlockC::new(&root.at("Mixed_6d"), 768, 160)?,
                BlockC::new(&root.at("Mixed_6e"), 768, 192)?,
            ],
            to_coarse: BlockD::new(&root.at("Mixed_7a"), 768)?,
            coarse: [
                BlockE::new(&root.at("Mixed_7b"), 1280, Pool::Average)?,
                BlockE::new(&root.at("Mixed_7c"), 2048, Pool::Maximum)?,
            ],
            device: device.clone(),
        };
        let _frozen: Variables = parameters.finish()?;
        Ok(inception)
    }

    /// Where it computes.
    #[must_use]
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// `pixels`: (batch, 3, 299, 299), scaled as the mode says. Returns (batch, 2048).
    ///
    /// # Errors
    /// Another shape, or candle's.
    pub fn features(&self, pixels: &Tensor) -> Result<Tensor> {
        let [a1, a2, b2, b3, a4] = &self.stem;
        let x = b2.forward(&a2.forward(&a1.forward(pixels)?)?)?;
        let x = pool(&x, Pool::Reduce)?;
        let mut x = pool(&a4.forward(&b3.forward(&x)?)?, Pool::Reduce)?;
        for block in &self.fine {
            x = block.forward(&x)?;
        }
        x = self.to_middle.forward(&x)?;
        for block in &self.middle {
            x = block.forward(&x)?;
        }
        x = self.to_coarse.forward(&x)?;
        for block in &self.coarse {
            x = block.forward(&x)?;
        }
        Ok(x.flatten_from(2)?.mean(2)?)
    }
}
