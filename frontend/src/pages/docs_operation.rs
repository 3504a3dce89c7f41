//! One operation of the HTTP API: parameters, request body and responses.

use crate::pages::docs_schema::{inline_markdown, named_schema, type_of, values_of};
use leptos::prelude::*;
use serde_json::Value;

/// An operation, folded. `schemas` are the named schemas of the document.
pub(crate) fn operation(
    path: &str,
    method: &str,
    operation: &Value,
    schemas: &Value,
) -> impl IntoView + use<> {
    let text = |name: &str| operation[name].as_str().unwrap_or_default().to_owned();
    let paragraphs = text("description");
    let description = paragraphs
        .split("\n\n")
        .filter(|text| !text.is_empty())
        .map(|text| view! { <p>{inline_markdown(text)}</p> });
    view! {
        <details class="operation" id=text("operationId")>
            <summary>
                <span class=format!("method {method}")>{method.to_uppercase()}</span>
                <code>{path.to_owned()}</code>
                <span class="soft">{text("summary")}</span>
            </summary>
            {description.collect_view()}
            {parameters(&operation["parameters"], schemas)}
            {request_body(&operation["requestBody"], schemas)}
            {responses(&operation["responses"])}
        </details>
    }
}

fn parameters(parameters: &Value, schemas: &Value) -> Option<impl IntoView + use<>> {
    let parameters = parameters.as_array().filter(|parameters| !parameters.is_empty())?;
    let rows = parameters
        .iter()
        .map(|parameter| {
            let required = parameter["required"].as_bool() == Some(true);
            let note = if required { ", required" } else { "" };
            let place = parameter["in"].as_str().unwrap_or_default().to_owned();
            let name = parameter["name"].as_str().unwrap_or_default().to_owned();
            view! {
                <tr>
                    <td><code>{name}</code>" "<span class="soft">{place}{note}</span></td>
                    <td>{type_of(&parameter["schema"])}</td>
                    <td>
                        {inline_markdown(parameter["description"].as_str().unwrap_or_default())}
                        {values_of(&parameter["schema"], schemas)}
                    </td>
                </tr>
            }
        })
        .collect_view();
    Some(view! {
        <h3>"Parameters"</h3>
        <table class="plain-table docs-table"><tbody>{rows}</tbody></table>
    })
}

/// The type of the body and its examples.
fn request_body(body: &Value, schemas: &Value) -> Option<impl IntoView + use<>> {
    let (media_type, content) = body["content"].as_object()?.iter().next()?;
    let examples = examples(content, schemas)
        .into_iter()
        .map(|(title, value)| {
            let json = serde_json::to_string_pretty(&value).unwrap_or_default();
            view! { <figure><figcaption class="soft">{inline_markdown(&title)}</figcaption><pre tabindex="0">{json}</pre></figure> }
        })
        .collect_view();
    Some(view! {
        <h3>"Request body"</h3>
        <p>{type_of(&content["schema"])} " " <span class="soft">{media_type.clone()}</span></p>
        {examples}
    })
}

/// Titles and values of the examples of a body: its own, or else those of its schema.
fn examples(content: &Value, schemas: &Value) -> Vec<(String, Value)> {
    if let Some(examples) = content["examples"].as_object() {
        let titled = |(name, example): (&String, &Value)| {
            let title = example["summary"].as_str().unwrap_or(name).to_owned();
            (title, example["value"].clone())
        };
        return examples.iter().map(titled).collect();
    }
    let schema = named_schema(&content["schema"], schemas).unwrap_or(&content["schema"]);
    let own = [&content["example"], &schema["example"], &schema["examples"][0]];
    own.into_iter()
        .find(|example| !example.is_null())
        .map(|example| ("Example".to_owned(), example.clone()))
        .into_iter()
        .collect()
}

fn responses(responses: &Value) -> impl IntoView + use<> {
    let rows = responses
        .as_object()
        .into_iter()
        .flatten()
        .map(|(status, response)| {
            let bodies = response["content"]
                .as_object()
                .into_iter()
                .flatten()
                .map(|(media_type, content)| {
                    view! { <div>{type_of(&content["schema"])} " " <span class="soft">{media_type.clone()}</span></div> }
                })
                .collect_view();
            view! {
                <tr>
                    <td><b class="figure">{status.clone()}</b></td>
                    <td>{bodies}</td>
                    <td>{inline_markdown(response["description"].as_str().unwrap_or_default())}</td>
                </tr>
            }
        })
        .collect_view();
    view! {
        <h3>"Responses"</h3>
        <table class="plain-table docs-table"><tbody>{rows}</tbody></table>
    }
}
