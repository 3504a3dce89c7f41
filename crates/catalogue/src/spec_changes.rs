//! How the spec of a resumed run differs from the one that the run began with, and which of the fields may.

use anyhow::Result;
use domain::train::TrainSpec;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt;

/// Fields that decide no update: when a run ends, what it saves and shows, what is done with its model. (A learning rate
/// that falls to 0 at the last step follows the new number of steps.)
const FREE: [&str; 9] = [
    "name",
    "steps",
    "checkpoint_every",
    "keep_checkpoints",
    "keep_best",
    "sample_every",
    "sample_prompts",
    "evaluate_prompts",
    "memory.checkpoint_activations",
];

/// Fields that say where something lies, whose content decides the updates.
const PLACES: [&str; 4] = ["base", "reference", "clip", "data.folder"];

/// A field whose values differ.
#[derive(Clone, Debug, PartialEq)]
pub struct SpecChange {
    /// The path of the field, such as `learning_rate.rate`.
    pub field: String,
    /// The value that the run began with; `None` if it was left out.
    pub before: Option<Value>,
    /// The value now; `None` if it is left out.
    pub now: Option<Value>,
}

impl SpecChange {
    /// Whether the field decides no update, so that a resumed run may change it.
    #[must_use]
    pub fn is_free(&self) -> bool {
        FREE.contains(&self.field.as_str())
    }

    /// Whether the field names a folder or model, which decides by its content only.
    #[must_use]
    pub fn is_place(&self) -> bool {
        PLACES.contains(&self.field.as_str()) && self.before.is_some() == self.now.is_some()
    }

    /// Whether the field is part of the learning rate and its schedule.
    #[must_use]
    pub fn is_learning_rate(&self) -> bool {
        self.field.starts_with("learning_rate.")
    }
}

impl fmt::Display for SpecChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |value: &Option<Value>| value.as_ref().map_or("left out".to_owned(), ToString::to_string);
        write!(f, "{} was {} and is {}", self.field, text(&self.before), text(&self.now))
    }
}

/// The fields that differ between two specs, sorted.
///
/// # Errors
/// Fails if a spec cannot be written as JSON, which none is known to.
pub fn changes(before: &TrainSpec, now: &TrainSpec) -> Result<Vec<SpecChange>> {
    let (before, now) = (fields(before)?, fields(now)?);
    let mut names: Vec<&String> = before.keys().chain(now.keys()).collect();
    names.sort();
    names.dedup();
    let change = |field: &String| SpecChange {
        field: field.clone(),
        before: before.get(field).cloned(),
        now: now.get(field).cloned(),
    };
    Ok(names.into_iter().map(change).filter(|change| change.before != change.now).collect())
}

/// The values of a spec by path.
fn fields(spec: &TrainSpec) -> Result<BTreeMap<String, Value>> {
    let mut fields = BTreeMap::new();
    let mut value = serde_json::to_value(spec)?;
    // A table of defaults is left out as a whole, and would differ from one that has only some of them.
    value["memory"] = serde_json::to_value(spec.memory)?;
    collect("", value, &mut fields);
    Ok(fields)
}

fn collect(path: &str, value: Value, fields: &mut BTreeMap<String, Value>) {
    match value {
        Value::Object(object) => {
            for (key, value) in object {
                let path = if path.is_empty() { key } else { format!("{path}.{key}") };
                collect(&path, value, fields);
            }
        }
        value => {
            fields.insert(path.to_owned(), value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::changes;
    use domain::train::TrainSpec;

    fn spec(more: &serde_json::Value) -> TrainSpec {
        let mut spec = serde_json::json!({
            "name": "n", "base": "shapes", "steps": 4, "batch_size": 1, "objective": { "kind": "sft" },
            "data": { "source": "folder", "folder": "a" }, "learning_rate": { "rate": 1e-4 },
        });
        for (key, value) in more.as_object().expect("an object") {
            spec[key] = value.clone();
        }
        serde_json::from_value(spec).expect("a spec")
    }

    #[test]
    fn each_field_that_differs_is_named_with_both_values() {
        let before = spec(&serde_json::json!({}));
        assert!(changes(&before, &before).expect("JSON").is_empty());
        let now = spec(&serde_json::json!({
            "steps": 8, "sample_every": 2, "keep_checkpoints": 1, "base": "elsewhere", "reference": "other",
            "data": { "source": "folder", "folder": "b" }, "learning_rate": { "rate": 2e-4 }, "seed": 1,
            "memory": { "two_pass": true, "checkpoint_activations": true },
        }));
        let changes = changes(&before, &now).expect("JSON");
        let of = |decides: &dyn Fn(&super::SpecChange) -> bool| -> Vec<String> {
            changes.iter().filter(|change| decides(change)).map(|change| change.field.clone()).collect()
        };
        assert_eq!(
            of(&|change| change.is_free()),
            ["keep_checkpoints", "memory.checkpoint_activations", "sample_every", "steps"]
        );
        assert_eq!(of(&|change| change.is_place()), ["base", "data.folder"], "a new reference is no place");
        assert_eq!(of(&|change| change.is_learning_rate()), ["learning_rate.rate"]);
        let rest = changes.iter().filter(|change| !change.is_free() && !change.is_place());
        let rest: Vec<String> = rest.map(ToString::to_string).collect();
        let expected = [
            "learning_rate.rate was 0.0001 and is 0.0002",
            "memory.two_pass was false and is true",
            "reference was left out and is \"other\"",
            "seed was 0 and is 1",
        ];
        assert_eq!(rest, expected);
    }
}
