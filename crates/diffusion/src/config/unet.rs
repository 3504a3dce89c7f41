//! `unet/config.json`, with the meaning that diffusers' `UNet2DConditionModel` gives every field.

use super::defaults::{four, norm_eps, thirty_two, two, yes};
use super::read::{CONFIG_FILE, parse, read_supported};
use super::unsupported;
use crate::nn::Activation;
use crate::{Error, Result};
use serde::{Deserialize, Deserializer};
use std::path::Path;

/// One value for all blocks, or one per block.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum PerBlock {
    /// The same value for all blocks.
    All(usize),
    /// A value for each block.
    Each(Vec<usize>),
}

impl PerBlock {
    /// The value of block `i`. The check of the config ensures that it exists.
    #[must_use]
    pub fn of(&self, i: usize) -> usize {
        match self {
            Self::All(n) => *n,
            Self::Each(list) => list[i],
        }
    }

    /// Whether there is a value for each of `blocks` blocks, and no other.
    fn fits(&self, blocks: usize) -> bool {
        matches!(self, Self::All(_)) || matches!(self, Self::Each(list) if list.len() == blocks)
    }
}

/// Transformer blocks in each attention: one number, one per block, or one per attention of a block.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum TransformerLayers {
    /// The same number in all blocks.
    All(usize),
    /// For each block, one number or one per attention.
    Each(Vec<PerBlock>),
}

impl TransformerLayers {
    /// The number in attention `j` of block `i`. The check of the config ensures that it exists.
    fn of(&self, i: usize, j: usize) -> usize {
        match self {
            Self::All(n) => *n,
            Self::Each(list) => list[i].of(j),
        }
    }

    /// Whether there are numbers for `attentions` attentions of block `i`.
    fn covers(&self, i: usize, attentions: usize) -> bool {
        match self {
            Self::All(_) => true,
            Self::Each(list) => match list.get(i) {
                Some(PerBlock::All(_)) => true,
                Some(PerBlock::Each(numbers)) => numbers.len() >= attentions,
                None => false,
            },
        }
    }
}

/// `unet/config.json`.
#[derive(Clone, Debug, Deserialize)]
pub struct UnetConfig {
    /// Side of the latents that the model was trained for; 64, as of SD 1.5, if absent.
    #[serde(default = "sample_size", deserialize_with = "larger_side")]
    pub sample_size: usize,
    /// Channels of the input: latents, and for some models further images.
    #[serde(default = "four")]
    pub in_channels: usize,
    /// Channels of the output.
    #[serde(default = "four")]
    pub out_channels: usize,
    /// Channels of each block.
    pub block_out_channels: Vec<usize>,
    /// Types of the down blocks.
    pub down_block_types: Vec<String>,
    /// Type of the middle block; `null` if there is none.
    #[serde(default = "mid_block_type")]
    pub mid_block_type: Option<String>,
    /// Types of the up blocks.
    pub up_block_types: Vec<String>,
    /// Residual blocks per down block; an up block has one more.
    #[serde(default = "two_each")]
    pub layers_per_block: PerBlock,
    /// Width of the text states; a list must have the same value for every block.
    #[serde(default = "cross_attention_dim", deserialize_with = "same_for_all")]
    pub cross_attention_dim: usize,
    /// The number of heads, despite the name. diffusers keeps the misnomer for old files and refuses files that set
    /// `num_attention_heads`.
    #[serde(default = "eight_each")]
    pub attention_head_dim: PerBlock,
    /// Transformer blocks per attention, in the down blocks and the middle block.
    #[serde(default = "one_each")]
    pub transformer_layers_per_block: TransformerLayers,
    /// Transformer blocks per attention in the up blocks, if they do not mirror the down blocks.
    #[serde(default)]
    pub reverse_transformer_layers_per_block: Option<TransformerLayers>,
    /// Groups of every group norm.
    #[serde(default = "thirty_two")]
    pub norm_num_groups: usize,
    /// Epsilon of the residual blocks' group norms.
    #[serde(default = "norm_eps")]
    pub norm_eps: f64,
    /// Whether the projections around the transformer blocks are linear layers instead of 1 x 1 convolutions.
    #[serde(default)]
    pub use_linear_projection: bool,
    /// Width of the timestep embedding; four times the first block's channels if absent.
    #[serde(default)]
    pub time_embedding_dim: Option<usize>,
    /// What is added to the timestep embedding: nothing, or with `text_time` (SDXL) pooled text and time ids.
    #[serde(default)]
    pub addition_embed_type: Option<String>,
    /// Width of the sinusoidal embedding of each time id.
    #[serde(default)]
    pub addition_time_embed_dim: Option<usize>,
    /// Width of pooled text and the embeddings of all time ids together.
    #[serde(default)]
    pub projection_class_embeddings_input_dim: Option<usize>,
    /// Whether the cosine half of the timestep embedding comes first.
    #[serde(default = "yes")]
    pub flip_sin_to_cos: bool,
    /// Subtracted from half the width in the denominator of the embedding's frequencies.
    #[serde(default)]
    pub freq_shift: f64,
    /// Activation; only SiLU is supported.
    #[serde(default = "silu")]
    pub act_fn: Activation,
}

