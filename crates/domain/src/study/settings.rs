//! Settings of training specs by dotted key, as studies write them.

use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// Settings of a training spec by dotted key: `batch_size`, `learning_rate.rate`, `objective.beta`. A value may be a
/// table, whose keys are then added to those that exist.
pub type Settings = BTreeMap<String, Value>;

/// Writes settings into a spec. Later ones replace earlier ones key by key.
pub(super) fn apply(spec: &mut Map<String, Value>, settings: &Settings) {
    for (key, value) in settings {
        set(spec, key, value);
    }
}

/// Writes one setting. A value that is not a table is replaced by one if the key goes below it.
pub(super) fn set(spec: &mut Map<String, Value>, key: &str, value: &Value) {
    let (first, rest) = key.split_once('.').map_or((key, None), |(first, rest)| (first, Some(rest)));
    if rest.is_none() && !value.is_object() {
        spec.insert(first.to_owned(), value.clone());
        return;
    }
    let entry = spec.entry(first).or_insert(Value::Null);
    if !entry.is_object() {
        *entry = Value::Object(Map::new());
    }
    let Value::Object(table) = entry else { return };
    match (rest, value) {
        (Some(rest), _) => set(table, rest, value),
        (None, Value::Object(entries)) => entries.iter().for_each(|(key, value)| set(table, key, value)),
        (None, _) => {}
    }
}

/// Every combination of one value per key, in the order of the keys and values; the last key changes fastest.
pub(super) fn grid(search: &BTreeMap<String, Vec<Value>>) -> Vec<Settings> {
    let mut combinations = vec![Settings::new()];
    for (key, values) in search {
        let extended = combinations.iter().flat_map(|settings| {
            values.iter().map(move |value| {
                let mut settings = settings.clone();
                settings.insert(key.clone(), value.clone());
                settings
            })
        });
        combinations = extended.collect();
    }
    combinations
}

/// A value as text for people: without the quotes of JSON.
pub(super) fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::{Settings, apply, grid};
    use serde_json::{Map, Value, json};

    fn settings(value: Value) -> Settings {
        serde_json::from_value(value).expect("settings")
    }

    #[test]
    fn dotted_keys_and_tables_mean_the_same_and_later_settings_win() {
        let mut spec = Map::new();
        apply(
            &mut spec,
            &settings(json!({ "learning_rate": { "rate": 1e-4, "warmup_steps": 5 }, "seed": 1 })),
        );
        apply(&mut spec, &settings(json!({ "learning_rate.rate": 2e-4, "objective.kind": "sft" })));
        let expected = json!({
            "learning_rate": { "rate": 2e-4, "warmup_steps": 5 }, "seed": 1, "objective": { "kind": "sft" }
        });
        assert_eq!(Value::Object(spec), expected);
    }

    #[test]
    fn a_grid_has_every_combination_once() {
        let search = serde_json::from_value(json!({ "b": [1, 2], "a": ["x", "y", "z"] })).expect("a search");
        let all = grid(&search);
        assert_eq!(all.len(), 6);
        assert_eq!(all[0], settings(json!({ "a": "x", "b": 1 })));
        assert_eq!(all[1], settings(json!({ "a": "x", "b": 2 })));
        assert_eq!(all[5], settings(json!({ "a": "z", "b": 2 })));
        assert_eq!(grid(&Default::default()), [Settings::new()]);
    }
}
