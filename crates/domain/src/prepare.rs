//! The spec of encoding a set once for all runs, and the manifest of an encoded set.

use crate::data::DataSpec;
use crate::dataset::ReadReport;
use crate::problem::Problems;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// Pairs (or images) in a shard when the spec does not say.
pub const DEFAULT_SHARD_SIZE: u32 = 256;

/// Encodes a set into latents, text states and CLIP features, which any number of runs can then train on.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PrepareSpec {
    /// The model whose encoders are used: its name, or a folder in diffusers layout. Train on the result from this
    /// model or one with the same encoders.
    pub base: String,
    /// The set to encode.
    pub data: DataSpec,
    /// The folder to write.
    pub out: String,
    /// Whether to compute CLIP features, which Diff-contrast and RPO need, and by which CLIP.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(default = ClipFeatures::default))]
    pub clip: ClipFeatures,
    /// How images become tensors.
    #[serde(default, alias = "picture")]
    #[cfg_attr(feature = "openapi", schema(default = ImageSpec::default))]
    pub image: ImageSpec,
    /// Leaves out pairs with an image that a safety checker flags; none are left out when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_filter: Option<ImageFilterSpec>,
    /// Pairs (or images) in a shard, 1 to 65536. An interrupted encoding repeats at most one shard.
    #[serde(default = "shard_size")]
    #[cfg_attr(feature = "openapi", schema(default = shard_size))]
    pub shard_size: u32,
}

/// Whether a set gets CLIP features, and by which CLIP.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum ClipFeatures {
    /// `true`: by the base's own CLIP. `false`: no features.
    OfBase(bool),
    /// By this CLIP, named as `clip` of a training spec.
    By(String),
}

impl ClipFeatures {
    /// Whether features are computed.
    #[must_use]
    pub fn is_wanted(&self) -> bool {
        *self != Self::OfBase(false)
    }

    /// The CLIP that is named; none stands for the base's own.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        match self {
            Self::OfBase(_) => None,
            Self::By(name) => Some(name),
        }
    }
}

impl Default for ClipFeatures {
    fn default() -> Self {
        Self::OfBase(true)
    }
}

fn shard_size() -> u32 {
    DEFAULT_SHARD_SIZE
}

/// How images become tensors.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImageSpec {
    /// Width in pixels, 8 to 4096; the model's own when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub width: Option<u32>,
    /// Height in pixels, 8 to 4096; the model's own when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub height: Option<u32>,
    /// Which part is kept of an image with another aspect ratio.
    #[serde(default, skip_serializing_if = "crate::is_default")]
    #[cfg_attr(feature = "openapi", schema(default = Crop::default))]
    pub crop: Crop,
    /// Also encodes every image mirrored left to right, for runs with `horizontal_flip`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    #[cfg_attr(feature = "openapi", schema(default = false))]
    pub mirrored: bool,
}

/// Which part of an image is kept, after it is resized to just cover the training size.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Crop {
    /// The centre.
    #[default]
    Centre,
    /// A position drawn once for each pair, from its row in the set, and used in every epoch; winner and loser are
    /// cropped at the same relative position. (The reference scripts draw a new one in every epoch.)
    Random,
}

impl Crop {
    /// The value in specs.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Centre => "centre",
            Self::Random => "random",
        }
    }
}

/// Leaves out images that Stable Diffusion's safety checker flags.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImageFilterSpec {
    /// The folder `safety_checker` of a pipeline, with `config.json` and `model.safetensors`.
    pub safety_checker: String,
}

impl PrepareSpec {
    /// # Errors
    /// Returns every field that is empty or out of range.
    pub fn validate(&self) -> Result<(), Problems> {
        let mut p = Problems::default();
        p.require(!self.base.trim().is_empty(), "base", "name the model whose encoders are used");
        p.require(!self.out.trim().is_empty(), "out", "name the folder to write");
        self.data.validate(&mut p);
        p.require(
            self.clip.name().is_none_or(|name| !name.trim().is_empty()),
            "clip",
            "name a folder or a repository, or use true or false",
        );
        p.require(
            !matches!(self.data, DataSpec::Prepared(_)),
            "data.source",
            "is already encoded: name the set that it was prepared from",
        );
        p.require(
            self.image_filter.as_ref().is_none_or(|filter| !filter.safety_checker.trim().is_empty()),
            "image_filter.safety_checker",
            "name the safety checker's folder, or remove image_filter",
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
    /// The set that was encoded.
    pub data: DataSpec,
    /// Width and height of the images in pixels.
    pub size: [u32; 2],
    /// Which part of each image was kept.
    #[serde(default, skip_serializing_if = "crate::is_default")]
    pub crop: Crop,
    /// SHA-256 of each file of the safety checker that filtered the images; empty if none did.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub image_filter: BTreeMap<String, String>,
    /// Rows read and dropped, rows with damaged or flagged images included.
    pub report: ReadReport,
    /// Every row, by file, that was dropped because an image is damaged or flagged. (The report lists only the first
    /// ones.)
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub left_out: BTreeMap<String, BTreeSet<u64>>,
    /// Examples whose caption is longer than the text encoders read. Absent if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cut: Option<CutTexts>,
    /// Examples in each shard.
    pub examples: Vec<u32>,
    /// The encoders' outputs by name: latents, latents of mirrored images, text states, CLIP features.
    pub parts: BTreeMap<String, ManifestPart>,
}

/// Texts that are longer than a model's text encoders read, and lose their end.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CutTexts {
    /// How many there are.
    pub count: u64,
    /// The first of them.
    pub text: String,
    /// The end of that text, which the text encoders do not see.
    pub dropped: String,
    /// The number of tokens of that end.
    pub tokens: u64,
}

impl fmt::Display for CutTexts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { count, text, dropped, tokens } = self;
        let (are, lose) =
            if *count == 1 { ("text is", "loses its end") } else { ("texts are", "lose their ends") };
        write!(
            f,
            "{count} {are} longer than the text encoder reads, and {lose}; of {text:?} the last {tokens} tokens are not seen: \
             {dropped:?}"
        )
    }
}

/// The output of one encoder.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ManifestPart {
    /// SHA-256 of everything that the content depends on. Equal keys mean equal content.
    pub key: String,
    /// SHA-256 of each file of the encoder.
    pub encoder: BTreeMap<String, String>,
    /// SHA-256 of each shard, by file name.
    pub shards: BTreeMap<String, String>,
}
