//! docs/training.md against the types: every field, its type, its default and the values of every choice.
//!
//! Fields, types and choices come from the JSON schema of [`TrainSpec`]. Defaults come from serde: a documented default is
//! right if writing it into a spec changes nothing.

use domain::train::TrainSpec;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use utoipa::{PartialSchema, ToSchema};

/// Values of required fields, for specs that leave out everything else.
const REQUIRED: [(&str, &str); 13] = [
    ("base", "\"shapes\""),
    ("batch_size", "4"),
    ("beta", "2000.0"),
    ("count", "64"),
    ("folder", "\"sets/a\""),
    ("max", "5.0"),
    ("metric", "\"clip_score\""),
    ("min", "0.5"),
    ("name", "\"a\""),
    ("prompts", r#"{"source": "list", "prompts": ["a cat"]}"#),
    ("rate", "1e-5"),
    ("steps", "10"),
    ("tau", "0.1"),
];

/// Tables that docs/evaluate.md describes.
const ELSEWHERE: [&str; 2] = ["data.prompts", "data.reward"];

/// What a table of fields describes: a place in a spec, such as `data.prompt_filter` (empty for the top level), and the
/// tag that chooses among the tables of that place, such as `source = "shapes"`.
type Section = (String, Option<String>);

/// A section, as the schema has it.
struct Fields {
    properties: Map<String, Value>,
    required: BTreeSet<String>,
    /// A spec in which this section holds its required fields only.
    spec: Value,
}

/// The cells of a field's row that the tests read.
struct Row {
    values: String,
    default: String,
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
        if let Some(reference) = schema["$ref"].as_str() {
            let name = reference.rsplit('/').next().unwrap_or_default();
            return self.resolve(&self.0[name]);
        }
        for key in ["oneOf", "anyOf", "allOf"] {
            let parts = schema[key].as_array().into_iter().flatten();
            let parts: Vec<&Value> = parts.filter(|part| part["type"] != "null").collect();
            match parts[..] {
                [] => {}
                [only] => return self.resolve(only),
                _ if key == "allOf" => {
                    return parts.into_iter().map(|part| self.resolve(part)).fold(json!({}), merged);
                }
                _ => {}
            }
        }
        schema.clone()
    }

    /// The tables of a tagged union, or the type itself.
    fn alternatives(&self, schema: &Value) -> Vec<Value> {
        let schema = self.resolve(schema);
        match schema["oneOf"].as_array() {
            Some(alternatives) => alternatives.iter().map(|one| self.resolve(one)).collect(),
            None => vec![schema],
        }
    }

    /// A value that holds required fields only; of a union, of its first table.
    fn minimal(&self, schema: &Value, field: &str) -> Value {
        if let Some((_, value)) = REQUIRED.iter().find(|(name, _)| *name == field) {
            return serde_json::from_str(value).expect("REQUIRED holds JSON");
        }
        let schema = self.alternatives(schema).swap_remove(0);
        if let Some(choices) = schema["enum"].as_array() {
            return choices[0].clone();
        }
        let properties = &schema["properties"];
        assert!(properties.is_object(), "{field} is a required field: give it a value in REQUIRED");
        let minimal = |name: String| (name.clone(), self.minimal(&properties[&name], &name));
        required(&schema).into_iter().map(minimal).collect::<Map<_, _>>().into()
    }

    /// Collects the sections at `place` and below. `spec` is a spec in which the place can be filled in.
    fn sections(&self, place: &str, schema: &Value, spec: &Value, all: &mut BTreeMap<Section, Fields>) {
        for table in self.alternatives(schema) {
            let mut properties = table["properties"].as_object().expect("a table").clone();
            let mut required = required(&table);
            let mut spec = spec.clone();
            *at(&mut spec, place) = self.minimal(&table, place);
            let is_tag = |field: &Value| field["enum"].as_array().is_some_and(|values| values.len() == 1);
            let tag = properties.iter().find(|(_, field)| is_tag(field));
            let tag = tag.map(|(name, field)| (name.clone(), format!("{name} = {}", field["enum"][0])));
            if let Some((name, _)) = &tag {
                properties.remove(name);
                required.remove(name);
            }
            for (name, field) in &properties {
                if self.word(field) == "table" {
                    let below = if place.is_empty() { name.clone() } else { format!("{place}.{name}") };
                    if !ELSEWHERE.contains(&below.as_str()) {
                        self.sections(&below, field, &spec, all);
                    }
                }
            }
            let section = (place.to_owned(), tag.map(|(_, text)| text));
            all.insert(section, Fields { properties, required, spec });
        }
    }

    /// The word with which the page's column of values begins.
    fn word(&self, field: &Value) -> &'static str {
        let field = self.resolve(field);
        let kind = match &field["type"] {
            // An optional field: its type, and null.
            Value::Array(kinds) => kinds.iter().find(|kind| *kind != "null").cloned().unwrap_or_default(),
            kind => kind.clone(),
        };
        match kind.as_str() {
            Some("boolean") => "boolean",
            Some("integer") => "integer",
            Some("number") => "number",
            Some("array") => "list",
            Some("string") if field["enum"].is_array() => "one of",
            Some("string") => "string",
            _ => "table",
        }
    }
}

