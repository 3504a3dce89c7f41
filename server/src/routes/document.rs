//! The OpenAPI document: its introduction, its tags, and the responses that many routes share.

use crate::routes::votes_export::{Format, Ties};
use domain::api::{ErrorBody, RunSort};
use domain::data::VotesPer;
use domain::preference::Question;
use serde_json::{Map, Value, json};
use std::collections::HashMap;
use utoipa::OpenApi;
use utoipa::openapi::path::{Operation, ParameterIn};
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{ContentBuilder, Ref, RefOr, ResponseBuilder};

/// The introduction, in Markdown. The /docs page shows it, one paragraph per blank line.
const INTRODUCTION: &str = "Train text-to-image models on human preferences, generate images with them, and let people \
judge and rank them.

**Access.** If the server has an access token, every route except `/livez` needs it: send `Authorization: Bearer TOKEN`, \
or the token as the password of HTTP Basic authentication with any user name. The link of an invitation opens the desk of one \
campaign without it.

**Requests.** Bodies are JSON objects of at most 64 KiB, sent as `application/json` and not compressed. Unknown and repeated \
fields are errors, in bodies and in queries. An empty query value counts as absent.

**Hosts.** Without an access token, the header `Host` must be a loopback name or address, the address that the server listens \
on, or a host of its setting `ALLOWED_HOSTS`.

**Lists** are an object with `items`, newest first unless a route states another order. `limit` sets the most \
items to return.

**Errors** are JSON with a fixed `code` for programs, a `message` for people, and the `fields` at fault: \
`{\"error\": {\"code\": \"invalid\", \"message\": \"steps: use 1 to 1000\", \"fields\": [{\"field\": \"steps\", \"message\": \"use 1 to 1000\"}]}}`.

**Request ids.** Every response has an `x-request-id` header. The server's log lines of the request carry this id. A client \
may send an id of its own in the same header.";

#[derive(OpenApi)]
#[openapi(
    info(title = "Diff-contrast", description = INTRODUCTION),
    components(schemas(ErrorBody, Question, RunSort, VotesPer, Format, Ties)),
    tags(
        (name = "generation", description = "Generate images from prompts, and read the images of all models."),
        (name = "training", description = "Submit training and evaluation jobs, follow runs, and list models."),
        (name = "data", description = "Look at datasets of preference pairs."),
        (name = "judging", description = "Compare images blind, vote, and read ratings."),
        (name = "operation", description = "Probes for monitoring, and the settings of the server."),
    )
)]
struct Introduction;

/// The document without routes.
pub(crate) fn introduction() -> utoipa::openapi::OpenApi {
    Introduction::openapi()
}

/// Adds the access token, and the error responses that follow from the form of a route. A response that the route itself
/// describes is kept.
pub(crate) fn add_common_responses(document: &mut utoipa::openapi::OpenApi) {
    let components = document.components.get_or_insert_default();
    for (name, scheme) in [("bearer", HttpAuthScheme::Bearer), ("basic", HttpAuthScheme::Basic)] {
        components.add_security_scheme(name, SecurityScheme::Http(Http::new(scheme)));
    }
    // The empty requirement stands for servers without an access token.
    let optional_token = vec![
        SecurityRequirement::default(),
        SecurityRequirement::new("bearer", [""; 0]),
        SecurityRequirement::new("basic", [""; 0]),
    ];
    for (path, item) in &mut document.paths.paths {
        let operations = [
            (true, &mut item.get),
            (false, &mut item.post),
            (false, &mut item.patch),
            (false, &mut item.delete),
        ];
        for (is_get, operation) in operations {
            let Some(operation) = operation else { continue };
            let parameters = operation.parameters.iter().flatten();
            let mut query = parameters.filter_map(|parameter| match parameter {
                RefOr::T(parameter) => Some(parameter.parameter_in == ParameterIn::Query),
                RefOr::Ref(_) => None,
            });
            let (has_query, has_body) = (query.any(|is_query| is_query), operation.request_body.is_some());
            if has_query || has_body {
                add(operation, "400", "The query or body cannot be read, or has an unknown field.");
                add(operation, "422", "A field has a value that is not accepted.");
            }
            if has_body {
                add(operation, "408", "The body did not arrive within 30 seconds.");
                add(operation, "413", "The body is larger than 64 KiB.");
                add(operation, "415", "The body is not `application/json`, or it is compressed.");
            }
            if path != "/livez" {
                add(operation, "400", "The path or query is not UTF-8.");
                add(operation, "401", "The access token is missing or wrong.");
                let is_guarded = !is_get || path == domain::api::path::GENERATE;
                let foreign = "The server has no access token, and the header `Host` is not its own.";
                let cross_site = format!("The request comes from a page of another site. Or: {foreign}");
                add(operation, "403", if is_guarded { &cross_site } else { foreign });
                add(operation, "500", "Internal server error.");
                add(
                    operation,
                    "503",
                    "The server is stopping, or cannot answer now. `Retry-After` may say when to retry.",
                );
                operation.security = Some(optional_token.clone());
            }
        }
    }
}

