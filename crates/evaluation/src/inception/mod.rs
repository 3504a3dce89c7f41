//! Inception v3 as FID uses it: TensorFlow's network of 2015-12-05 with torchvision's tensor names, as pytorch-fid and
//! torch-fidelity publish its weights.
//!
//! It differs from torchvision's network in three places (pytorch-fid's `inception.py`): average pools do not count
//! padding, the last block uses a maximum pool, and the classifier, which FID does not use, has 1008 outputs.

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

/// Height and width of the input.
pub(crate) const SIDE: usize = 299;
/// Number of features.
pub(crate) const FEATURES: usize = 2048;

/// The network up to its last pool.
#[derive(Debug)]
pub struct Inception {
    stem: [Unit; 5],
    blocks_a: [BlockA; 3],
    block_b: BlockB,
    blocks_c: [BlockC; 4],
    block_d: BlockD,
    blocks_e: [BlockE; 2],
    device: Device,
}

impl Inception {
    /// Reads the published file `pt_inception-2015-12-05-6726825d.pth`, or its conversion by `convert --for inception`.
    ///
    /// # Errors
    /// Fails if the file cannot be read, or if a tensor is missing, unknown or has another shape.
    pub fn load(file: &Path, device: &Device) -> Result<Self> {
        // The classifier, the auxiliary classifier of training, and counts of training steps do not affect features.
        let unused = |name: &str| {
            name.starts_with("fc.")
                || name.starts_with("AuxLogits.")
                || name.ends_with(".num_batches_tracked")
        };
        let tensors = WeightsFile::open(file)?.load(None, |name| !unused(name))?;
        let named = |e| match e {
            Error::Tensor { tensor, problem, .. } => {
                Error::Tensor { origin: file.display().to_string(), tensor, problem }
            }
            other => other,
        };
        Self::from_tensors(tensors, device).map_err(named)
    }

    /// Builds the network from tensors with torchvision's names.
    fn from_tensors(tensors: BTreeMap<String, Tensor>, device: &Device) -> Result<Self> {
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
            blocks_a: [
                BlockA::new(&root.at("Mixed_5b"), 192, 32)?,
                BlockA::new(&root.at("Mixed_5c"), 256, 64)?,
                BlockA::new(&root.at("Mixed_5d"), 288, 64)?,
            ],
            block_b: BlockB::new(&root.at("Mixed_6a"), 288)?,
            blocks_c: [
                BlockC::new(&root.at("Mixed_6b"), 768, 128)?,
                BlockC::new(&root.at("Mixed_6c"), 768, 160)?,
                BlockC::new(&root.at("Mixed_6d"), 768, 160)?,
                BlockC::new(&root.at("Mixed_6e"), 768, 192)?,
            ],
            block_d: BlockD::new(&root.at("Mixed_7a"), 768)?,
            blocks_e: [
                BlockE::new(&root.at("Mixed_7b"), 1280, Pool::Average)?,
                BlockE::new(&root.at("Mixed_7c"), 2048, Pool::Maximum)?,
            ],
            device: device.clone(),
        };
        let _frozen: Variables = parameters.finish()?;
        Ok(inception)
    }

    pub(crate) fn device(&self) -> &Device {
        &self.device
    }

    /// Features of images. `pixels`: (batch, 3, 299, 299), scaled as the mode of FID requires. Returns (batch, 2048).
    pub(crate) fn features(&self, pixels: &Tensor) -> Result<Tensor> {
        let [a1, a2, b2, b3, a4] = &self.stem;
        let x = b2.forward(&a2.forward(&a1.forward(pixels)?)?)?;
        let x = pool(&x, Pool::Reduce)?;
        let mut x = pool(&a4.forward(&b3.forward(&x)?)?, Pool::Reduce)?;
        for block in &self.blocks_a {
            x = block.forward(&x)?;
        }
        x = self.block_b.forward(&x)?;
        for block in &self.blocks_c {
            x = block.forward(&x)?;
        }
        x = self.block_d.forward(&x)?;
        for block in &self.blocks_e {
            x = block.forward(&x)?;
        }
        Ok(x.flatten_from(2)?.mean(2)?)
    }
}
