//! The HTTP API for people, drawn from the same document that machines read.

use crate::api;
use crate::pages::{Head, loaded};
use leptos::prelude::*;
use serde_json::{Map, Value};

/// Every operation with its parameters, body and answers.
#[component]
pub(crate) fn Docs() -> impl IntoView {
    view! {
        <Head title="HTTP API">
            <p class="lead">
                "Everything these pages do, a script can do. Machines read "
                <a href=domain::api::path::OPENAPI>"the OpenAPI document"</a> "; this page shows the same."
            </p>
        </Head>
        {loaded(api::openapi(), document)}
    }
}

fn document(document: Value) -> impl IntoView {
    let schemas = document["components"]["schemas"].as_object().cloned().unwrap_or_default();
    let operations = document["paths"]
        .as_object()
        .into_iter()
        .flatten()
        .flat_map(|(path, methods)| {
            methods.as_object().into_iter().flatten().map(move |(method, op)| (path, method, op))
        })
        .map(|(path, method, operation)| entry(path, method, operation))
        .collect_view();
    let schemas = schemas.iter().map(|(name, schema)| shape(name, schema)).collect_view();
    view! {
        <div class="prose">
            <p>"Errors are JSON everywhere: " <code>"{\"error\": {\"code\", \"message\", \"fields\": [{\"field\", \"message\"}]}}"</code> ". The message says what to do."</p>
        </div>
        <section aria-labelledby="operations"><h2 id="operations">"Operations"</h2>{operations}</section>
        <section aria-labelledby="bodies"><h2 id="bodies">"Bodies"</h2>{schemas}</section>
    }
}

fn entry(path: &str, method: &str, operation: &Value) -> impl IntoView + use<> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let parameters: Vec<_> = operation["parameters"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|parameter| {
            let note = if parameter["required"].as_bool() == Some(true) { "required" } else { "optional" };
            view! {
                <tr>
                    <td><code>{text(&parameter["name"])}</code></td>
                    <td class="soft">{text(&parameter["in"])}", "{note}</td>
                    <td>{text(&parameter["description"])}</td>
                </tr>
            }
        })
        .collect();
    let body = operation["requestBody"]["content"]
        .as_object()
        .and_then(|content| content.iter().next())
        .map(|(kind, content)| view! { <p>"Body: " {reference(&content["schema"])} " " <span class="soft">{kind.clone()}</span></p> });
    let answers = operation["responses"]
        .as_object()
        .into_iter()
        .flatten()
        .map(|(status, answer)| {
            let kinds = answer["content"]
                .as_object()
                .into_iter()
                .flatten()
                .map(|(kind, content)| view! { " " {reference(&content["schema"])} " " <span class="soft">{kind.clone()}</span> })
                .collect_view();
            view! { <li><b class="figure">{status.clone()}</b>" "{text(&answer["description"])}{kinds}</li> }
        })
        .collect_view();
    let summary = text(&operation["summary"]);
    view! {
        <details class="operation">
            <summary>
                <span class=format!("method {method}")>{method.to_uppercase()}</span>
                <code>{path.to_owned()}</code>
                <span class="soft">{summary}</span>
            </summary>
            <p>{text(&operation["description"])}</p>
            {(!parameters.is_empty()).then(|| view! { <table class="plain-table"><tbody>{parameters}</tbody></table> })}
            {body}
            <ul class="plain">{answers}</ul>
        </details>
    }
}

/// A link to a named schema, or the type itself.
fn reference(schema: &Value) -> AnyView {
    if let Some(name) = schema["$ref"].as_str().and_then(|reference| reference.rsplit('/').next()) {
        return view! { <a href=format!("#{name}")><code>{name.to_owned()}</code></a> }.into_any();
    }
    if schema["type"] == "array" {
        return view! { "list of " {reference(&schema["items"])} }.into_any();
    }
    for key in ["oneOf", "anyOf", "allOf"] {
        if let Some(parts) = schema[key].as_array() {
            let parts = parts
                .iter()
                .filter(|part| part["type"] != "null")
                .map(|part| view! { {reference(part)} " " });
            return parts.collect_view().into_any();
        }
    }
    let kind = match &schema["type"] {
        Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" or "),
        kind => kind.as_str().unwrap_or("").to_owned(),
    };
    view! { <code>{kind}</code> }.into_any()
}

fn shape(name: &str, schema: &Value) -> impl IntoView + use<> {
    let rows = fields(schema).iter().map(|(field, schema, required)| {
        view! {
            <tr>
                <td><code>{field.clone()}</code>{(!required).then(|| view! { <span class="soft">" optional"</span> })}</td>
                <td>{reference(schema)}</td>
                <td>{schema["description"].as_str().unwrap_or_default().to_owned()}</td>
            </tr>
        }
    }).collect_view();
    let values = schema["enum"].as_array().map(|values| {
        let values =
            values.iter().filter_map(Value::as_str).map(str::to_owned).collect::<Vec<_>>().join(", ");
        view! { <p>"One of: " <code>{values}</code></p> }
    });
    let variants = schema["oneOf"].as_array().map(|variants| {
        let variants = variants.iter().map(|variant| {
            let fields = fields(variant).into_iter().map(|(field, schema, _)| {
                let value = schema["enum"][0].as_str().map(|value| format!(": {value}")).unwrap_or_default();
                format!("{field}{value}")
            });
            let text = fields.collect::<Vec<_>>().join(", ");
            view! { <li><code>{text}</code>" "{variant["description"].as_str().unwrap_or_default().to_owned()}</li> }
        });
        view! { <ul class="plain">{variants.collect_view()}</ul> }
    });
    view! {
        <details class="operation" id=name.to_owned()>
            <summary><code>{name.to_owned()}</code><span class="soft">{schema["description"].as_str().unwrap_or_default().to_owned()}</span></summary>
            {values}
            {variants}
            <table class="plain-table"><tbody>{rows}</tbody></table>
        </details>
    }
}

/// Fields of an object schema, those of its `allOf` parts among them, with whether they are required.
fn fields(schema: &Value) -> Vec<(String, Value, bool)> {
    let none = Map::new();
    let required = schema["required"].as_array().cloned().unwrap_or_default();
    let own =
        schema["properties"].as_object().unwrap_or(&none).iter().map(|(name, field)| {
            (name.clone(), field.clone(), required.iter().any(|required| required == name))
        });
    let parts = schema["allOf"].as_array().into_iter().flatten().flat_map(fields);
    own.chain(parts).collect()
}