fn add(operation: &mut Operation, status: &str, description: &str) {
    operation.responses.responses.entry(status.to_owned()).or_insert_with(|| {
        let body = ContentBuilder::new().schema(Some(Ref::from_schema_name("ErrorBody"))).build();
        ResponseBuilder::new().description(description).content("application/json", body).build().into()
    });
}

/// The document as JSON, with schemas that a validator can use. utoipa describes a variant of a tagged enum as `allOf` of the
/// variant's type, which has no further fields, and of the tag, which is one: nothing satisfies both. And it gives unsigned
/// integers the format of signed ones.
pub(crate) fn to_json(document: &utoipa::openapi::OpenApi) -> serde_json::Result<Value> {
    let mut document = serde_json::to_value(document)?;
    let schemas = document["components"]["schemas"].clone();
    let named = document["components"]["schemas"].as_object_mut();
    let unions = named
        .into_iter()
        .flat_map(Map::values_mut)
        .filter_map(|schema| schema.get_mut("oneOf")?.as_array_mut());
    for variant in unions.flatten() {
        if let Some(object) = one_object(variant, &schemas) {
            *variant = object;
        }
    }
    set_formats(&mut document);
    let paths = document["paths"].as_object_mut().into_iter().flat_map(Map::values_mut);
    for operation in paths.filter_map(Value::as_object_mut).flat_map(Map::values_mut) {
        operation
            .get_mut("parameters")
            .and_then(Value::as_array_mut)
            .into_iter()
            .flatten()
            .for_each(allow_empty);
    }
    Ok(document)
}

/// A variant of a tagged enum as one object that has the tag, the fields of the variant's type, and no others. None if the
/// schema is no such variant.
fn one_object(variant: &Value, schemas: &Value) -> Option<Value> {
    let own = [variant.clone()];
    let parts = variant["allOf"].as_array().map_or(&own[..], Vec::as_slice);
    let (mut properties, mut required, mut has_tag) = (Map::new(), Vec::new(), false);
    // The tag is the last part, and comes first.
    for part in parts.iter().rev() {
        let part = match part["$ref"].as_str().and_then(|reference| reference.rsplit('/').next()) {
            Some(name) => &schemas[name],
            None => part,
        };
        let fields = part["properties"].as_object()?;
        has_tag |=
            fields.values().any(|field| field["enum"].as_array().is_some_and(|values| values.len() == 1));
        properties.extend(fields.clone());
        required.extend(part["required"].as_array().into_iter().flatten().cloned());
    }
    has_tag.then(|| {
        json!({
            "type": "object", "description": variant["description"], "required": required, "properties": properties,
            "additionalProperties": false,
        })
    })
}

/// An empty value of an optional parameter counts as absent.
fn allow_empty(parameter: &mut Value) {
    let schema = &parameter["schema"];
    let is_any_text = schema["type"] == "string" && schema["format"].is_null();
    if parameter["in"] != "query" || parameter["required"] == true || is_any_text {
        return;
    }
    let mut schema = json!({ "oneOf": [schema, { "type": "string", "maxLength": 0 }] });
    if let Some(default) = parameter["schema"].get("default") {
        schema["default"] = default.clone();
    }
    parameter["schema"] = schema;
}

/// Gives unsigned integers their largest values, and removes formats that are not theirs.
fn set_formats(schema: &mut Value) {
    match schema {
        Value::Array(items) => items.iter_mut().for_each(set_formats),
        Value::Object(fields) => {
            let is_unsigned =
                fields.get("minimum").and_then(Value::as_f64).is_some_and(|minimum| minimum >= 0.0);
            let format = fields.get("format").and_then(Value::as_str);
            let largest = match format {
                Some("int32") => Some(u64::from(u32::MAX)),
                Some("int64") => Some(u64::MAX),
                _ => None,
            };
            if let Some(largest) = largest.filter(|_| is_unsigned) {
                fields.remove("format");
                fields.entry("maximum").or_insert_with(|| largest.into());
            }
            fields.values_mut().for_each(set_formats);
        }
        _ => {}
    }
}

/// The methods of each path, as words: `GET or POST`.
pub(crate) fn methods(document: &utoipa::openapi::OpenApi) -> HashMap<String, String> {
    let methods = |item: &utoipa::openapi::PathItem| {
        let known =
            [("GET", &item.get), ("POST", &item.post), ("PATCH", &item.patch), ("DELETE", &item.delete)];
        let served = known.into_iter().filter(|(_, operation)| operation.is_some()).map(|(method, _)| method);
        served.collect::<Vec<_>>().join(" or ")
    };
    document.paths.paths.iter().map(|(path, item)| (path.clone(), methods(item))).collect()
}
