//! The names that the original implementation (`ldm.modules.diffusionmodules.openaimodel`) gives to the layers of a UNet, as
//! far as they do not depend on the position of a block.

/// The layers of a residual block: diffusers' name and the original name.
const RESIDUAL_LAYERS: [(&str, &str); 6] = [
    ("norm1", "in_layers.0"),
    ("conv1", "in_layers.2"),
    ("time_emb_proj", "emb_layers.1"),
    ("norm2", "out_layers.0"),
    ("conv2", "out_layers.3"),
    ("conv_shortcut", "skip_connection"),
];

/// The layers outside of blocks: diffusers' name and the original name.
const OUTER_LAYERS: [(&str, &str); 7] = [
    ("conv_in", "input_blocks.0.0"),
    ("time_embedding.linear_1", "time_embed.0"),
    ("time_embedding.linear_2", "time_embed.2"),
    ("add_embedding.linear_1", "label_emb.0.0"),
    ("add_embedding.linear_2", "label_emb.0.2"),
    ("conv_norm_out", "out.0"),
    ("conv_out", "out.2"),
];

/// The original name of a residual block's layer.
pub(crate) fn original_residual_layer(diffusers: &str) -> Option<&'static str> {
    RESIDUAL_LAYERS.iter().find(|(name, _)| *name == diffusers).map(|(_, original)| *original)
}

/// diffusers' name of a residual block's layer.
pub(crate) fn diffusers_residual_layer(original: &str) -> Option<&'static str> {
    RESIDUAL_LAYERS.iter().find(|(_, name)| *name == original).map(|(diffusers, _)| *diffusers)
}

/// The original name of a layer outside of blocks.
pub(crate) fn original_outer_layer(diffusers: &str) -> Option<&'static str> {
    OUTER_LAYERS.iter().find(|(name, _)| *name == diffusers).map(|(_, original)| *original)
}
