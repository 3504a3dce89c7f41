//! The HTTP API for people, rendered from the OpenAPI document that programs read.

use crate::api;
use crate::pages::docs_operation::operation;
use crate::pages::docs_schema::{inline_markdown, schema};
use crate::pages::layout::{Head, loaded};
use leptos::prelude::*;
use serde_json::Value;

#[component]
pub(crate) fn Docs() -> impl IntoView {
    view! {
        <Head title="HTTP API">
            <p class="lead">
                "Everything on these pages is also available to scripts. For code generators, there is the "
                <a href=domain::api::path::OPENAPI>"OpenAPI document"</a> "."
            </p>
        </Head>
        {loaded(api::openapi(), |document| reference(&document))}
    }
}

/// The introduction, the operations by tag, and all schemas.
fn reference(document: &Value) -> impl IntoView + use<> {
    let introduction = document["info"]["description"].as_str().unwrap_or_default();
    let introduction = introduction.split("\n\n").map(|text| view! { <p>{inline_markdown(text)}</p> });
    let schemas = &document["components"]["schemas"];
    let tags = document["tags"].as_array().into_iter().flatten().map(|tag| section(document, tag));
    let bodies =
        schemas.as_object().into_iter().flatten().map(|(name, body)| schema(name, body)).collect_view();
    view! {
        <div class="prose docs-introduction">{introduction.collect_view()}</div>
        {tags.collect_view()}
        <section aria-labelledby="schemas"><h2 id="schemas">"Schemas"</h2>{bodies}</section>
    }
}

/// The operations with a tag, in the order of their paths.
fn section(document: &Value, tag: &Value) -> impl IntoView + use<> {
    let name = tag["name"].as_str().unwrap_or_default();
    let schemas = &document["components"]["schemas"];
    let paths = document["paths"].as_object().into_iter().flatten();
    let operations = paths
        .flat_map(|(path, methods)| {
            methods.as_object().into_iter().flatten().map(move |(method, body)| (path, method, body))
        })
        .filter(|(_, _, body)| body["tags"][0] == name)
        .map(|(path, method, body)| operation(path, method, body, schemas))
        .collect_view();
    let description = tag["description"].as_str().unwrap_or_default().to_owned();
    let title = capitalized(name);
    view! {
        <section aria-labelledby=name.to_owned()>
            <h2 id=name.to_owned()>{title}</h2>
            <p class="soft">{description}</p>
            {operations}
        </section>
    }
}

fn capitalized(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}
