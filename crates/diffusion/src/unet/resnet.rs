//! The residual block, with a timestep embedding (UNet) or without (autoencoder).

use crate::Result;
use crate::nn::{Conv2d, GroupNorm, Linear, add_channelwise, residual};
use crate::weights::Scope;
use candle_core::Tensor;

/// Two convolutions, each after group norm and SiLU, and a shortcut around them.
#[derive(Debug)]
pub(crate) struct ResnetBlock {
    norm1: GroupNorm,
    conv1: Conv2d,
    time: Option<Linear>,
    norm2: GroupNorm,
    conv2: Conv2d,
    shortcut: Option<Conv2d>,
}

/// The sizes of a residual block.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ResnetShape {
    pub(crate) inputs: usize,
    pub(crate) outputs: usize,
    /// Width of the timestep embedding; `None` if the block takes none.
    pub(crate) time: Option<usize>,
    pub(crate) groups: usize,
    pub(crate) epsilon: f64,
}

impl ResnetBlock {
    pub(crate) fn new(scope: &Scope<'_>, shape: ResnetShape) -> Result<Self> {
        let ResnetShape { inputs, outputs, time, groups, epsilon } = shape;
        Ok(Self {
            norm1: GroupNorm::new(&scope.at("norm1"), inputs, groups, epsilon)?,
            conv1: Conv2d::new(&scope.at("conv1"), inputs, outputs, 3, 1, 1)?,
            time: time.map(|width| Linear::new(&scope.at("time_emb_proj"), width, outputs)).transpose()?,
            norm2: GroupNorm::new(&scope.at("norm2"), outputs, groups, epsilon)?,
            conv2: Conv2d::new(&scope.at("conv2"), outputs, outputs, 3, 1, 1)?,
            shortcut: (inputs != outputs)
                .then(|| Conv2d::new(&scope.at("conv_shortcut"), inputs, outputs, 1, 1, 0))
                .transpose()?,
        })
    }

    /// `x`: (batch, inputs, height, width); `time`: (batch, width), after SiLU.
    pub(crate) fn forward(&self, x: &Tensor, time: Option<&Tensor>) -> Result<Tensor> {
        let mut h = self.conv1.forward(&self.norm1.forward_silu(x)?)?;
        if let (Some(project), Some(time)) = (&self.time, time) {
            h = add_channelwise(&h, &project.forward(time)?)?;
        }
        let h = self.conv2.forward(&self.norm2.forward_silu(&h)?)?;
        match &self.shortcut {
            Some(shortcut) => Ok(residual(&shortcut.forward(x)?, &h)?),
            None => Ok(residual(x, &h)?),
        }
    }
}
