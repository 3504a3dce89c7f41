//! The down blocks, the middle block and the up blocks.

use super::attention::{SpatialTransformer, TransformerShape};
use super::resnet::{ResnetBlock, ResnetShape};
use crate::config::UnetConfig;
use crate::nn::{Conv2d, upsample_nearest};
use crate::tape::Tape;
use crate::weights::Scope;
use crate::{Error, Result};
use candle_core::Tensor;

/// Residual blocks, each followed by a spatial transformer if the block has attention.
#[derive(Debug)]
struct Layers {
    resnets: Vec<ResnetBlock>,
    attentions: Vec<SpatialTransformer>,
}

fn resnet(config: &UnetConfig, inputs: usize, outputs: usize) -> ResnetShape {
    ResnetShape {
        inputs,
        outputs,
        time: Some(config.time_width()),
        groups: config.norm_num_groups,
        epsilon: config.norm_eps,
    }
}

/// `block`: the number of the down block; for an up block, that of the mirrored down block.
fn transformer(config: &UnetConfig, block: usize, layers: usize) -> TransformerShape {
    TransformerShape {
        channels: config.block_out_channels[block],
        heads: config.heads(block),
        text_width: config.cross_attention_dim,
        layers,
        groups: config.norm_num_groups,
        linear_projection: config.use_linear_projection,
    }
}

impl Layers {
    /// `attentions`: one for each residual block, or none at all.
    fn new(scope: &Scope<'_>, resnets: &[ResnetShape], attentions: &[TransformerShape]) -> Result<Self> {
        Ok(Self {
            resnets: resnets
                .iter()
                .enumerate()
                .map(|(j, &shape)| ResnetBlock::new(&scope.at(format!("resnets.{j}")), shape))
                .collect::<Result<_>>()?,
            attentions: attentions
                .iter()
                .enumerate()
                .map(|(j, &shape)| SpatialTransformer::new(&scope.at(format!("attentions.{j}")), shape))
                .collect::<Result<_>>()?,
        })
    }

    /// Runs residual block and attention `j` as one step of the tape. `skip` is concatenated to the channels of `x`.
    fn forward<'a>(
        &'a self,
        tape: &mut Tape<'a>,
        j: usize,
        x: &Tensor,
        skip: Option<&Tensor>,
        time: &Tensor,
        text: &Tensor,
    ) -> Result<Tensor> {
        let text = text.clone();
        let inputs: Vec<&Tensor> = [time, x].into_iter().chain(skip).collect();
        tape.run(&inputs, move |t| {
            let x = match t {
                [_, x] => x.clone(),
                t => Tensor::cat(&t[1..], 1)?,
            };
            let x = self.resnets[j].forward(&x, Some(&t[0]))?;
            match self.attentions.get(j) {
                Some(attention) => attention.forward(&x, &text),
                None => Ok(x),
            }
        })
    }
}

/// A down block: layers, and except in the last block a downsampling by 2.
#[derive(Debug)]
pub(crate) struct DownBlock {
    layers: Layers,
    downsample: Option<Conv2d>,
}

impl DownBlock {
    /// Appends the channels of the skip connections of this block to `skips`.
    pub(crate) fn new(
        scope: &Scope<'_>,
        config: &UnetConfig,
        i: usize,
        inputs: usize,
        skips: &mut Vec<usize>,
    ) -> Result<Self> {
        let channels = config.block_out_channels[i];
        let resnets: Vec<ResnetShape> = (0..config.layers_per_block.of(i))
            .map(|j| resnet(config, if j == 0 { inputs } else { channels }, channels))
            .collect();
        let attentions: Vec<TransformerShape> = (0..resnets.len())
            .filter(|_| config.down_block_attends(i))
            .map(|j| transformer(config, i, config.down_block_transformers(i, j)))
            .collect();
        let last = i + 1 == config.block_out_channels.len();
        skips.extend(std::iter::repeat_n(channels, resnets.len() + usize::from(!last)));
        Ok(Self {
            layers: Layers::new(scope, &resnets, &attentions)?,
            downsample: (!last)
                .then(|| Conv2d::new(&scope.at("downsamplers.0.conv"), channels, channels, 3, 2, 1))
                .transpose()?,
        })
    }

