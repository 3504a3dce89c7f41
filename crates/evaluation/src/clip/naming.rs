//! Renames the tensors of a CLIP from OpenCLIP's names, which OpenAI and HPSv2 use as well, to transformers'. OpenCLIP
//! stacks the projections of queries, keys and values in one tensor, and its two projections into the shared space are
//! transposed.

use crate::weights::Weights;
use candle_core::Tensor;
use diffusion::{Error, Result};
use std::collections::BTreeMap;

/// Names outside the blocks: OpenCLIP's and transformers'.
const NAMES: [(&str, &str); 14] = [
    ("visual.class_embedding", "vision_model.embeddings.class_embedding"),
    ("visual.positional_embedding", "vision_model.embeddings.position_embedding.weight"),
    ("visual.conv1.weight", "vision_model.embeddings.patch_embedding.weight"),
    ("visual.ln_pre.weight", "vision_model.pre_layrnorm.weight"),
    ("visual.ln_pre.bias", "vision_model.pre_layrnorm.bias"),
    ("visual.ln_post.weight", "vision_model.post_layernorm.weight"),
    ("visual.ln_post.bias", "vision_model.post_layernorm.bias"),
    ("visual.proj", "visual_projection.weight"),
    ("token_embedding.weight", "text_model.embeddings.token_embedding.weight"),
    ("positional_embedding", "text_model.embeddings.position_embedding.weight"),
    ("ln_final.weight", "text_model.final_layer_norm.weight"),
    ("ln_final.bias", "text_model.final_layer_norm.bias"),
    ("text_projection", "text_projection.weight"),
    ("logit_scale", "logit_scale"),
];
/// Prefixes before the number of a block.
const TOWERS: [(&str, &str); 2] = [
    ("visual.transformer.resblocks.", "vision_model.encoder.layers."),
    ("transformer.resblocks.", "text_model.encoder.layers."),
];
/// Names within a block.
const BLOCK: [(&str, &str); 5] = [
    ("ln_1", "layer_norm1"),
    ("ln_2", "layer_norm2"),
    ("attn.out_proj", "self_attn.out_proj"),
    ("mlp.c_fc", "mlp.fc1"),
    ("mlp.c_proj", "mlp.fc2"),
];
/// The projections that `attn.in_proj_` stacks, in order.
const STACKED: [&str; 3] = ["q_proj", "k_proj", "v_proj"];
/// Tensors of OpenAI's files that are not parameters.
const SIZES: [&str; 3] = ["input_resolution", "context_length", "vocab_size"];

/// Renames the tensors of an OpenCLIP file; keeps those of a transformers file. Returns the naming of the file.
///
/// # Errors
/// Fails if the file has neither naming, or if a tensor has an impossible shape for its name.
pub(crate) fn to_transformers(weights: Weights) -> Result<(Weights, Naming)> {
    if weights.tensors.contains_key("vision_model.embeddings.class_embedding") {
        return Ok((weights, Naming::Transformers));
    }
    if !weights.tensors.contains_key("visual.class_embedding") {
        let has = weights.tensors.keys().next().map_or("no tensor".to_owned(), |name| format!("{name:?}"));
        return Err(Error::Format {
            file: weights.file,
            problem: format!(
                "is not a CLIP: it has {has}, but neither \"visual.class_embedding\" (OpenCLIP) nor \
                 \"vision_model.embeddings.class_embedding\" (transformers)"
            ),
        });
    }
    let mut tensors = BTreeMap::new();
    for (name, tensor) in &weights.tensors {
        if SIZES.contains(&name.as_str()) {
            continue;
        }
        if let Some((before, kind)) = name.split_once("attn.in_proj_") {
            let parts = tensor.chunk(3, 0)?;
            if parts.len() != 3 || tensor.dim(0)? % 3 != 0 {
                let problem =
                    format!("has shape {:?}, which is not three stacked projections", tensor.dims());
                return Err(weights.error(name, problem));
            }
            for (part, name) in parts.iter().zip(STACKED) {
                // A copy, so that the stacked tensor can be freed.
                tensors.insert(format!("{}self_attn.{name}.{kind}", block(before)), part.copy()?);
            }
        } else {
            let is_transposed = matches!(name.as_str(), "visual.proj" | "text_projection");
            let tensor = if is_transposed { transposed(&weights, name, tensor)? } else { tensor.clone() };
            tensors.insert(renamed(name), tensor);
        }
    }
    Ok((Weights { tensors, ..weights }, Naming::OpenClip))
}

