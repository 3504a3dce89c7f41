//! LoRA adapters: training one, and generating with some.

use crate::limits::{MAX_ADAPTER_SCALE, MAX_ADAPTERS};
use crate::problem::Problems;
use serde::de::value::SeqAccessDeserializer;
use serde::de::{self, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use std::fmt;
use std::str::FromStr;

/// A LoRA adapter to train over the frozen base: low-rank updates of some of the UNet's layers.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LoraSpec {
    /// Rank of the updates, 1 to 4096. A higher rank can express more, and takes more memory and file size.
    #[serde(default = "rank")]
    #[cfg_attr(feature = "openapi", schema(default = rank, minimum = 1, maximum = 4096))]
    pub rank: u32,
    /// The updates are multiplied by alpha / rank; equal to the rank when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alpha: Option<f64>,
    /// The UNet's linear layers and convolutions to update, by the last parts of their names: `to_q` matches every
    /// layer of that name.
    #[serde(default = "targets")]
    #[cfg_attr(feature = "openapi", schema(default = targets, min_items = 1))]
    pub targets: Vec<String>,
}

/// The default of diffusers' training scripts.
fn rank() -> u32 {
    4
}
/// The attention's layers, as in diffusers' training scripts.
fn targets() -> Vec<String> {
    ["to_k", "to_q", "to_v", "to_out.0"].map(str::to_owned).into()
}

impl Default for LoraSpec {
    fn default() -> Self {
        Self { rank: rank(), alpha: None, targets: targets() }
    }
}

impl LoraSpec {
    /// Alpha, or the rank if the spec has no alpha.
    #[must_use]
    pub fn alpha(&self) -> f64 {
        self.alpha.unwrap_or(f64::from(self.rank))
    }

    pub(crate) fn validate(&self, p: &mut Problems) {
        p.require((1..=4096).contains(&self.rank), "lora.rank", "use 1 to 4096");
        p.require_positive(self.alpha(), "lora.alpha");
        p.require(
            !self.targets.is_empty() && self.targets.iter().all(|target| !target.trim().is_empty()),
            "lora.targets",
            "name at least one layer, for example \"to_q\"",
        );
    }
}

/// An adapter to generate with, and its scale.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LoraUse {
    /// The adapter: name or id of a model that is one.
    pub model: String,
    /// Factor of the adapter's updates, -100 to 100; 1 is as trained, 0 is without the adapter.
    #[serde(default = "scale")]
    #[cfg_attr(feature = "openapi", schema(default = scale, minimum = -100, maximum = 100))]
    pub scale: f64,
    /// SHA-256 of the adapter's weights and settings, in hex. Present in every response; a request that gives it is refused
    /// if the adapter has changed. A request may give the SHA-256 of the weights file alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
}

fn scale() -> f64 {
    1.0
}

impl LoraUse {
    /// Checks the adapters of one image.
    pub(crate) fn validate(all: &[Self], p: &mut Problems) {
        p.require(all.len() <= MAX_ADAPTERS, "lora", format!("use at most {MAX_ADAPTERS}"));
        for (i, LoraUse { scale, .. }) in all.iter().enumerate() {
            p.require(
                scale.is_finite() && scale.abs() <= MAX_ADAPTER_SCALE,
                format!("lora[{i}].scale"),
                format!("use -{MAX_ADAPTER_SCALE} to {MAX_ADAPTER_SCALE}"),
            );
        }
    }
}

/// Parses `NAME` or `NAME:SCALE`, the form of query strings.
impl FromStr for LoraUse {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let (model, scale) = match text.trim().rsplit_once(':') {
            Some((model, scale)) => {
                (model, scale.trim().parse().map_err(|_| format!("{scale:?} in {text:?} is not a number"))?)
            }
            None => (text.trim(), scale()),
        };
        if model.is_empty() {
            return Err("use NAME or NAME:SCALE, separated by commas".to_owned());
        }
        Ok(Self { model: model.to_owned(), scale, sha256: None })
    }
}

/// Parses adapters separated by commas.
///
/// # Errors
/// Fails if an adapter has no name or its scale is not a number.
pub fn parse_uses(text: &str) -> Result<Vec<LoraUse>, String> {
    text.split(',').map(str::parse).collect()
}

/// Deserialises the list of a body or the text of a query string.
pub(crate) fn list_or_text<'de, D: Deserializer<'de>>(input: D) -> Result<Vec<LoraUse>, D::Error> {
    struct ListOrText;
    impl<'de> Visitor<'de> for ListOrText {
        type Value = Vec<LoraUse>;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a list of adapters, or a text NAME:SCALE")
        }
        fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
            parse_uses(text).map_err(E::custom)
        }
        fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<Self::Value, A::Error> {
            Vec::deserialize(SeqAccessDeserializer::new(items))
        }
    }
    input.deserialize_any(ListOrText)
}

#[cfg(test)]
mod tests {
    use super::{LoraUse, parse_uses};

    #[test]
    fn a_query_string_lists_adapters_and_their_scales() {
        let used = |model: &str, scale| LoraUse { model: model.to_owned(), scale, sha256: None };
        assert_eq!(parse_uses("snow:0.8, star"), Ok(vec![used("snow", 0.8), used("star", 1.0)]));
        assert!(parse_uses("snow:much").is_err());
        assert!(parse_uses("snow,").is_err());
    }
}
