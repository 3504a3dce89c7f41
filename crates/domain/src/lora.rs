//! LoRA adapters: how one is trained, and how images are drawn with some.

use crate::problem::Problems;
use serde::de::value::SeqAccessDeserializer;
use serde::de::{self, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use std::fmt;
use std::str::FromStr;

/// Most adapters of one image.
pub const MOST_ADAPTERS: usize = 8;
/// Largest strength of an adapter, either way: far above what is of use.
pub const LARGEST_SCALE: f64 = 100.0;

/// Train an adapter over the frozen start checkpoint instead of its weights.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LoraSpec {
    /// Width of the updates: what they can express, and what they cost.
    #[serde(default = "rank")]
    pub rank: u32,
    /// Divided by the rank it is the strength of the updates; the rank when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alpha: Option<f64>,
    /// The UNet's linear layers and convolutions to update, by their names or the last words of them.
    #[serde(default = "targets")]
    pub targets: Vec<String>,
}

/// diffusers' training scripts'.
fn rank() -> u32 {
    4
}
/// Likewise: the attention's.
fn targets() -> Vec<String> {
    ["to_k", "to_q", "to_v", "to_out.0"].map(str::to_owned).into()
}

impl Default for LoraSpec {
    fn default() -> Self {
        Self { rank: rank(), alpha: None, targets: targets() }
    }
}

impl LoraSpec {
    /// Alpha, filled in.
    #[must_use]
    pub fn alpha(&self) -> f64 {
        self.alpha.unwrap_or(f64::from(self.rank))
    }

    pub(crate) fn validate(&self, p: &mut Problems) {
        p.require((1..=4096).contains(&self.rank), "lora.rank", "use 1 to 4096");
        p.require(
            self.alpha().is_finite() && self.alpha() > 0.0,
            "lora.alpha",
            format!("{} is not a positive number", self.alpha()),
        );
        p.require(
            !self.targets.is_empty() && self.targets.iter().all(|target| !target.trim().is_empty()),
            "lora.targets",
            "name at least one layer, for example \"to_q\"",
        );
    }
}

/// An adapter that an image is drawn with.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LoraUse {
    /// The adapter: a model's name or id.
    pub model: String,
    /// Strength; 1 is as trained.
    #[serde(default = "full")]
    pub scale: f64,
    /// SHA-256 of the adapter's file, in hex: told with every image; in a request, the only weights that will do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
}

fn full() -> f64 {
    1.0
}

impl LoraUse {
    /// Checks the adapters of an image.
    pub(crate) fn validate(all: &[Self], p: &mut Problems) {
        p.require(all.len() <= MOST_ADAPTERS, "lora", format!("use at most {MOST_ADAPTERS}"));
        for (i, LoraUse { scale, .. }) in all.iter().enumerate() {
            p.require(
                scale.is_finite() && scale.abs() <= LARGEST_SCALE,
                format!("lora[{i}].scale"),
                format!("use -{LARGEST_SCALE} to {LARGEST_SCALE}"),
            );
        }
    }
}

/// `NAME` or `NAME:SCALE`, as a query has it.
impl FromStr for LoraUse {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let (model, scale) = match text.trim().rsplit_once(':') {
            Some((model, scale)) => {
                (model, scale.trim().parse().map_err(|_| format!("{scale:?} in {text:?} is no number"))?)
            }
            None => (text.trim(), full()),
        };
        if model.is_empty() {
            return Err("write NAME or NAME:SCALE, and commas between several".to_owned());
        }
        Ok(Self { model: model.to_owned(), scale, sha256: None })
    }
}

/// Several, with commas between them.
///
/// # Errors
/// What cannot be read.
pub fn parse_uses(text: &str) -> Result<Vec<LoraUse>, String> {
    text.split(',').map(str::parse).collect()
}

/// Reads a list, as a body has it, or a text, as a query has it.
pub(crate) fn list_or_text<'de, D: Deserializer<'de>>(input: D) -> Result<Vec<LoraUse>, D::Error> {
    struct Either;
    impl<'de> Visitor<'de> for Either {
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
    input.deserialize_any(Either)
}

#[cfg(test)]
mod tests {
    use super::{LoraUse, parse_uses};

    #[test]
    fn a_query_names_adapters_with_their_scales() {
        let used = |model: &str, scale| LoraUse { model: model.to_owned(), scale, sha256: None };
        assert_eq!(parse_uses("snow:0.8, star"), Ok(vec![used("snow", 0.8), used("star", 1.0)]));
        assert!(parse_uses("snow:much").is_err());
        assert!(parse_uses("snow,").is_err());
    }
}