/// The naming of a file's tensors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Naming {
    /// That of OpenCLIP, OpenAI and HPSv2.
    OpenClip,
    Transformers,
}

impl Naming {
    /// Replaces the tensor's name in an error by its name in the file.
    pub(crate) fn explain(self, error: Error) -> Error {
        match (self, error) {
            (Self::OpenClip, Error::Tensor { origin, tensor, problem }) => {
                Error::Tensor { origin, tensor: original(&tensor), problem }
            }
            (_, error) => error,
        }
    }
}

fn transposed(weights: &Weights, name: &str, tensor: &Tensor) -> Result<Tensor> {
    if tensor.rank() != 2 {
        return Err(weights.error(name, format!("has shape {:?}, but a matrix is expected", tensor.dims())));
    }
    Ok(tensor.t()?.contiguous()?)
}

/// Replaces OpenCLIP's prefix of a block by transformers'.
fn block(prefix: &str) -> String {
    let tower =
        TOWERS.iter().find_map(|(theirs, ours)| Some(format!("{ours}{}", prefix.strip_prefix(theirs)?)));
    tower.unwrap_or_else(|| prefix.to_owned())
}

/// transformers' name of a tensor with OpenCLIP's name.
fn renamed(name: &str) -> String {
    if let Some((_, ours)) = NAMES.iter().find(|(theirs, _)| *theirs == name) {
        return (*ours).to_owned();
    }
    let name = block(name);
    let part = BLOCK.iter().find_map(|(theirs, ours)| {
        let (before, after) = name.split_once(&format!(".{theirs}."))?;
        Some(format!("{before}.{ours}.{after}"))
    });
    part.unwrap_or(name)
}

/// OpenCLIP's name of a tensor with transformers' name.
fn original(name: &str) -> String {
    if let Some((theirs, _)) = NAMES.iter().find(|(_, ours)| *ours == name) {
        return (*theirs).to_owned();
    }
    let tower =
        TOWERS.iter().find_map(|(theirs, ours)| Some(format!("{theirs}{}", name.strip_prefix(ours)?)));
    let name = tower.unwrap_or_else(|| name.to_owned());
    for part in STACKED {
        if let Some((before, kind)) = name.split_once(&format!(".self_attn.{part}.")) {
            return format!("{before}.attn.in_proj_{kind}");
        }
    }
    let part = BLOCK.iter().find_map(|(theirs, ours)| {
        let (before, after) = name.split_once(&format!(".{ours}."))?;
        Some(format!("{before}.{theirs}.{after}"))
    });
    part.unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::{original, renamed};

    #[test]
    fn renaming_is_reversible() {
        let names = [
            "visual.class_embedding",
            "visual.transformer.resblocks.11.ln_1.weight",
            "visual.transformer.resblocks.0.attn.out_proj.bias",
            "transformer.resblocks.3.mlp.c_fc.weight",
            "transformer.resblocks.3.mlp.c_proj.bias",
            "text_projection",
            "logit_scale",
        ];
        for name in names {
            assert_ne!((renamed(name).as_str(), name), (name, "visual"), "{name}");
            assert_eq!(original(&renamed(name)), name);
        }
        assert_eq!(
            original("text_model.encoder.layers.3.self_attn.k_proj.bias"),
            "transformer.resblocks.3.attn.in_proj_bias"
        );
    }
}
