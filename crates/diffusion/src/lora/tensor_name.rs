//! The names of an adapter file's tensors.

use super::network::Network;
use crate::nn::Factor;

/// The meaning of a tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TensorKind {
    /// One of the two matrices of an update.
    Factor(Factor),
    /// The alpha of one layer.
    Alpha,
}

/// A layer's name in an adapter file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum LayerName {
    /// The name in the network.
    Dotted(String),
    /// The name in the network with underscores for dots.
    Flat(String),
}

/// A parsed tensor name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TensorName {
    pub(super) network: Network,
    pub(super) layer: LayerName,
    pub(super) kind: TensorKind,
}

/// The prefix of names that PEFT itself saves, together with a settings file.
pub(super) const PEFT_PREFIX: &str = "base_model.model.";

/// The prefixes of kohya's scripts; SDXL has two text encoders.
const KOHYA_PREFIXES: [(&str, Network); 4] = [
    ("lora_unet_", Network::Unet),
    ("lora_te1_", Network::TextEncoder),
    ("lora_te2_", Network::TextEncoder2),
    ("lora_te_", Network::TextEncoder),
];

/// The suffixes of PEFT, of diffusers, of diffusers' attention processors and text encoders, and of kohya's scripts.
const SUFFIXES: [(&str, TensorKind); 11] = [
    (".lora_A.weight", TensorKind::Factor(Factor::Down)),
    (".lora_B.weight", TensorKind::Factor(Factor::Up)),
    (".lora.down.weight", TensorKind::Factor(Factor::Down)),
    (".lora.up.weight", TensorKind::Factor(Factor::Up)),
    ("_lora.down.weight", TensorKind::Factor(Factor::Down)),
    ("_lora.up.weight", TensorKind::Factor(Factor::Up)),
    (".lora_linear_layer.down.weight", TensorKind::Factor(Factor::Down)),
    (".lora_linear_layer.up.weight", TensorKind::Factor(Factor::Up)),
    (".lora_down.weight", TensorKind::Factor(Factor::Down)),
    (".lora_up.weight", TensorKind::Factor(Factor::Up)),
    (".alpha", TensorKind::Alpha),
];

/// Parts of names that identify unsupported kinds of adapters.
const UNSUPPORTED: [(&str, &str); 7] = [
    ("dora_scale", "DoRA"),
    ("lora_magnitude_vector", "DoRA"),
    ("lora_mid", "LoRA in three factors (CP decomposition)"),
    ("hada_", "LoHa"),
    ("lokr_", "LoKr"),
    ("oft_", "OFT"),
    (".diff", "full-rank differences"),
];

impl TensorName {
    /// Parses the name of a tensor.
    ///
    /// # Errors
    /// Returns what is wrong, as the rest of a sentence that begins with the tensor.
    pub(super) fn parse(name: &str) -> Result<Self, String> {
        if let Some((_, unsupported)) = UNSUPPORTED.iter().find(|(part, _)| name.contains(part)) {
            return Err(format!(
                "belongs to an unsupported kind of adapter, {unsupported}: only LoRA is supported"
            ));
        }
        let (rest, kind) = SUFFIXES
            .iter()
            .find_map(|&(suffix, kind)| Some((name.strip_suffix(suffix)?, kind)))
            .ok_or("is not a LoRA tensor under the names of diffusers, PEFT or kohya's scripts")?;
        let flat =
            KOHYA_PREFIXES.iter().find_map(|&(prefix, network)| Some((rest.strip_prefix(prefix)?, network)));
        if let Some((layer, network)) = flat {
            return Ok(Self { network, layer: LayerName::Flat(layer.to_owned()), kind });
        }
        let rest = rest.strip_prefix(PEFT_PREFIX).unwrap_or(rest);
        // Names without a prefix belong to the UNet: `save_lora_adapter` of diffusers' UNet writes them.
        let (network, layer) = Network::ALL
            .into_iter()
            .find_map(|network| Some((network, rest.strip_prefix(network.as_str())?.strip_prefix('.')?)))
            .unwrap_or((Network::Unet, rest));
        Ok(Self { network, layer: LayerName::Dotted(without_processor(network, layer)), kind })
    }
}

/// The name of the layer, given a name from older diffusers, which attached adapters to attention processors:
/// `attn1.processor.to_q_lora` becomes `attn1.to_q`, and `to_out_lora` becomes `to_out.0`. In a text encoder, they become
/// `q_proj` and `out_proj`.
fn without_processor(network: Network, layer: &str) -> String {
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
    use super::{LayerName, TensorKind, TensorName};
    use crate::lora::network::Network;
    use crate::nn::Factor;

    #[test]
    fn names_of_every_writer_are_parsed() {
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
            let kind = TensorKind::Factor(factor);
            let layer = LayerName::Dotted(layer);
            assert_eq!(TensorName::parse(&name), Ok(TensorName { network, layer, kind }), "{name}");
        }
        let flat = TensorName::parse("lora_te2_text_model_encoder_layers_3_mlp_fc1.alpha").expect("a name");
        assert_eq!((flat.network, flat.kind), (Network::TextEncoder2, TensorKind::Alpha));
        assert_eq!(flat.layer, LayerName::Flat("text_model_encoder_layers_3_mlp_fc1".to_owned()));
    }

    #[test]
    fn unsupported_kinds_of_adapters_are_named() {
        for (name, expected) in [
            ("lora_unet_mid_block_attentions_0_proj_in.dora_scale", "DoRA"),
            ("lora_unet_mid_block_attentions_0_proj_in.hada_w1_a", "LoHa"),
            ("unet.conv_in.weight", "not a LoRA tensor"),
        ] {
            let error = TensorName::parse(name).expect_err(name);
            assert!(error.contains(expected), "{error}");
        }
    }
}
