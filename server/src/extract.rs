//! Bodies, queries and ids, read so that what is wrong is named with its field.

use crate::error::ApiError;
use axum::body::HttpBody as _;
use axum::extract::{FromRequest, FromRequestParts, Path, Request};
use axum::http::request::Parts;
use domain::evaluate::EvaluateSpec;
use domain::job::JobSpec;
use domain::train::TrainSpec;
use serde::Deserializer;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::str::FromStr;

/// Largest JSON body: a spec or a prompt is far smaller.
pub(crate) const BODY_LIMIT: usize = 64 * 1024;

/// A JSON body.
pub(crate) struct Body<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Body<T> {
    type Rejection = ApiError;
    async fn from_request(request: Request, _: &S) -> Result<Self, ApiError> {
        let bytes = read(request).await?;
        let mut json = serde_json::Deserializer::from_slice(&bytes);
        let value = fields(&mut json)?;
        json.end().map_err(|e| ApiError::malformed(format!("The body goes on after its JSON: {e}"), None))?;
        Ok(Self(value))
    }
}

/// The body of a job. Its kind is looked at first: serde reads a tagged body twice and then no longer knows which field it was in.
pub(crate) struct JobBody(pub(crate) JobSpec);

impl<S: Send + Sync> FromRequest<S> for JobBody {
    type Rejection = ApiError;
    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        let Body(mut body) = Body::<Value>::from_request(request, state).await?;
        let kind = body.as_object_mut().and_then(|fields| fields.remove("kind"));
        match kind.as_ref().and_then(Value::as_str) {
            Some("train") => Ok(Self(JobSpec::Train(fields::<TrainSpec, _>(body)?))),
            Some("evaluate") => Ok(Self(JobSpec::Evaluate(fields::<EvaluateSpec, _>(body)?))),
            _ => Err(ApiError::field("kind", "use \"train\" or \"evaluate\"")),
        }
    }
}

/// A query. An empty value is an absent one, as forms send them; an empty prompt stays, to be refused by name.
pub(crate) struct Query<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Query<T> {
    type Rejection = ApiError;
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let query = parts.uri.query().unwrap_or_default();
        let mut pairs: Vec<(String, String)> = serde_urlencoded::from_str(query)
            .map_err(|e| ApiError::malformed(format!("The query cannot be read: {e}"), None))?;
        pairs.retain(|(field, value)| !value.is_empty() || field == "prompt");
        let query = serde_urlencoded::to_string(pairs).map_err(ApiError::internal)?;
        fields(serde_urlencoded::Deserializer::new(form_urlencoded::parse(query.as_bytes()))).map(Self)
    }
}

/// The id in the path.
pub(crate) struct Id<T>(pub(crate) T);

impl<S: Send + Sync, T: FromStr> FromRequestParts<S> for Id<T> {
    type Rejection = ApiError;
    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let Path(id) = Path::<String>::from_request_parts(parts, state)
            .await
            .map_err(|_| ApiError::not_found("address"))?;
        id.parse().map(Self).map_err(|_| {
            ApiError::not_found(format!("id as {id:?}: ids look like 0199c5a8-7d3e-7f00-8000-0123456789ab"))
        })
    }
}

/// The whole body, if it is not too large.
pub(crate) async fn read(request: Request) -> Result<axum::body::Bytes, ApiError> {
    // Decided by the announced length alone: a client that waits for `100 Continue` never sends such a body.
    if request.body().size_hint().lower() > BODY_LIMIT as u64 {
        return Err(ApiError::too_large(BODY_LIMIT));
    }
    axum::body::to_bytes(request.into_body(), BODY_LIMIT).await.map_err(|error| {
        let too_large = std::error::Error::source(&error)
            .is_some_and(|cause| cause.to_string().contains("length limit exceeded"));
        if too_large {
            ApiError::too_large(BODY_LIMIT)
        } else {
            ApiError::malformed("The body broke off: send it whole.", None)
        }
    })
}

/// Reads a value and names the field that cannot be read.
fn fields<'de, T: DeserializeOwned, D: Deserializer<'de>>(input: D) -> Result<T, ApiError> {
    serde_path_to_error::deserialize(input).map_err(|error| {
        let message = error.inner().to_string();
        let path = error.path().to_string();
        let field = named_field(&path, &message);
        ApiError::malformed(for_people(&message, field.as_deref()), field)
    })
}

/// The field at fault: where the reader stood, and the name that serde tells when that is the field's parent.
fn named_field(path: &str, message: &str) -> Option<String> {
    let quoted = |start: &str| message.strip_prefix(start)?.split('`').next().map(str::to_owned);
    let name = quoted("missing field `")
        .or_else(|| quoted("unknown field `"))
        .or_else(|| quoted("duplicate field `"));
    match (path, name) {
        ("." | "", None) => None,
        ("." | "", name) => name,
        (path, Some(name)) if path != name && !path.ends_with(&format!(".{name}")) => {
            Some(format!("{path}.{name}"))
        }
        (path, _) => Some(path.to_owned()),
    }
}

fn for_people(message: &str, field: Option<&str>) -> String {
    let message = match message {
        "invalid digit found in string" => "is no whole number of 0 or more",
        "invalid float literal" => "is no number",
        "number too large to fit in target type" => "is too large a number",
        other => other,
    };
    match field {
        Some(field) => format!("{field}: {message}"),
        None => format!("The body is not the JSON that is asked for: {message}"),
    }
}

#[cfg(test)]
mod tests {
    use super::named_field;

    #[test]
    fn the_field_is_named_whichever_way_serde_tells_it() {
        assert_eq!(named_field(".", "missing field `prompt`"), Some("prompt".into()));
        assert_eq!(named_field("objective", "missing field `beta`"), Some("objective.beta".into()));
        assert_eq!(named_field("colour", "unknown field `colour`, expected `prompt`"), Some("colour".into()));
        assert_eq!(named_field("steps", "invalid type: string"), Some("steps".into()));
        assert_eq!(named_field(".", "EOF while parsing"), None);
    }
}
