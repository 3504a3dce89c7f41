//! Sets of preference pairs.

use crate::data_check::DataReport;
use crate::dataset::ReadReport;
use serde::{Deserialize, Serialize};

/// A set of pairs, or of captioned images.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DatasetSummary {
    /// Its name: `shapes-` and the set for a set of the bundled world, `votes`, or the name of its folder.
    pub name: String,
    /// A short description.
    pub description: String,
    /// Number of rows, dropped ones included; none if counting would need reading the whole set.
    pub rows: Option<u64>,
    /// Why it cannot be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// The first pairs, in the list of sets.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub examples: Vec<DatasetPair>,
}

/// A pair of a set.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DatasetPair {
    /// Its index among the pairs of the set, from 0.
    pub index: u64,
    /// The prompt of both images.
    pub prompt: String,
    /// File and row that it comes from.
    pub source: String,
    /// Names of the models of winner and loser, if the set has them.
    pub models: [Option<String>; 2],
    /// URL of the winner, or of the only image.
    pub winner_url: String,
    /// URL of the loser.
    pub loser_url: Option<String>,
}

/// Some pairs of a set.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DatasetPairs {
    /// The set.
    pub dataset: DatasetSummary,
    /// The pairs, in the order of the set.
    pub items: Vec<DatasetPair>,
    /// `from` of the next request; none at the end.
    pub next: Option<u64>,
    /// Rows read and dropped for this response.
    pub report: ReadReport,
}

/// A set to check.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "openapi", schema(example = json!({
    "spec": "base = \"shapes\"\n[data]\nsource = \"images\"\nfolder = \"data/datasets/photos\"\n"
})))]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataCheckRequest {
    /// A training spec, a prepare spec, or only `data` and optionally `base`, as TOML or JSON text.
    #[cfg_attr(
        feature = "openapi",
        schema(
            example = "base = \"shapes\"\n[data]\nsource = \"images\"\nfolder = \"data/datasets/photos\"\n"
        )
    )]
    pub spec: String,
}

/// The check of a set.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DataCheckResponse {
    /// What the set holds.
    pub report: DataReport,
    /// The first examples in one JPEG image, as a data URL.
    pub contact_sheet: String,
}
