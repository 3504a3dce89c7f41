//! The list of runs, and what people change of a run.

use crate::id::StudyId;
use crate::limits::{MAX_NAME_BYTES, MAX_NOTES_BYTES, MAX_PRIORITY, MAX_TAG_BYTES, MAX_TAGS};
use crate::name::is_name;
use crate::problem::Problems;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

/// The order of the list of runs, below the pinned ones.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunSort {
    /// Newest first.
    #[default]
    Newest,
    /// By name, without regard to case.
    Name,
    /// Longest first, by the time that workers have spent. A run that has not ended has the time before it was resumed.
    Duration,
}

impl RunSort {
    /// All orders.
    pub const ALL: [Self; 3] = [Self::Newest, Self::Name, Self::Duration];

    /// The value in queries.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Newest => "newest",
            Self::Name => "name",
            Self::Duration => "duration",
        }
    }
}

impl FromStr for RunSort {
    type Err = String;
    fn from_str(s: &str) -> Result<Self, String> {
        let known = Self::ALL.into_iter().find(|sort| sort.as_str() == s);
        known.ok_or_else(|| format!("{s:?} is not an order: use newest, name or duration"))
    }
}

/// Which value of a curve a column of the list of runs has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunValue {
    /// That of the last step.
    Last,
    /// The lowest finite one.
    Lowest,
    /// The highest finite one.
    Highest,
}

impl RunValue {
    /// All values.
    pub const ALL: [Self; 3] = [Self::Last, Self::Lowest, Self::Highest];

    /// The word in queries.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Last => "last",
            Self::Lowest => "lowest",
            Self::Highest => "highest",
        }
    }
}

/// A chosen column of the list of runs. Written as `METRIC:VALUE`, such as `validation/loss:lowest`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunColumn {
    /// Name of the curve.
    pub metric: String,
    /// Which of its values.
    pub value: RunValue,
}

impl fmt::Display for RunColumn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.metric, self.value.as_str())
    }
}

impl FromStr for RunColumn {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let is_metric = |name: &&str| {
            (1..=MAX_NAME_BYTES).contains(&name.len())
                && name
                    .bytes()
                    .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'_' | b'/'))
        };
        let column = text.split_once(':').and_then(|(metric, value)| {
            let value = RunValue::ALL.into_iter().find(|known| known.as_str() == value)?;
            Some(Self { metric: Some(metric).filter(is_metric)?.to_owned(), value })
        });
        column.ok_or_else(|| {
            format!("{text:?} is not a column: write METRIC:VALUE, with last, lowest or highest as the value")
        })
    }
}

/// Values that the list of runs can be filtered by.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RunChoices {
    /// The models that runs started from, sorted.
    pub bases: Vec<String>,
    /// The tags of runs, sorted.
    pub tags: Vec<String>,
    /// Ids and names of studies, newest first.
    pub studies: Vec<(StudyId, String)>,
}

/// What to change of a run. Absent fields stay as they are.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "openapi", schema(example = json!({ "name": "own-dpo-2", "tags": ["paper"], "pinned": true })))]
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunChange {
    /// A name that no other run has: 1 to 100 letters, digits, `-`, `_` or `.`, not starting with `.`. The spec and the
    /// models of the run keep theirs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(
        feature = "openapi",
        schema(min_length = 1, max_length = 100, pattern = "^[A-Za-z0-9_-][A-Za-z0-9_.-]*$")
    )]
    pub name: Option<String>,
    /// Text of at most 10000 bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(max_length = 10000))]
    pub notes: Option<String>,
    /// All tags of the run: at most 20, each 1 to 40 letters, digits, `-`, `_`, `.`, `:` or `/`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(max_items = 20))]
    pub tags: Option<Vec<String>>,
    /// Whether lists show the run first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pinned: Option<bool>,
    /// Whether lists leave the run out unless they are asked for archived runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub archived: Option<bool>,
}

/// Whether a text may be a tag.
#[must_use]
pub fn is_tag(tag: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | ':' | '/');
    (1..=MAX_TAG_BYTES).contains(&tag.len()) && tag.chars().all(is_plain)
}