impl UnetConfig {
    /// Reads and checks a `config.json`.
    ///
    /// # Errors
    /// Fails if the file cannot be read or has an unsupported setting.
    pub fn read(file: &Path) -> Result<Self> {
        let config: Self = read_supported(file, unsupported::UNET)?;
        config.check(file)?;
        Ok(config)
    }

    /// As [`UnetConfig::read`], from the content of the file.
    ///
    /// # Errors
    /// Fails if the config has an unsupported setting.
    pub fn of(config: serde_json::Value) -> Result<Self> {
        let file = Path::new(CONFIG_FILE);
        let config: Self = parse(config, file, unsupported::UNET)?;
        config.check(file)?;
        Ok(config)
    }

    pub(super) fn check(&self, file: &Path) -> Result<()> {
        let blocks = self.block_out_channels.len();
        let refuse = |field: &str, problem: &str| Err(Error::format(file, format!("{field}: {problem}")));
        if blocks == 0 || self.down_block_types.len() != blocks || self.up_block_types.len() != blocks {
            return refuse(
                "down_block_types, up_block_types",
                "need one entry for each of block_out_channels",
            );
        }
        for (field, value) in
            [("layers_per_block", &self.layers_per_block), ("attention_head_dim", &self.attention_head_dim)]
        {
            if !value.fits(blocks) {
                return refuse(field, &format!("needs one number, or one for each of {blocks} blocks"));
            }
        }
        for kind in &self.down_block_types {
            if !matches!(kind.as_str(), "DownBlock2D" | "CrossAttnDownBlock2D") {
                return refuse("down_block_types", &format!("{kind} is not supported"));
            }
        }
        for kind in &self.up_block_types {
            if !matches!(kind.as_str(), "UpBlock2D" | "CrossAttnUpBlock2D") {
                return refuse("up_block_types", &format!("{kind} is not supported"));
            }
        }
        match self.mid_block_type.as_deref() {
            None | Some("UNetMidBlock2D" | "UNetMidBlock2DCrossAttn") => {}
            Some(kind) => return refuse("mid_block_type", &format!("{kind} is not supported")),
        }
        if self.act_fn != Activation::Silu {
            return refuse("act_fn", "only silu is supported");
        }
        for &channels in &self.block_out_channels {
            if self.norm_num_groups == 0 || channels == 0 || channels % self.norm_num_groups != 0 {
                return refuse("norm_num_groups", &format!("does not divide {channels} channels"));
            }
        }
        self.check_attention(file)?;
        self.check_embeddings(file)
    }

    fn check_attention(&self, file: &Path) -> Result<()> {
        let refuse = |field: &str, problem: &str| Err(Error::format(file, format!("{field}: {problem}")));
        let last = self.block_out_channels.len() - 1;
        let (down, up) =
            (&self.transformer_layers_per_block, self.reverse_transformer_layers_per_block.as_ref());
        let field = "transformer_layers_per_block";
        if let TransformerLayers::Each(list) = down {
            if list.len() != last + 1 {
                return refuse(field, &format!("needs one number, or one for each of {} blocks", last + 1));
            }
            if up.is_none() && list.iter().any(|layers| matches!(layers, PerBlock::Each(_))) {
                return refuse(field, "with nested lists needs reverse_transformer_layers_per_block");
            }
        }
        for i in 0..=last {
            let layers = self.layers_per_block.of(i);
            let (in_down, in_up) = (self.down_block_attends(i), self.up_block_attends(last - i));
            let in_middle = i == last && self.mid_block_attends();
            let (heads, channels) = (self.heads(i), self.block_out_channels[i]);
            if (in_down || in_middle || in_up) && (heads == 0 || heads > channels) {
                let problem = format!("{heads} heads do not fit into {channels} channels");
                return refuse("attention_head_dim", &problem);
            }
            if (in_down && !down.covers(i, layers)) || (in_middle && !down.covers(i, 1)) {
                return refuse(field, &format!("has too few numbers for block {i}"));
            }
            if let (true, Some(up)) = (in_up, up)
                && !up.covers(last - i, layers + 1)
            {
                let problem = format!("has too few numbers for block {}", last - i);
                return refuse("reverse_transformer_layers_per_block", &problem);
            }
        }
        Ok(())
    }

