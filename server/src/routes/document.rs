//! The OpenAPI document: its introduction, its tags, and the responses that many routes share.

use crate::routes::votes_export::{Format, Ties};
use domain::api::ErrorBody;
use domain::data::VotesPer;
use domain::preference::Question;
use std::collections::HashMap;
use utoipa::OpenApi;
use utoipa::openapi::path::{Operation, ParameterIn};
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{ContentBuilder, Ref, RefOr, ResponseBuilder};

/// The introduction, in Markdown. The /docs page shows it, one paragraph per blank line.
const INTRODUCTION: &str = "Train text-to-image models on human preferences, generate images with them, and let people \
judge and rank them.

**Access.** If the server has an access token, every route except `/livez` needs it: send `Authorization: Bearer TOKEN`, \
or the token as the password of HTTP Basic authentication with any user name.

**Requests.** Bodies are JSON of at most 64 KiB. Unknown fields are errors, in bodies and in queries. An empty query value \
counts as absent.

**Lists** are an object with `items`, newest first unless a route states another order. `limit` sets the most \
items to return.

**Errors** are JSON with a fixed `code` for programs, a `message` for people, and the `fields` at fault: \
`{\"error\": {\"code\": \"invalid\", \"message\": \"steps: use 1 to 1000\", \"fields\": [{\"field\": \"steps\", \"message\": \"use 1 to 1000\"}]}}`.

**Request ids.** Every response has an `x-request-id` header. The server's log lines of the request carry this id. A client \
may send an id of its own in the same header.";

#[derive(OpenApi)]
#[openapi(
    info(title = "Diff-contrast", description = INTRODUCTION),
    components(schemas(ErrorBody, Question, VotesPer, Format, Ties)),
    tags(
        (name = "generation", description = "Generate images from prompts, and read the images of all models."),
        (name = "training", description = "Submit training and evaluation jobs, follow runs, and list models."),
        (name = "data", description = "Look at datasets of preference pairs."),
        (name = "judging", description = "Compare images blind, vote, and read ratings."),
        (name = "operation", description = "Probes for monitoring."),
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
        for (is_get, operation) in [(true, &mut item.get), (false, &mut item.post)] {
            let Some(operation) = operation else { continue };
            let parameters = operation.parameters.iter().flatten();
            let mut query = parameters.filter_map(|parameter| match parameter {
                RefOr::T(parameter) => Some(parameter.parameter_in == ParameterIn::Query),
                RefOr::Ref(_) => None,
            });
            let (has_query, has_body) = (query.any(|is_query| is_query), operation.request_body.is_some());
            if has_query || has_body {
                add(operation, "400", "The query or body cannot be read, or has an unknown field.");
            }
            if has_body {
                add(operation, "413", "The body is larger than 64 KiB.");
            }
            if !is_get || path == domain::api::path::GENERATE {
                add(operation, "403", "The request comes from a page of another site.");
            }
            if path != "/livez" {
                add(operation, "401", "The access token is missing or wrong.");
                add(operation, "500", "Internal server error.");
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

/// The methods of each path, as words: `GET or POST`.
pub(crate) fn methods(document: &utoipa::openapi::OpenApi) -> HashMap<String, String> {
    let methods = |item: &utoipa::openapi::PathItem| {
        let known = [("GET", &item.get), ("POST", &item.post)];
        let served = known.into_iter().filter(|(_, operation)| operation.is_some()).map(|(method, _)| method);
        served.collect::<Vec<_>>().join(" or ")
    };
    document.paths.paths.iter().map(|(path, item)| (path.clone(), methods(item))).collect()
}
