//! The fields of a form for training specs, from the JSON schema of `TrainSpec`, which is the API's.

use domain::api::{FieldGroup, FieldKind, FormField};
use domain::train::TrainSpec;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::OnceLock;
use utoipa::{PartialSchema, ToSchema};

/// The groups with the keys of a spec in their order. A test checks that every key has its place.
const GROUPS: [(&str, &[&str]); 6] = [
    ("Model", &["name", "base", "reference", "lora", "clip", "from_nothing"]),
    ("Objective", &["objective"]),
    ("Data", &["data"]),
    ("Updates", &["steps", "batch_size", "gradient_accumulation", "learning_rate", "optimizer", "seed"]),
    (
        "Checkpoints, validation and samples",
        &[
            "checkpoint_every",
            "keep_checkpoints",
            "validation_examples",
            "keep_best",
            "sample_every",
            "sample_prompts",
            "evaluate_prompts",
        ],
    ),
    (
        "More",
        &[
            "batching",
            "noise",
            "error_space",
            "caption_dropout",
            "horizontal_flip",
            "crop",
            "micro_conditioning",
            "precision",
            "memory",
            "ema_decay",
        ],
    ),
];

/// The groups without values.
pub(crate) fn form() -> &'static [FieldGroup] {
    static FORM: OnceLock<Vec<FieldGroup>> = OnceLock::new();
    FORM.get_or_init(|| {
        let schemas = Schemas::new();
        let spec = schemas.table(&to_json(&TrainSpec::schema()));
        let group = |(title, keys): (&str, &[&str])| {
            let mut fields = Vec::new();
            for key in keys {
                schemas.add(key, &spec.properties[*key], spec.required.contains(*key), true, &mut fields);
            }
            FieldGroup { title: title.to_owned(), fields }
        };
        GROUPS.map(group).into()
    })
}

fn to_json(schema: &impl serde::Serialize) -> Value {
    serde_json::to_value(schema).unwrap_or_default()
}

/// The properties of an object schema.
#[derive(Default)]
struct Table {
    properties: Map<String, Value>,
    required: BTreeSet<String>,
}

/// The schemas that a training spec refers to, by name.
struct Schemas(BTreeMap<String, Value>);

impl Schemas {
    fn new() -> Self {
        let mut named = Vec::new();
        TrainSpec::schemas(&mut named);
        Self(named.into_iter().map(|(name, schema)| (name, to_json(&schema))).collect())
    }

    /// A schema without references, and without the `null` of an optional field.
    fn resolve(&self, schema: &Value) -> Value {
        if let Some(name) = schema["$ref"].as_str().and_then(|reference| reference.rsplit('/').next()) {
            return self.0.get(name).map(|named| self.resolve(named)).unwrap_or_default();
        }
        for key in ["oneOf", "anyOf", "allOf"] {
            let parts = schema[key].as_array().into_iter().flatten();
            let parts: Vec<&Value> = parts.filter(|part| part["type"] != "null").collect();
            if let [only] = parts[..] {
                return self.resolve(only);
            }
        }
        schema.clone()
    }

    /// The properties of an object, with those of its parts.
    fn table(&self, schema: &Value) -> Table {
        let schema = self.resolve(schema);
        let mut table = Table::default();
        for part in schema["allOf"].as_array().into_iter().flatten() {
            let part = self.table(part);
            table.properties.extend(part.properties);
            table.required.extend(part.required);
        }
        table.properties.extend(schema["properties"].as_object().cloned().unwrap_or_default());
        let required = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str);
        table.required.extend(required.map(str::to_owned));
        table
    }

    /// The tables of a tagged union by their tags, and the name of the tag; none if the schema is no such union.
    fn union(&self, schema: &Value) -> Option<(String, Vec<(String, Table)>)> {
        let mut tables = Vec::new();
        let mut name = None;
        for variant in schema["oneOf"].as_array()? {
            let mut table = self.table(variant);
            let is_tag = |field: &Value| field["enum"].as_array().is_some_and(|values| values.len() == 1);
            let tag = table.properties.iter().find(|(_, field)| is_tag(field)).map(|(tag, _)| tag.clone())?;
            let value = table.properties.remove(&tag)?["enum"][0].as_str()?.to_owned();
            name = Some(tag);
            tables.push((value, table));
        }
        name.map(|name| (name, tables))
    }

    /// Adds the fields of a property. Tables below the first level are one field each.
    fn add(&self, path: &str, schema: &Value, required: bool, is_top: bool, fields: &mut Vec<FormField>) {
        let resolved = self.resolve(schema);
        let field = |kind, options| FormField {
            path: path.to_owned(),
            kind,
            help: text_of(schema, "description")
                .or_else(|| text_of(&resolved, "description"))
                .unwrap_or_default(),
            options,
            of: Vec::new(),
            tag: None,
            required,
            default: default_of(schema),
            value: String::new(),
        };
        if is_top && let Some((tag, tables)) = self.union(&resolved) {
            let options = tables.iter().map(|(value, _)| value.clone()).collect();
            let choice = FormField { path: format!("{path}.{tag}"), ..field(FieldKind::Tag, options) };
            let default = default_of(schema).and_then(|text| serde_json::from_str::<Value>(&text).ok());
            let default = default.and_then(|value| Some(json!(value.get(&tag)?).to_string()));
            fields.push(FormField { default, ..choice });
            self.add_tables(path, &format!("{path}.{tag}"), &tables, fields);
            return;
        }
        let table = self.table(&resolved);
        if is_top && !table.properties.is_empty() {
            for (name, schema, required) in ordered(&table) {
                self.add(&format!("{path}.{name}"), schema, required, false, fields);
            }
            return;
        }
        let words = |value: &Value| -> Vec<String> {
            value.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
        };
        let types = match &resolved["type"] {
            Value::String(name) => vec![name.clone()],
            several => words(several),
        };
        let is = |name: &str| types.iter().any(|kind| kind == name);
        let options = words(&resolved["enum"]);
        fields.push(if !options.is_empty() {
            field(FieldKind::Choice, options)
        } else if is("boolean") {
            field(FieldKind::Switch, options)
        } else if is("integer") {
            field(FieldKind::Integer, options)
        } else if is("number") {
            field(FieldKind::Number, options)
        } else if is("array") && self.resolve(&resolved["items"])["type"] == "string" {
            field(FieldKind::Lines, options)
        } else if is("string") {
            field(FieldKind::Text, options)
        } else {
            field(FieldKind::Json, options)
        });
    }

    /// Adds the fields of the tables of a union, each once.
    fn add_tables(&self, path: &str, tag: &str, tables: &[(String, Table)], fields: &mut Vec<FormField>) {
        for (value, table) in tables {
            for (name, schema, required) in ordered(table) {
                let path = format!("{path}.{name}");
                if let Some(known) = fields.iter_mut().find(|field| field.path == path) {
                    known.of.push(value.clone());
                    continue;
                }
                let first = fields.len();
                self.add(&path, schema, required, false, fields);
                for field in &mut fields[first..] {
                    field.of.push(value.clone());
                    field.tag = Some(tag.to_owned());
                }
            }
        }
    }
}

