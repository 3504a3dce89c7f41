//! Names of an adapter file's tensors.

use crate::nn::Factor;
use std::fmt;

/// A network that an adapter can update.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Network {
    /// The network that denoises.
    Unet,
    /// The text tower, of SDXL the first.
    TextEncoder,
    /// SDXL's second text tower.
    TextEncoder2,
}

impl Network {
    const ALL: [Self; 3] = [Self::Unet, Self::TextEncoder, Self::TextEncoder2];

    /// Name of its folder, and prefix of its tensors.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unet => "unet",
            Self::TextEncoder => "text_encoder",
            Self::TextEncoder2 => "text_encoder_2",
        }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a tensor is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Piece {
    Factor(Factor),
    /// The number of that name, of one layer.
    Alpha,
}

/// A layer's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum LayerName {
    /// As in the network.
    Dotted(String),
    /// With underscores for dots.
    Flat(String),
}

/// What the name of a tensor says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Key {
    pub(super) network: Network,
    pub(super) layer: LayerName,
    pub(super) piece: Piece,
}

/// Prefix of what PEFT wraps, whose settings lie in a file of their own.
pub(super) const PEFT: &str = "base_model.model.";

/// Prefixes of kohya's scripts; SDXL has two text towers.
const KOHYA: [(&str, Network); 4] = [
    ("lora_unet_", Network::Unet),
    ("lora_te1_", Network::TextEncoder),
    ("lora_te2_", Network::TextEncoder2),
    ("lora_te_", Network::TextEncoder),
];

/// Endings of today's PEFT, of diffusers, of diffusers' attention processors and text towers, and of kohya's scripts.
const ENDINGS: [(&str, Piece); 11] = [
    (".lora_A.weight", Piece::Factor(Factor::Down)),
    (".lora_B.weight", Piece::Factor(Factor::Up)),
    (".lora.down.weight", Piece::Factor(Factor::Down)),
    (".lora.up.weight", Piece::Factor(Factor::Up)),
    ("_lora.down.weight", Piece::Factor(Factor::Down)),
    ("_lora.up.weight", Piece::Factor(Factor::Up)),
    (".lora_linear_layer.down.weight", Piece::Factor(Factor::Down)),
    (".lora_linear_layer.up.weight", Piece::Factor(Factor::Up)),
    (".lora_down.weight", Piece::Factor(Factor::Down)),
    (".lora_up.weight", Piece::Factor(Factor::Up)),
    (".alpha", Piece::Alpha),
];

/// Signs of other ways to update a layer.
const OTHERS: [(&str, &str); 7] = [
    ("dora_scale", "DoRA"),
    ("lora_magnitude_vector", "DoRA"),
    ("lora_mid", "LoRA in three factors (CP decomposition)"),
    ("hada_", "LoHa"),
    ("lokr_", "LoKr"),
    ("oft_", "OFT"),
    (".diff", "whole differences"),
];

impl Key {
    /// # Errors
    /// What is wrong with the name.
    pub(super) fn parse(name: &str) -> Result<Self, String> {
        if let Some((_, kind)) = OTHERS.iter().find(|(sign, _)| name.contains(sign)) {
            return Err(format!("belongs to an adapter of another kind, {kind}: only plain LoRA is read"));
        }
        let (rest, piece) = ENDINGS
            .iter()
            .find_map(|&(ending, piece)| Some((name.strip_suffix(ending)?, piece)))
            .ok_or("is no part of a LoRA under the names of diffusers, PEFT or kohya's scripts")?;
        let flat = KOHYA.iter().find_map(|&(prefix, network)| Some((rest.strip_prefix(prefix)?, network)));
        if let Some((layer, network)) = flat {
            return Ok(Self { network, layer: LayerName::Flat(layer.to_owned()), piece });
        }
        let rest = rest.strip_prefix(PEFT).unwrap_or(rest);
        // Without a prefix it is the UNet's, as `save_lora_adapter` of diffusers' UNet writes it.
        let (network, layer) = Network::ALL
            .into_iter()
            .find_map(|network| Some((network, rest.strip_prefix(network.as_str())?.strip_prefix('.')?)))
            .unwrap_or((Network::Unet, rest));
        Ok(Self { network, layer: LayerName::Dotted(plain(network, layer)), piece })
    }
}

/// The layer's name, without the attention processors that diffusers once hung adapters on: `attn1.processor.to_q_lora`
/// is `attn1.to_q`, and `to_out_lora` is `to_out.0`, of a text tower `q_proj` and `out_proj`.
fn plain(network: Network, layer: &str) -> String {
    let layer = layer.replace(".processor.", ".");
    let Some((before, last)) = layer.rsplit_once('.') else { return layer };
    let last = match (network, last) {
        (Network::Unet, "to_out") => "to_out.0",
        (Network::Unet, other) => other,
        (_, "to_q") => "q_proj",
        (_, "to_k") => "k_proj",
        (_, "to_v") => "v_proj",
        (_, "to_out") => "out_proj",
        (_, other) => other,
    };
    format!("{before}.{last}")
}

#[cfg(test)]
mod tests {
    use super::{Key, LayerName, Network, Piece};
    use crate::nn::Factor;

    #[test]
    fn every_writers_names_are_understood() {
        let attention = "down_blocks.0.attentions.0.transformer_blocks.0.attn1";
        let text = "text_model.encoder.layers.3.self_attn";
        let cases = [
            (
                format!("unet.{attention}.to_q.lora_A.weight"),
                Network::Unet,
                format!("{attention}.to_q"),
                true,
            ),
            (format!("{attention}.to_q.lora_B.weight"), Network::Unet, format!("{attention}.to_q"), false),
            (
                format!("base_model.model.{attention}.to_q.lora_B.weight"),
                Network::Unet,
                format!("{attention}.to_q"),
                false,
            ),
            (
                format!("unet.{attention}.to_out.0.lora.down.weight"),
                Network::Unet,
                format!("{attention}.to_out.0"),
                true,
            ),
            (
                format!("unet.{attention}.processor.to_out_lora.up.weight"),
                Network::Unet,
                format!("{attention}.to_out.0"),
                false,
            ),
            (
                format!("text_encoder.{text}.to_q_lora.down.weight"),
                Network::TextEncoder,
                format!("{text}.q_proj"),
                true,
            ),
            (
                format!("text_encoder_2.{text}.out_proj.lora_linear_layer.up.weight"),
                Network::TextEncoder2,
                format!("{text}.out_proj"),
                false,
            ),
        ];
        for (name, network, layer, down) in cases {
            let factor = if down { Factor::Down } else { Factor::Up };
            let piece = Piece::Factor(factor);
            let layer = LayerName::Dotted(layer);
            assert_eq!(Key::parse(&name), Ok(Key { network, layer, piece }), "{name}");
        }
        let flat = Key::parse("lora_te2_text_model_encoder_layers_3_mlp_fc1.alpha").expect("kohya's");
        assert_eq!((flat.network, flat.piece), (Network::TextEncoder2, Piece::Alpha));
        assert_eq!(flat.layer, LayerName::Flat("text_model_encoder_layers_3_mlp_fc1".to_owned()));
    }

    #[test]
    fn other_kinds_are_called_by_name() {
        for (name, kind) in [
            ("lora_unet_mid_block_attentions_0_proj_in.dora_scale", "DoRA"),
            ("lora_unet_mid_block_attentions_0_proj_in.hada_w1_a", "LoHa"),
            ("unet.conv_in.weight", "no part of a LoRA"),
        ] {
            let error = Key::parse(name).expect_err(name);
            assert!(error.contains(kind), "{error}");
        }
    }
}
