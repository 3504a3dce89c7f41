//! Schemas of the HTTP API: types, fields and enum values.

use leptos::prelude::*;
use serde_json::Value;

/// A named schema, folded: its enum values, its variants or its fields.
pub(crate) fn schema(name: &str, schema: &Value) -> impl IntoView + use<> {
    let description = schema["description"].as_str().unwrap_or_default();
    let values = schema["enum"].as_array().map(|values| view! { <p>"One of " {words(values)}</p> });
    let variants = schema["oneOf"].as_array().into_iter().flatten().map(variant).collect_view();
    view! {
        <details class="operation" id=name.to_owned()>
            <summary><code>{name.to_owned()}</code><span class="soft">{inline_markdown(description)}</span></summary>
            {values}
            {variants}
            {field_table(fields(schema))}
        </details>
    }
}

/// One variant of a tagged union: its tag, its description and its other fields.
fn variant(variant: &Value) -> impl IntoView + use<> {
    let (tags, others): (Vec<_>, Vec<_>) = fields(variant)
        .into_iter()
        .partition(|field| field.schema["enum"].as_array().is_some_and(|e| e.len() == 1));
    let tag = |field: &Field| {
        let value = field.schema["enum"][0].as_str().unwrap_or_default();
        view! { <code>{format!("\"{}\": \"{value}\"", field.name)}</code> " " }
    };
    let description = variant["description"].as_str().unwrap_or_default();
    view! {
        <h3>{tags.iter().map(tag).collect_view()}</h3>
        <p>{inline_markdown(description)} " " {type_of(variant)}</p>
        {field_table(others)}
    }
}

/// A field of an object schema.
struct Field {
    name: String,
    schema: Value,
    required: bool,
}

/// The fields of an object schema, including those of its `allOf` parts.
fn fields(schema: &Value) -> Vec<Field> {
    let required = |name: &str| {
        schema["required"].as_array().is_some_and(|required| required.iter().any(|field| field == name))
    };
    let own = schema["properties"].as_object().into_iter().flatten().map(|(name, field)| Field {
        name: name.clone(),
        schema: field.clone(),
        required: required(name),
    });
    let parts = schema["allOf"].as_array().into_iter().flatten().flat_map(fields);
    own.chain(parts).collect()
}

fn field_table(fields: Vec<Field>) -> Option<impl IntoView> {
    let rows: Vec<_> = fields
        .into_iter()
        .map(|Field { name, schema, required }| {
            let default = match &schema["default"] {
                Value::Null => None,
                value => Some(view! { <div class="soft">"default " <code>{value.to_string()}</code></div> }),
            };
            let note = if required { "required" } else { "" };
            view! {
                <tr>
                    <td><code>{name}</code>" "<span class="soft">{note}</span></td>
                    <td>{type_of(&schema)}{default}</td>
                    <td>{inline_markdown(schema["description"].as_str().unwrap_or_default())}</td>
                </tr>
            }
        })
        .collect();
    (!rows.is_empty()).then(|| view! { <table class="plain-table docs-table"><tbody>{rows}</tbody></table> })
}

/// The type of a schema: a link to a named schema, or the JSON type.
pub(crate) fn type_of(schema: &Value) -> AnyView {
    if let Some(name) = reference(schema) {
        return view! { <a href=format!("#{name}")><code>{name.to_owned()}</code></a> }.into_any();
    }
    if schema["type"] == "array" {
        return view! { "list of " {type_of(&schema["items"])} }.into_any();
    }
    for key in ["oneOf", "anyOf", "allOf"] {
        if let Some(parts) = schema[key].as_array() {
            let parts = parts
                .iter()
                .filter(|part| {
                    part["type"] != "null"
                        && part["maxLength"] != 0
                        && (reference(part).is_some() || key != "allOf")
                })
                .map(|part| view! { {type_of(part)} " " });
            return parts.collect_view().into_any();
        }
    }
    let name = match &schema["type"] {
        Value::Array(types) => types.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" or "),
        name => name.as_str().unwrap_or_default().to_owned(),
    };
    view! { <code>{name}</code> }.into_any()
}

/// The values of an enum, and the default where the schema states one.
pub(crate) fn values_of(schema: &Value, schemas: &Value) -> impl IntoView + use<> {
    let values = named_schema(schema, schemas).unwrap_or(schema)["enum"].as_array();
    let values = values.map(|values| view! { <div class="soft">"One of " {words(values)}</div> });
    let default = Some(&schema["default"]).filter(|default| !default.is_null());
    let default = default
        .map(|default| view! { <div class="soft">"Default " <code>{default.to_string()}</code></div> });
    view! { {values}{default} }
}

fn words(values: &[Value]) -> impl IntoView + use<> {
    let words = values.iter().filter_map(Value::as_str);
    let words = words.enumerate().map(|(index, word)| {
        let separator = if index == 0 { "" } else { ", " };
        view! { {separator}<code>{word.to_owned()}</code> }
    });
    words.collect_view()
}

/// The schema that a `$ref` names, also where the `$ref` is the non-null part of an optional value.
pub(crate) fn named_schema<'a>(schema: &Value, schemas: &'a Value) -> Option<&'a Value> {
    let optional = || schema["oneOf"].as_array()?.iter().find_map(reference);
    reference(schema).or_else(optional).map(|name| &schemas[name])
}

fn reference(schema: &Value) -> Option<&str> {
    schema["$ref"].as_str()?.rsplit('/').next()
}

/// The Markdown of descriptions: code between backticks, bold text between double asterisks.
pub(crate) fn inline_markdown(text: &str) -> impl IntoView + use<> {
    let parts = text.split('`').enumerate().map(|(index, part)| {
        if index % 2 == 1 {
            view! { <code>{part.to_owned()}</code> }.into_any()
        } else {
            bold(part).into_any()
        }
    });
    parts.collect_view()
}

fn bold(text: &str) -> impl IntoView + use<> {
    let parts = text.split("**").enumerate().map(|(index, part)| {
        let part = part.to_owned();
        if index % 2 == 1 { view! { <b>{part}</b> }.into_any() } else { part.into_any() }
    });
    parts.collect_view()
}