    fn check_embeddings(&self, file: &Path) -> Result<()> {
        let refuse = |field: &str, problem: &str| Err(Error::format(file, format!("{field}: {problem}")));
        match self.addition_embed_type.as_deref() {
            None => {}
            Some("text_time") => {
                match (self.addition_time_embed_dim, self.projection_class_embeddings_input_dim) {
                    (Some(each), Some(all)) if each > 1 && all > each => {}
                    _ => {
                        let problem = "text_time needs addition_time_embed_dim and a larger \
                                   projection_class_embeddings_input_dim";
                        return refuse("addition_embed_type", problem);
                    }
                }
            }
            Some(kind) => return refuse("addition_embed_type", &format!("{kind} is not supported")),
        }
        if self.time_embedding_dim == Some(0) {
            return refuse("time_embedding_dim", "must be positive");
        }
        for width in [Some(self.block_out_channels[0]), self.addition_time_embed_dim].into_iter().flatten() {
            if (width / 2) as f64 == self.freq_shift {
                return refuse("freq_shift", &format!("leaves no frequencies for a width of {width}"));
            }
        }
        Ok(())
    }

    /// Attention heads of down block `i`.
    #[must_use]
    pub fn heads(&self, i: usize) -> usize {
        self.attention_head_dim.of(i)
    }

    /// Width of the timestep embedding.
    #[must_use]
    pub fn time_width(&self) -> usize {
        self.time_embedding_dim.unwrap_or(4 * self.block_out_channels[0])
    }

    /// The width of one time id's embedding, and the width of all of them with pooled text, if the model uses them.
    #[must_use]
    pub fn added_widths(&self) -> Option<(usize, usize)> {
        self.addition_embed_type.as_ref()?;
        self.addition_time_embed_dim.zip(self.projection_class_embeddings_input_dim)
    }

    /// Whether down block `i` has attention.
    pub(crate) fn down_block_attends(&self, i: usize) -> bool {
        self.down_block_types[i] == "CrossAttnDownBlock2D"
    }

    /// Whether the middle block has attention.
    pub(crate) fn mid_block_attends(&self) -> bool {
        self.mid_block_type.as_deref() == Some("UNetMidBlock2DCrossAttn")
    }

    /// Whether up block `i` has attention.
    pub(crate) fn up_block_attends(&self, i: usize) -> bool {
        self.up_block_types[i] == "CrossAttnUpBlock2D"
    }

    /// Transformer blocks in attention `j` of down block `i`.
    pub(crate) fn down_block_transformers(&self, i: usize, j: usize) -> usize {
        self.transformer_layers_per_block.of(i, j)
    }

    /// Transformer blocks in attention `j` of up block `i`.
    pub(crate) fn up_block_transformers(&self, i: usize, j: usize) -> usize {
        match &self.reverse_transformer_layers_per_block {
            Some(reverse) => reverse.of(i, j),
            None => self.transformer_layers_per_block.of(self.block_out_channels.len() - 1 - i, j),
        }
    }
}

/// A side, or the larger of two; `null`, which diffusers writes for an unset value, is the default.
fn larger_side<'de, D: Deserializer<'de>>(deserializer: D) -> Result<usize, D::Error> {
    let sides = Option::<PerBlock>::deserialize(deserializer)?;
    Ok(match sides {
        Some(PerBlock::All(n)) => n,
        Some(PerBlock::Each(list)) => list.into_iter().max().unwrap_or_else(sample_size),
        None => sample_size(),
    })
}

/// A number, or a list that repeats one number.
fn same_for_all<'de, D: Deserializer<'de>>(deserializer: D) -> Result<usize, D::Error> {
    match PerBlock::deserialize(deserializer)? {
        PerBlock::All(n) => Ok(n),
        PerBlock::Each(list) => match list[..] {
            [first, ..] if list.iter().all(|&n| n == first) => Ok(first),
            _ => Err(serde::de::Error::custom(format!(
                "{list:?}: different values for the blocks are not supported"
            ))),
        },
    }
}

fn sample_size() -> usize {
    64
}

fn cross_attention_dim() -> usize {
    1280
}

fn mid_block_type() -> Option<String> {
    Some("UNetMidBlock2DCrossAttn".to_owned())
}

fn two_each() -> PerBlock {
    PerBlock::All(two())
}

fn eight_each() -> PerBlock {
    PerBlock::All(8)
}

fn one_each() -> TransformerLayers {
    TransformerLayers::All(1)
}

fn silu() -> Activation {
    Activation::Silu
}