    /// Appends the states for the skip connections to `skips`.
    pub(crate) fn forward<'a>(
        &'a self,
        tape: &mut Tape<'a>,
        x: &Tensor,
        time: &Tensor,
        text: &Tensor,
        skips: &mut Vec<Tensor>,
    ) -> Result<Tensor> {
        let mut x = x.clone();
        for j in 0..self.layers.resnets.len() {
            x = self.layers.forward(tape, j, &x, None, time, text)?;
            skips.push(x.clone());
        }
        if let Some(downsample) = &self.downsample {
            x = tape.run(&[&x], |t| downsample.forward(&t[0]))?;
            skips.push(x.clone());
        }
        Ok(x)
    }
}

/// The middle block: residual block, attention, residual block; or a single residual block; or nothing.
#[derive(Debug)]
pub(crate) struct MidBlock {
    layers: Option<Layers>,
    last: Option<ResnetBlock>,
}

impl MidBlock {
    pub(crate) fn new(scope: &Scope<'_>, config: &UnetConfig, channels: usize) -> Result<Self> {
        let shape = resnet(config, channels, channels);
        let block = config.block_out_channels.len() - 1;
        let attends = config.mid_block_attends();
        let attention = attends.then(|| transformer(config, block, config.down_block_transformers(block, 0)));
        Ok(Self {
            layers: (config.mid_block_type.is_some())
                .then(|| Layers::new(scope, &[shape], attention.as_slice()))
                .transpose()?,
            last: attends.then(|| ResnetBlock::new(&scope.at("resnets.1"), shape)).transpose()?,
        })
    }

    pub(crate) fn forward<'a>(
        &'a self,
        tape: &mut Tape<'a>,
        x: &Tensor,
        time: &Tensor,
        text: &Tensor,
    ) -> Result<Tensor> {
        let mut x = x.clone();
        if let Some(layers) = &self.layers {
            x = layers.forward(tape, 0, &x, None, time, text)?;
        }
        match &self.last {
            Some(last) => tape.run(&[time, &x], |t| last.forward(&t[1], Some(&t[0]))),
            None => Ok(x),
        }
    }
}

/// An up block: layers that take skip connections, and except in the last block an upsampling by 2.
#[derive(Debug)]
pub(super) struct UpBlock {
    layers: Layers,
    upsample: Option<Conv2d>,
}

impl UpBlock {
    /// Removes the channels of the skip connections that this block takes from `skips`.
    pub(super) fn new(
        scope: &Scope<'_>,
        config: &UnetConfig,
        i: usize,
        inputs: usize,
        skips: &mut Vec<usize>,
    ) -> Result<Self> {
        let blocks = config.block_out_channels.len();
        let mirrored = blocks - 1 - i;
        let channels = config.block_out_channels[mirrored];
        let mut before = inputs;
        let mut resnets = Vec::new();
        for _ in 0..=config.layers_per_block.of(mirrored) {
            let skip = skips.pop().unwrap_or_default();
            resnets.push(resnet(config, before + skip, channels));
            before = channels;
        }
        let attentions: Vec<TransformerShape> = (0..resnets.len())
            .filter(|_| config.up_block_attends(i))
            .map(|j| transformer(config, mirrored, config.up_block_transformers(i, j)))
            .collect();
        Ok(Self {
            layers: Layers::new(scope, &resnets, &attentions)?,
            upsample: (i + 1 < blocks)
                .then(|| Conv2d::new(&scope.at("upsamplers.0.conv"), channels, channels, 3, 1, 1))
                .transpose()?,
        })
    }

    /// Removes the states of the skip connections that this block takes from `skips`.
    pub(super) fn forward<'a>(
        &'a self,
        tape: &mut Tape<'a>,
        x: &Tensor,
        time: &Tensor,
        text: &Tensor,
        skips: &mut Vec<Tensor>,
    ) -> Result<Tensor> {
        let mut x = x.clone();
        for j in 0..self.layers.resnets.len() {
            let skip = skips.pop().ok_or_else(|| {
                Error::message("the up blocks take more skip connections than the down blocks have")
            })?;
            x = self.layers.forward(tape, j, &x, Some(&skip), time, text)?;
        }
        match (&self.upsample, skips.last()) {
            (Some(convolution), Some(next)) => {
                // To the size of the next skip connection, which differs from twice the size where sides are odd.
                let (_, _, height, width) = next.dims4()?;
                tape.run(&[&x], move |t| convolution.forward(&upsample_nearest(&t[0], height, width)?))
            }
            _ => Ok(x),
        }
    }
}