fn to_json(schema: &impl serde::Serialize) -> Value {
    serde_json::to_value(schema).expect("a schema is JSON")
}

/// Two tables as one: `allOf` of a struct and its tag.
fn merged(mut into: Value, from: Value) -> Value {
    for key in ["properties", "required"] {
        match (&mut into[key], &from[key]) {
            (Value::Object(fields), Value::Object(more)) => fields.extend(more.clone()),
            (Value::Array(names), Value::Array(more)) => names.extend(more.clone()),
            (absent @ Value::Null, more) => *absent = more.clone(),
            _ => {}
        }
    }
    into
}

fn required(schema: &Value) -> BTreeSet<String> {
    let names = schema["required"].as_array().into_iter().flatten();
    names.filter_map(Value::as_str).map(str::to_owned).collect()
}

/// The value at a place of a spec.
fn at<'a>(spec: &'a mut Value, place: &str) -> &'a mut Value {
    place.split('.').filter(|part| !part.is_empty()).fold(spec, |value, part| &mut value[part])
}

fn schema_sections(schemas: &Schemas) -> BTreeMap<Section, Fields> {
    let top = to_json(&TrainSpec::schema());
    let mut all = BTreeMap::new();
    schemas.sections("", &top, &schemas.minimal(&top, ""), &mut all);
    all
}

fn page() -> String {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/training.md");
    std::fs::read_to_string(&file).unwrap_or_else(|e| panic!("{}: {e}", file.display()))
}

/// The sections of the page: the tables whose first column is `field`, by the headings above them. A heading with a tag
/// is a section even without a table.
fn page_sections(page: &str) -> BTreeMap<Section, BTreeMap<String, Row>> {
    let mut all: BTreeMap<Section, BTreeMap<String, Row>> = BTreeMap::new();
    let mut section = None;
    let mut lists_fields = false;
    for line in page.lines() {
        if let Some(heading) = line.strip_prefix('#') {
            let place = section.map_or(String::new(), |(place, _): Section| place);
            section = match heading.split('`').nth(1) {
                Some(code) if code.starts_with('[') => Some((code.trim_matches(['[', ']']).to_owned(), None)),
                Some(code) if code.contains(" = ") => Some((place, Some(code.to_owned()))),
                _ => heading.ends_with("Top level").then(|| (String::new(), None)),
            };
            if let Some(tagged @ (_, Some(_))) = &section {
                all.entry(tagged.clone()).or_default();
            }
        }
        let cells: Vec<&str> = line.trim_matches('|').split(" | ").map(str::trim).collect();
        lists_fields = line.starts_with('|') && (lists_fields || cells[0] == "field");
        if lists_fields && cells[0].starts_with('`') {
            let [field, values, default, effect, change] = cells[..] else {
                panic!("not five cells: {line}")
            };
            assert!(!effect.is_empty() && !change.is_empty(), "an empty cell: {line}");
            let row = Row { values: values.to_owned(), default: default.to_owned() };
            let section = section.clone().unwrap_or_else(|| panic!("under no heading of a place: {line}"));
            let twice = all.entry(section).or_default().insert(field.trim_matches('`').to_owned(), row);
            assert!(twice.is_none(), "a second time: {line}");
        }
    }
    all
}

/// Calls `check` with every documented field: its section's place and fields, its name, and its row.
fn for_each_field(schemas: &Schemas, check: impl Fn(&str, &Fields, &str, &Row)) {
    let page = page_sections(&page());
    for (section, fields) in schema_sections(schemas) {
        for (name, row) in page.get(&section).into_iter().flatten() {
            if fields.properties.contains_key(name) {
                check(&section.0, &fields, name, row);
            }
        }
    }
}