impl RunChange {
    /// # Errors
    /// Returns every field that is invalid.
    pub fn validate(&self) -> Result<(), Problems> {
        let mut p = Problems::default();
        p.require(
            self.name.as_deref().is_none_or(is_name),
            "name",
            format!("use 1 to {MAX_NAME_BYTES} letters, digits, '-', '_' or '.', not starting with '.'"),
        );
        p.require(
            self.notes.as_deref().is_none_or(|notes| notes.len() <= MAX_NOTES_BYTES),
            "notes",
            format!("use at most {MAX_NOTES_BYTES} bytes"),
        );
        let tags: BTreeSet<&str> = self.tags.iter().flatten().map(String::as_str).collect();
        for tag in tags.iter().filter(|tag| !is_tag(tag)) {
            let remedy = format!(
                "{tag:?} is not a tag: use 1 to {MAX_TAG_BYTES} letters, digits, '-', '_', '.', ':' or '/'"
            );
            p.add("tags", remedy);
        }
        p.require(tags.len() <= MAX_TAGS, "tags", format!("use at most {MAX_TAGS}"));
        p.into_result()
    }
}

/// What the deletion of a run would do.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunDeletion {
    /// What breaks without the run: an unfinished job, a study, votes on its samples. It can be deleted only if there is
    /// nothing.
    pub blocked_by: Vec<String>,
    /// Sample images that are deleted with it.
    pub samples: i64,
    /// Names of its models, which stay.
    pub kept_models: Vec<String>,
    /// Whether the state is deleted from which the run can be resumed or prolonged.
    pub has_state: bool,
}

/// How a run goes on.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "openapi", schema(example = json!({ "steps": 200 })))]
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunResumption {
    /// The new number of steps; that of the spec when absent. A finished run needs more than it has done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(minimum = 1, maximum = 10000000))]
    pub steps: Option<u32>,
}

/// What to change of a queued job.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "openapi", schema(example = json!({ "priority": 10 })))]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JobChange {
    /// Its priority, -100 to 100. Workers claim jobs of a higher priority first.
    #[cfg_attr(feature = "openapi", schema(minimum = -100, maximum = 100))]
    pub priority: i64,
}

impl JobChange {
    /// # Errors
    /// Returns the field if it is out of range.
    pub fn validate(&self) -> Result<(), Problems> {
        let mut p = Problems::default();
        let range = -MAX_PRIORITY..=MAX_PRIORITY;
        p.require(
            range.contains(&self.priority),
            "priority",
            format!("use -{MAX_PRIORITY} to {MAX_PRIORITY}"),
        );
        p.into_result()
    }
}

#[cfg(test)]
mod tests {
    use super::{RunChange, RunColumn, is_tag};

    #[test]
    fn a_column_is_read_as_it_is_written() {
        for text in ["loss:last", "validation/loss:lowest", "rewards/accuracies:highest"] {
            assert_eq!(text.parse::<RunColumn>().expect("a column").to_string(), text);
        }
        for text in ["", "loss", "loss:", ":last", "loss:best", "Loss:last", "a b:last", "loss:last:last"] {
            assert!(text.parse::<RunColumn>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn tags_are_short_plain_words() {
        for tag in ["paper", "2026-11/winter", "v1.2", "team:a", &"a".repeat(40)] {
            assert!(is_tag(tag), "{tag:?}");
        }
        for tag in ["", "two words", "a,b", "\u{e4}", "%", &"a".repeat(41)] {
            assert!(!is_tag(tag), "{tag:?}");
        }
    }

    #[test]
    fn each_invalid_field_of_a_change_is_named() {
        let change = RunChange {
            name: Some("../a".to_owned()),
            notes: Some("n".repeat(10_001)),
            tags: Some(vec!["a b".to_owned()]),
            ..RunChange::default()
        };
        let problems = change.validate().expect_err("invalid").0;
        let fields: Vec<&str> = problems.iter().map(|problem| problem.field.as_str()).collect();
        assert_eq!(fields, ["name", "notes", "tags"]);
        let many = (0..21).map(|n| n.to_string()).collect();
        let change = RunChange { tags: Some(many), ..RunChange::default() };
        assert_eq!(change.validate().expect_err("too many").0[0].field, "tags");
        RunChange::default().validate().expect("nothing to change");
    }
}
