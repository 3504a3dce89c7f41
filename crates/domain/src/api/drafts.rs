//! Drafts of training specs: the fields of a form, with their values and what is wrong with them.

use crate::data_check::CostEstimate;
use crate::id::RunId;
use crate::problem::{Problem, Problems};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What a draft is made from: one of the fields, or the first preset when all are absent.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "openapi", schema(example = json!({ "preset": "demo/3-contrast" })))]
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunDraftRequest {
    /// Name of a preset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(example = "demo/3-contrast"))]
    pub preset: Option<String>,
    /// A run whose spec is copied, under a free name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<RunId>,
    /// A training spec as TOML or JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub toml: Option<String>,
    /// The values of the form's fields by path, such as `objective.beta`. Fields that are absent or empty have their
    /// defaults; those of another kind of objective, data or optimiser are left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fields: Option<BTreeMap<String, String>>,
}

impl RunDraftRequest {
    /// # Errors
    /// Fails if more than one field is present.
    pub fn validate(&self) -> Result<(), Problems> {
        let present = [
            ("preset", self.preset.is_some()),
            ("from", self.from.is_some()),
            ("toml", self.toml.is_some()),
            ("fields", self.fields.is_some()),
        ];
        let mut present = present.into_iter().filter(|(_, is_present)| *is_present).map(|(name, _)| name);
        match (present.next(), present.next()) {
            (Some(first), Some(second)) => {
                Err(Problems::one(second, format!("contradicts {first}: give one of them")))
            }
            _ => Ok(()),
        }
    }
}

/// A training spec in the making: the fields of its form, and what submitting it would refuse.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunDraft {
    /// The fields in groups.
    pub groups: Vec<FieldGroup>,
    /// The spec as TOML, as far as the fields can be read.
    pub toml: String,
    /// All that is wrong with it. Without any it can be submitted.
    pub problems: Vec<Problem>,
    /// What the run would take, if nothing is wrong: without the encoded set, whose size depends on the data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost: Option<CostEstimate>,
    /// Names of the presets.
    pub presets: Vec<String>,
}

/// Fields that belong together.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FieldGroup {
    /// The heading above the fields.
    pub title: String,
    /// The fields, in the order of the form.
    pub fields: Vec<FormField>,
}

/// How a field is entered.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FieldKind {
    /// One line of text.
    Text,
    /// A whole number.
    Integer,
    /// A number with or without a fraction.
    Number,
    /// `true`, or nothing for false.
    Switch,
    /// One of `options`.
    Choice,
    /// One of `options`, which decides which other fields there are.
    Tag,
    /// Texts, one a line.
    Lines,
    /// A table, as JSON.
    Json,
}

/// A field of the form.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FormField {
    /// Its path in the spec, such as `objective.beta`.
    pub path: String,
    /// How it is entered.
    pub kind: FieldKind,
    /// What it means, in Markdown.
    pub help: String,
    /// Accepted values of a choice.
    pub options: Vec<String>,
    /// The values of the tag with which the field exists; empty: all.
    pub of: Vec<String>,
    /// The path of that tag.
    pub tag: Option<String>,
    /// Whether a spec must have it.
    pub required: bool,
    /// The value when it is empty, as JSON.
    pub default: Option<String>,
    /// Its value as text.
    pub value: String,
}
