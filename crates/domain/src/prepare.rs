//! What encoding a set is asked to do, and the account of what was encoded.

use crate::data::DataSpec;
use crate::dataset::ReadReport;
use crate::problem::Problems;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// An encoding of a set, once for all runs.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PrepareSpec {
    /// The model whose encoders are used: its name, or a folder in diffusers layout.
    pub base: String,
    /// What is encoded.
    pub data: DataSpec,
    /// The folder that is made.
    pub out: String,
    /// Encode by CLIP as well, as Diff-contrast and RPO need it.
    #[serde(default = "yes")]
    pub clip: bool,
    /// How images become tensors.
    #[serde(default, alias = "picture")]
    pub image: ImageSpec,
    /// Which images are left out, each with its pair; none when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_filter: Option<ImageFilterSpec>,
    /// Pairs (or images) in a shard: what is lost at most when the encoding is interrupted.
    #[serde(default = "shard_size")]
    pub shard_size: u32,
}

/// How images become tensors.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImageSpec {
    /// Width in pixels; the model's own when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub width: Option<u32>,
    /// Height in pixels; the model's own when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub height: Option<u32>,
    /// Which part of an image that is wider or higher than that is kept.
    #[serde(default, skip_serializing_if = "crate::is_default")]
    pub crop: Crop,
    /// Encode every image turned left to right as well, for runs with `horizontal_flip`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub mirrored: bool,
}

/// Which part of an image is kept, once it is resized until it just covers the size asked for.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Crop {
    /// The middle.
    #[default]
    Centre,
    /// One drawn by the pair's row in the set when the set is encoded, and the same in every epoch; winner and loser at
    /// the same relative place. (The reference scripts draw it anew in every epoch.)
    Random,
}

impl Crop {
    /// The word in specs.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Centre => "centre",
            Self::Random => "random",
        }
    }
}

/// Which images are refused: those that Stable Diffusion's safety checker flags.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImageFilterSpec {
    /// The checker's folder, as `safety_checker` of a pipeline: `config.json` and `model.safetensors`.
    pub safety_checker: String,
}

fn yes() -> bool {
    true
}
fn shard_size() -> u32 {
    DEFAULT_SHARD_SIZE
}

/// Of specs that do not say.
pub const DEFAULT_SHARD_SIZE: u32 = 256;

impl PrepareSpec {
    /// # Errors
    /// Every field that cannot be accepted, with the remedy.
    pub fn validate(&self) -> Result<(), Problems> {
        let mut p = Problems::default();
        p.require(!self.base.trim().is_empty(), "base", "name the model whose encoders are used");
        p.require(!self.out.trim().is_empty(), "out", "name the folder to make");
        self.data.validate(&mut p);
        p.require(
            !matches!(self.data, DataSpec::Prepared(_)),
            "data.source",
            "the set is prepared already: name what it was prepared from",
        );
        p.require(
            self.image_filter.as_ref().is_none_or(|filter| !filter.safety_checker.trim().is_empty()),
            "image_filter.safety_checker",
            "name the checker's folder, or leave the filter out",
        );
        p.require((1..=65_536).contains(&self.shard_size), "shard_size", "use 1 to 65536");
        for (field, side) in [("image.width", self.image.width), ("image.height", self.image.height)] {
            p.require(side.is_none_or(|side| (8..=4096).contains(&side)), field, "use 8 to 4096");
        }
        p.into_result()
    }
}

/// `manifest.json` of an encoded set.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// What was encoded.
    pub data: DataSpec,
    /// Width and height of the images.
    pub size: [u32; 2],
    /// Which part of each image was kept.
    #[serde(default, skip_serializing_if = "crate::is_default")]
    pub crop: Crop,
    /// SHA-256 of each file of the safety checker that the images were held to; empty if they were held to none.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub image_filter: BTreeMap<String, String>,
    /// Rows read and dropped, damaged and flagged images included.
    pub report: ReadReport,
    /// Rows by file that were left out once their images were looked at, damaged or flagged: all of them, though the
    /// report names but a few.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub left_out: BTreeMap<String, BTreeSet<u64>>,
    /// Examples in each shard.
    pub examples: Vec<u32>,
    /// What the encoders made: latents, latents of mirrored images, text states, CLIP features.
    pub parts: BTreeMap<String, ManifestPart>,
}

/// What one of the encoders made of a set.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ManifestPart {
    /// SHA-256 of everything that decides the content: another key is another encoding.
    pub key: String,
    /// SHA-256 of each file of the encoder.
    pub encoder: BTreeMap<String, String>,
    /// SHA-256 of each shard, by its name.
    pub shards: BTreeMap<String, String>,
}
