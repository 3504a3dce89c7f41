//! A training spec as the values of a form's fields, and back.

use crate::routes::spec_form::form;
use domain::api::{FieldKind, FormField};
use domain::problem::Problems;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// The values of all fields of a spec that has them.
pub(crate) fn values_of(spec: &Value) -> BTreeMap<String, String> {
    let fields = form().iter().flat_map(|group| &group.fields);
    fields.filter_map(|field| Some((field.path.clone(), text(field.kind, at(spec, &field.path)?)))).collect()
}

/// The value at a path.
fn at<'a>(spec: &'a Value, path: &str) -> Option<&'a Value> {
    path.split('.').try_fold(spec, |value, key| value.get(key)).filter(|value| !value.is_null())
}

/// A value as the field shows it. What the field cannot show is JSON, so that it is refused by name and not lost.
fn text(kind: FieldKind, value: &Value) -> String {
    match (kind, value) {
        (FieldKind::Switch, Value::Bool(false)) => String::new(),
        (FieldKind::Json, value) => value.to_string(),
        (FieldKind::Lines, Value::Array(items)) if items.iter().all(Value::is_string) => {
            items.iter().filter_map(Value::as_str).collect::<Vec<_>>().join("\n")
        }
        (_, Value::String(text)) => text.clone(),
        (_, value) => value.to_string(),
    }
}

/// The spec that the values stand for, and the values that cannot be read. Empty values are left out, and so are those of
/// tables that the spec does not choose.
pub(crate) fn spec_of(values: &BTreeMap<String, String>) -> (Value, Problems) {
    let (mut spec, mut problems) = (Value::Object(Map::new()), Problems::default());
    for field in form().iter().flat_map(|group| &group.fields) {
        let text = values.get(&field.path).map(String::as_str).unwrap_or_default();
        if text.trim().is_empty() || !exists(field, values) {
            continue;
        }
        match read(field, text) {
            Ok(value) => put(&mut spec, &field.path, value),
            Err(problem) => problems.add(&field.path, problem),
        }
    }
    let known =
        |path: &String| form().iter().flat_map(|group| &group.fields).any(|field| field.path == *path);
    for path in values.keys().filter(|path| !known(path)) {
        problems.add(path, "is not a field of a training spec: remove it");
    }
    (spec, problems)
}

/// Whether the field belongs to the table that the values choose, or to the default's.
fn exists(field: &FormField, values: &BTreeMap<String, String>) -> bool {
    let Some(tag) = &field.tag else { return true };
    let chosen = values.get(tag).map(|text| text.trim()).filter(|text| !text.is_empty());
    chosen.is_none_or(|chosen| field.of.iter().any(|of| of == chosen))
}

fn read(field: &FormField, text: &str) -> Result<Value, String> {
    let trimmed = text.trim();
    match field.kind {
        FieldKind::Text | FieldKind::Choice | FieldKind::Tag => Ok(trimmed.into()),
        FieldKind::Integer => match trimmed.parse::<i64>() {
            Ok(number) => Ok(number.into()),
            Err(_) => Err(format!("{trimmed:?} is not a whole number")),
        },
        FieldKind::Number => match trimmed.parse::<f64>() {
            Ok(number) if number.is_finite() => Ok(number.into()),
            _ => Err(format!("{trimmed:?} is not a number")),
        },
        FieldKind::Switch => match trimmed {
            "true" => Ok(true.into()),
            "false" => Ok(false.into()),
            _ => Err(format!("{trimmed:?} is neither true nor false")),
        },
        FieldKind::Lines => {
            let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
            Ok(lines.map(Value::from).collect::<Vec<_>>().into())
        }
        FieldKind::Json => serde_json::from_str(trimmed).map_err(|problem| format!("is not JSON: {problem}")),
    }
}

/// Sets the value at a path, and makes the tables on the way.
fn put(spec: &mut Value, path: &str, value: Value) {
    let mut place = spec;
    for key in path.split('.') {
        if !place.is_object() {
            *place = Value::Object(Map::new());
        }
        place = &mut place[key];
    }
    *place = value;
}

#[cfg(test)]
mod tests {
    use super::{spec_of, values_of};
    use domain::train::TrainSpec;
    use serde_json::json;

    #[test]
    fn a_spec_is_read_back_from_the_values_of_its_fields() {
        let spec = json!({
            "name": "a", "base": "shapes", "lora": { "rank": 8, "targets": ["to_q", "to_v"] },
            "objective": { "kind": "diff_contrast", "beta": 2000.0, "tau": 0.1 },
            "data": { "source": "folder", "folder": "sets/a", "prompt_filter": { "terms": ["b"] } },
            "steps": 10, "batch_size": 4, "learning_rate": { "rate": 1e-5, "schedule": "cosine" },
            "optimizer": { "kind": "adafactor" }, "memory": { "two_pass": true }, "ema_decay": 0.999,
            "sample_every": 5, "sample_prompts": ["a cat", "a dog"],
        });
        let (read, problems) = spec_of(&values_of(&spec));
        assert_eq!(problems.0, []);
        assert_eq!(read, spec);
        // With every default written out, it is the same spec.
        let typed: TrainSpec = serde_json::from_value(spec).expect("a spec");
        let (read, problems) = spec_of(&values_of(&serde_json::to_value(&typed).expect("JSON")));
        assert_eq!(problems.0, []);
        assert_eq!(serde_json::from_value::<TrainSpec>(read).expect("a spec"), typed);
    }

    #[test]
    fn fields_of_another_kind_are_left_out_and_unreadable_ones_are_named() {
        let values = [
            ("objective.kind", "sft"),
            ("objective.tau", "0.1"),
            ("steps", "many"),
            ("caption_dropout", "NaN"),
            ("data.prompt_filter", "{"),
            ("colour", "red"),
            ("seed", " 7 "),
        ];
        let values = values.map(|(path, text)| (path.to_owned(), text.to_owned())).into();
        let (spec, problems) = spec_of(&values);
        assert_eq!(spec, json!({ "objective": { "kind": "sft" }, "seed": 7 }));
        let fields: Vec<&str> = problems.0.iter().map(|problem| problem.field.as_str()).collect();
        assert_eq!(fields, ["data.prompt_filter", "steps", "caption_dropout", "colour"]);
    }
}