/// The properties of a table, required ones first.
fn ordered(table: &Table) -> Vec<(&String, &Value, bool)> {
    let is_required = |name: &String| table.required.contains(name);
    let mut all: Vec<_> = table.properties.iter().map(|(name, of)| (name, of, is_required(name))).collect();
    all.sort_by_key(|(_, _, required)| !required);
    all
}

/// A text of a schema, or of its parts.
fn text_of(schema: &Value, key: &str) -> Option<String> {
    let own = schema[key].as_str().map(str::to_owned);
    own.or_else(|| {
        let parts = ["oneOf", "allOf"].into_iter().filter_map(|name| schema[name].as_array()).flatten();
        parts.filter(|part| part["type"] != "null").find_map(|part| part[key].as_str().map(str::to_owned))
    })
}

fn default_of(schema: &Value) -> Option<String> {
    let default = schema.get("default").or_else(|| {
        let parts = ["oneOf", "allOf"].into_iter().filter_map(|name| schema[name].as_array()).flatten();
        parts.filter_map(|part| part.get("default")).next()
    });
    default.filter(|default| !default.is_null()).map(Value::to_string)
}

#[cfg(test)]
mod tests {
    use super::{GROUPS, Schemas, form, to_json};
    use domain::api::FieldKind;
    use domain::train::{Objective, TrainSpec};
    use std::collections::BTreeSet;
    use utoipa::PartialSchema;

    #[test]
    fn every_key_of_a_spec_has_its_place_in_the_form() {
        let keys = Schemas::new().table(&to_json(&TrainSpec::schema())).properties;
        let keys: BTreeSet<&str> = keys.keys().map(String::as_str).collect();
        let placed: Vec<&str> = GROUPS.iter().flat_map(|(_, keys)| keys.iter().copied()).collect();
        assert_eq!(placed.iter().copied().collect::<BTreeSet<_>>(), keys);
        assert_eq!(placed.len(), keys.len(), "a key has two places");
    }

    /// Fields of tables that are not chosen are hidden without JavaScript.
    #[test]
    fn the_style_hides_the_fields_of_every_other_table() {
        let style = include_str!("../../../static/style.css");
        for option in
            form().iter().flat_map(|group| &group.fields).filter(|field| field.kind == FieldKind::Tag)
        {
            for value in &option.options {
                let rule =
                    format!("option[value=\"{value}\"]:checked) [data-of]:not([data-of~=\"{value}\"])");
                assert!(style.contains(&rule), "no rule for {} = {value:?}", option.path);
            }
        }
    }

    #[test]
    fn fields_have_kinds_choices_and_explanations() {
        let fields: Vec<_> = form().iter().flat_map(|group| &group.fields).collect();
        let field = |path: &str| {
            *fields.iter().find(|field| field.path == path).unwrap_or_else(|| panic!("no {path}"))
        };
        assert_eq!(field("objective.kind").options, Objective::KINDS);
        assert_eq!(field("objective.tau").of, ["diff_contrast", "rpo"]);
        assert_eq!(field("objective.tau").tag.as_deref(), Some("objective.kind"));
        for (path, kind) in [
            ("name", FieldKind::Text),
            ("steps", FieldKind::Integer),
            ("objective.beta", FieldKind::Number),
            ("objective.kind", FieldKind::Tag),
            ("data.set", FieldKind::Choice),
            ("data.prompt_filter", FieldKind::Json),
            ("sample_prompts", FieldKind::Lines),
            ("keep_best", FieldKind::Switch),
            ("memory.two_pass", FieldKind::Switch),
            ("learning_rate.schedule", FieldKind::Choice),
            ("lora.rank", FieldKind::Integer),
            ("lora.targets", FieldKind::Lines),
        ] {
            assert_eq!(field(path).kind, kind, "{path}");
        }
        assert_eq!(field("caption_dropout").default.as_deref(), Some("0.2"));
        assert_eq!(field("optimizer.kind").default.as_deref(), Some("\"adam_w\""));
        let silent: Vec<&str> =
            fields.iter().filter(|field| field.help.is_empty()).map(|field| field.path.as_str()).collect();
        assert!(silent.is_empty(), "without an explanation: {silent:?}");
    }
}
