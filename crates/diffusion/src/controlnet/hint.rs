//! The hint encoder of a ControlNet.

use crate::Result;
use crate::nn::{Activation, Conv2d};
use crate::weights::Scope;
use candle_core::Tensor;

/// Encodes a hint in pixels into states at the resolution of the latents: convolutions with SiLU in between, every second of
/// `blocks` with stride 2.
#[derive(Debug)]
pub(super) struct HintEncoder {
    conv_in: Conv2d,
    blocks: Vec<Conv2d>,
    conv_out: Conv2d,
}

impl HintEncoder {
    /// `widths`: channels at each resolution, from that of the hint down.
    pub(super) fn new(scope: &Scope<'_>, inputs: usize, widths: &[usize], outputs: usize) -> Result<Self> {
        let mut blocks = Vec::new();
        for (i, pair) in widths.windows(2).enumerate() {
            let at = |j: usize| scope.at(format!("blocks.{}", 2 * i + j));
            blocks.push(Conv2d::new(&at(0), pair[0], pair[0], 3, 1, 1)?);
            blocks.push(Conv2d::new(&at(1), pair[0], pair[1], 3, 2, 1)?);
        }
        Ok(Self {
            conv_in: Conv2d::new(&scope.at("conv_in"), inputs, widths[0], 3, 1, 1)?,
            blocks,
            conv_out: Conv2d::new(&scope.at("conv_out"), widths[widths.len() - 1], outputs, 3, 1, 1)?,
        })
    }

    /// (batch, inputs, height, width) to (batch, outputs, smaller height, smaller width).
    pub(super) fn forward(&self, hint: &Tensor) -> Result<Tensor> {
        let mut x = Activation::Silu.apply(&self.conv_in.forward(hint)?)?;
        for block in &self.blocks {
            x = Activation::Silu.apply(&block.forward(&x)?)?;
        }
        self.conv_out.forward(&x)
    }
}