fn parse(spec: Value) -> Result<TrainSpec, serde_json::Error> {
    serde_json::from_value(spec)
}

/// The section's spec with one more field.
fn with(fields: &Fields, place: &str, name: &str, value: &Value) -> Result<TrainSpec, serde_json::Error> {
    let mut spec = fields.spec.clone();
    at(&mut spec, place)[name] = value.clone();
    parse(spec)
}

/// The contents of a cell's code spans.
fn code(cell: &str) -> impl Iterator<Item = &str> {
    cell.split('`').skip(1).step_by(2)
}

#[test]
fn the_page_lists_every_field_and_no_other() {
    let name = |(place, tag): &Section, field: &str| {
        format!("{place}{} {field}", tag.as_ref().map_or(String::new(), |tag| format!(" ({tag})")))
    };
    // A section without fields counts as well.
    let names = |section: &Section, fields: Vec<&String>| -> Vec<String> {
        std::iter::once("").chain(fields.into_iter().map(String::as_str)).map(|f| name(section, f)).collect()
    };
    let (schema, page) = (schema_sections(&Schemas::new()), page_sections(&page()));
    let right =
        schema.iter().flat_map(|(section, fields)| names(section, fields.properties.keys().collect()));
    let right: BTreeSet<String> = right.collect();
    let found = page.iter().flat_map(|(section, rows)| names(section, rows.keys().collect()));
    let found: BTreeSet<String> = found.collect();
    let missing: Vec<_> = right.difference(&found).collect();
    let unknown: Vec<_> = found.difference(&right).collect();
    assert!(missing.is_empty() && unknown.is_empty(), "missing: {missing:?}; not in the types: {unknown:?}");
}

#[test]
fn types_and_choices_are_those_of_the_schema() {
    let schemas = Schemas::new();
    for_each_field(&schemas, |place, fields, name, row| {
        let field = &fields.properties[name];
        let word = schemas.word(field);
        assert!(row.values.starts_with(word), "{place} {name}: {:?} does not begin with {word}", row.values);
        if let Some(choices) = schemas.resolve(field)["enum"].as_array() {
            let found: BTreeSet<String> = code(&row.values).map(str::to_owned).collect();
            let right: BTreeSet<String> = choices.iter().map(Value::to_string).collect();
            assert_eq!(found, right, "{place} {name}");
        }
    });
}

#[test]
fn defaults_are_what_leaving_a_field_out_means() {
    for_each_field(&Schemas::new(), |place, fields, name, row| {
        let what = format!("{place} {name} in {}", fields.spec);
        let absent = parse(fields.spec.clone()).unwrap_or_else(|e| panic!("{what}: {e}"));
        let is_required = row.default == "required";
        assert_eq!(is_required, fields.required.contains(name), "{what}: required or not");
        if is_required {
            let mut spec = fields.spec.clone();
            at(&mut spec, place)
                .as_object_mut()
                .and_then(|table| table.remove(name))
                .expect("a required field");
            assert!(parse(spec).is_err(), "{what}: can be left out");
            return;
        }
        let default = if row.default.starts_with("none") {
            Value::Null
        } else {
            let text =
                code(&row.default).next().unwrap_or_else(|| panic!("{what}: no `VALUE`, none or required"));
            let table: toml::Table = toml::from_str(&format!("value = {text}")).expect("a TOML value");
            to_json(&table["value"])
        };
        let present =
            with(fields, place, name, &default).unwrap_or_else(|e| panic!("{what}: {default}: {e}"));
        assert_eq!(present, absent, "{what}: {default} is not the default");
        if let Some(stated) = fields.properties[name].get("default") {
            let stated =
                with(fields, place, name, stated).unwrap_or_else(|e| panic!("{what}: {stated}: {e}"));
            assert_eq!(stated, absent, "{what}: the schema states another default");
        }
    });
}

#[test]
fn examples_are_valid_specs() {
    let page = page();
    let examples = page.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next());
    let examples: Vec<&str> = examples.collect();
    assert!(!examples.is_empty());
    for example in examples {
        let spec: TrainSpec = toml::from_str(example).unwrap_or_else(|e| panic!("{example}\n{e}"));
        spec.validate().unwrap_or_else(|e| panic!("{example}\n{e}"));
    }
}
