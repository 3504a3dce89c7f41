//! Extractors of bodies, forms, queries and ids. Their errors name the field that cannot be read.

use crate::error::ApiError;
use crate::json::{UniqueKeys, path_of, suspicious_lists};
use axum::body::{Bytes, HttpBody as _};
use axum::extract::{FromRequest, FromRequestParts, Path, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use domain::evaluate::EvaluateSpec;
use domain::job::JobSpec;
use domain::problem::Problems;
use domain::train::TrainSpec;
use serde::de::DeserializeOwned;
use serde::{Deserializer, Serialize};
use serde_json::{Map, Value};
use std::fmt::Display;
use std::str::FromStr;
use std::time::Duration;

/// Largest request body in bytes. Specs and prompts are far smaller.
pub(crate) const BODY_LIMIT: usize = 64 * 1024;

/// Time in which a body must arrive.
const BODY_TIME: Duration = Duration::from_secs(30);

/// A JSON object as body.
pub(crate) struct Body<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned + Serialize> FromRequest<S> for Body<T> {
    type Rejection = ApiError;
    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        object(read(request, "application/json", state).await?).and_then(value_of).map(Self)
    }
}

/// The body of a job. Its `kind` is read first: serde buffers an internally tagged enum and then loses the path of a
/// field that cannot be read.
pub(crate) struct JobBody(pub(crate) JobSpec);

impl<S: Send + Sync> FromRequest<S> for JobBody {
    type Rejection = ApiError;
    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        let mut body = object(read(request, "application/json", state).await?)?;
        let kind = body.as_object_mut().and_then(|fields| fields.remove("kind"));
        match kind.as_ref().and_then(Value::as_str) {
            Some("train") => value_of::<TrainSpec>(body).map(JobSpec::Train).map(Self),
            Some("evaluate") => value_of::<EvaluateSpec>(body).map(JobSpec::Evaluate).map(Self),
            _ => Err(ApiError::field("kind", "use \"train\" or \"evaluate\"")),
        }
    }
}

/// The JSON object of a body. Keys must be unique.
fn object(bytes: Bytes) -> Result<Value, ApiError> {
    let mut json = serde_json::Deserializer::from_slice(&bytes);
    let UniqueKeys(value) = deserialize(&mut json).map_err(Unreadable::into_error)?;
    json.end()
        .map_err(|e| ApiError::malformed(format!("The body has text after its JSON value: {e}"), None))?;
    if value.is_object() {
        let mut problems = Problems::default();
        refuse_control_characters("", &value, &mut problems);
        problems.into_result()?;
        return Ok(value);
    }
    Err(ApiError::malformed("The body must be a JSON object: {...}.", None))
}

/// What a JSON object stands for. Lists in the place of objects are refused.
pub(crate) fn value_of<T: DeserializeOwned + Serialize>(given: Value) -> Result<T, ApiError> {
    let value: T = deserialize(given.clone()).map_err(Unreadable::into_error)?;
    let read = serde_json::to_value(&value).map_err(ApiError::internal)?;
    for list in suspicious_lists(&given, Some(&read)) {
        if list.is_certain || takes_object::<T>(&given, &list.pointer) {
            let field = path_of(&list.pointer);
            let message = format!("{field}: expected an object, found a list");
            return Err(ApiError::malformed(message, Some(field)));
        }
    }
    Ok(value)
}

/// Whether an object can be read where `pointer` points to. A list cannot be read there then.
fn takes_object<T: DeserializeOwned>(given: &Value, pointer: &str) -> bool {
    let mut changed = given.clone();
    let Some(place) = changed.pointer_mut(pointer) else { return false };
    *place = Value::Object(Map::new());
    deserialize::<T, _>(changed).is_ok()
}

/// Checks that text is JSON whose keys are unique.
///
/// # Errors
/// Fails with the reason.
pub(crate) fn require_unique_keys(text: &str) -> Result<(), String> {
    deserialize::<UniqueKeys, _>(&mut serde_json::Deserializer::from_str(text)).map(drop).map_err(
        |unreadable| match unreadable.field {
            Some(field) => format!("{field}: {}", unreadable.message),
            None => unreadable.message,
        },
    )
}

/// The fields of a form.
pub(crate) struct Form(Vec<(String, String)>);

impl Form {
    /// # Errors
    /// Fails if the body is no form, cannot be read, repeats a field, or contains a control character.
    pub(crate) async fn read<S: Send + Sync>(request: Request, state: &S) -> Result<Self, ApiError> {
        Self::read_repeating(request, state, "").await
    }

    /// The same with a field that may be repeated, as check boxes of one name are.
    pub(crate) async fn read_repeating<S: Send + Sync>(
        request: Request,
        state: &S,
        repeated: &str,
    ) -> Result<Self, ApiError> {
        let body = read(request, "application/x-www-form-urlencoded", state).await?;
        let mut fields: Vec<(String, String)> = Vec::new();
        for (name, value) in form_urlencoded::parse(&body) {
            if name != repeated && fields.iter().any(|(known, _)| *known == name) {
                let message = format!("{name}: the field is repeated");
                return Err(ApiError::malformed(message, Some(name.into_owned())));
            }
            fields.push((name.into_owned(), value.into_owned()));
        }
        refuse_control_characters_in(&fields)?;
        Ok(Self(fields))
    }

    /// All fields.
    pub(crate) fn into_fields(self) -> Vec<(String, String)> {
        self.0
    }

    /// The names of all fields.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(name, _)| name.as_str())
    }

    /// The value of a field.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(field, _)| field == name).map(|(_, value)| value.as_str())
    }

    /// The values of all fields with this name.
    pub(crate) fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.0.iter().filter(move |(field, _)| field == name).map(|(_, value)| value.as_str())
    }

    /// The value of a field; an absent one is empty.
    pub(crate) fn text(&self, name: &str) -> &str {
        self.get(name).unwrap_or_default()
    }
}

/// A query. Empty values count as absent, because forms send them; only an empty prompt is kept, so that it is rejected
/// by name.
pub(crate) struct Query<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Query<T> {
    type Rejection = ApiError;
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let query = parts.uri.query().unwrap_or_default();
        let mut pairs: Vec<(String, String)> = serde_urlencoded::from_str(query)
            .map_err(|e| ApiError::malformed(format!("The query cannot be parsed: {e}"), None))?;
        refuse_control_characters_in(&pairs)?;
        pairs.retain(|(field, value)| !value.is_empty() || field == "prompt");
        let query = serde_urlencoded::to_string(&pairs).map_err(ApiError::internal)?;
        let query = serde_urlencoded::Deserializer::new(form_urlencoded::parse(query.as_bytes()));
        deserialize(query).map(Self).map_err(|problem| problem.with_value_of(&pairs).into_error())
    }
}

/// An id in the path.
pub(crate) struct Id<T>(pub(crate) T);

impl<S: Send + Sync, T: FromStr> FromRequestParts<S> for Id<T> {
    type Rejection = ApiError;
    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let not_found = |id: &dyn Display| {
            ApiError::not_found(format!(
                "id: {id} is not a UUID such as 0199c5a8-7d3e-7f00-8000-0123456789ab"
            ))
        };
        let Path(id) = Path::<String>::from_request_parts(parts, state)
            .await
            .map_err(|_| not_found(&"the text in the path"))?;
        id.parse().map(Self).map_err(|_| not_found(&format_args!("{id:?}")))
    }
}

/// The whole body of this media type, at most `BODY_LIMIT` bytes.
async fn read<S: Send + Sync>(request: Request, media_type: &str, state: &S) -> Result<Bytes, ApiError> {
    require_media_type(request.headers(), media_type)?;
    // The announced length alone decides, so that a client that waits for `100 Continue` need not send such a body.
    if request.body().size_hint().lower() > BODY_LIMIT as u64 {
        return Err(ApiError::too_large(BODY_LIMIT));
    }
    let body = tokio::time::timeout(BODY_TIME, Bytes::from_request(request, state)).await;
    body.map_err(|_| ApiError::too_slow(BODY_TIME.as_secs()))?.map_err(|rejection| match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => ApiError::too_large(BODY_LIMIT),
        _ => ApiError::malformed("The request body ended early. Send all of it.", None),
    })
}

/// Fails unless the body has this media type, in UTF-8, and is not compressed.
fn require_media_type(headers: &HeaderMap, media_type: &str) -> Result<(), ApiError> {
    let texts = |name| headers.get_all(name).iter().map(|value| value.to_str().unwrap_or_default());
    let given: Vec<&str> = texts(header::CONTENT_TYPE).collect();
    let is_wanted = |given: &str| {
        let mut parts = given.split(';').map(str::trim);
        let has_type = parts.next().is_some_and(|given| given.eq_ignore_ascii_case(media_type));
        let charset = parts.find_map(|parameter| {
            let (name, value) = parameter.split_once('=')?;
            name.trim().eq_ignore_ascii_case("charset").then(|| value.trim().trim_matches('"').to_owned())
        });
        has_type && charset.is_none_or(|charset| charset.eq_ignore_ascii_case("utf-8"))
    };
    if !matches!(given[..], [given] if is_wanted(given)) {
        return Err(ApiError::unsupported(format!(
            "Send the body with the header `Content-Type: {media_type}`."
        )));
    }
    if texts(header::CONTENT_ENCODING).any(|encoding| !encoding.trim().eq_ignore_ascii_case("identity")) {
        return Err(ApiError::unsupported("Send the body without a `Content-Encoding`, not compressed."));
    }
    Ok(())
}

/// Adds a problem for every text of a JSON value that contains a control character other than a tab or a line break. No
/// field means anything by one, Postgres cannot store NUL, and the others change what a terminal shows of a log.
fn refuse_control_characters(path: &str, value: &Value, problems: &mut Problems) {
    match value {
        Value::String(text) => check_text(path, text, problems),
        Value::Array(items) => {
            for (i, item) in items.iter().enumerate() {
                refuse_control_characters(&format!("{path}[{i}]"), item, problems);
            }
        }
        Value::Object(fields) => {
            for (name, value) in fields {
                let name: String =
                    name.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
                let path = if path.is_empty() { name } else { format!("{path}.{name}") };
                refuse_control_characters(&path, value, problems);
            }
            for name in fields.keys() {
                check_text(if path.is_empty() { "names of fields" } else { path }, name, problems);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// The same for the fields of a query or form.
fn refuse_control_characters_in(fields: &[(String, String)]) -> Result<(), ApiError> {
    let mut problems = Problems::default();
    for (name, value) in fields {
        check_text(name, value, &mut problems);
        check_text("names of fields", name, &mut problems);
    }
    Ok(problems.into_result()?)
}

fn check_text(field: &str, text: &str, problems: &mut Problems) {
    let refused = |c: &char| c.is_ascii_control() && !matches!(c, '\t' | '\n' | '\r');
    if let Some((at, c)) = text.chars().enumerate().find(|(_, c)| refused(c)) {
        let problem =
            format!("character {} is the control character U+{:04X}: remove it", at + 1, u32::from(c));
        problems.add(field, problem);
    }
}

/// Input that cannot be deserialized, and where.
struct Unreadable {
    /// Path of the field, such as `objective.beta`; none if the input as a whole is at fault.
    field: Option<String>,
    message: String,
    /// Whether the value of the field is at fault, rather than its name, its absence or its repetition.
    is_value: bool,
}

impl Unreadable {
    /// Adds the value to a message about it: errors of text that is not a number do not quote the text.
    fn with_value_of(mut self, pairs: &[(String, String)]) -> Self {
        let field = self.field.as_deref().filter(|_| self.is_value);
        if let Some((_, value)) = pairs.iter().find(|(name, _)| Some(name.as_str()) == field) {
            self.message = format!("cannot read {value:?}: {}", self.message);
        }
        self
    }

    fn into_error(self) -> ApiError {
        let message = match &self.field {
            Some(field) => format!("{field}: {}", self.message),
            None => format!("The request cannot be read: {}", self.message),
        };
        ApiError::malformed(message, self.field)
    }
}

fn deserialize<'de, T: DeserializeOwned, D: Deserializer<'de>>(input: D) -> Result<T, Unreadable> {
    serde_path_to_error::deserialize(input).map_err(|error| {
        let (path, message) = (error.path().to_string(), error.inner().to_string());
        let name = named_field(&message);
        let is_value = name.is_none();
        let field = match (path.as_str(), name) {
            ("." | "", name) => name.map(str::to_owned),
            // The path ends at the parent of a missing field.
            (path, Some(name)) if path != name && !path.ends_with(&format!(".{name}")) => {
                Some(format!("{path}.{name}"))
            }
            (path, _) => Some(path.to_owned()),
        };
        Unreadable { field, message, is_value }
    })
}

/// The name of a missing, unknown or duplicate field. It is parsed from the text of the error, because the error types of
/// serde_json and serde_urlencoded expose it in no other way.
fn named_field(message: &str) -> Option<&str> {
    let kinds = ["missing field `", "unknown field `", "duplicate field `"];
    kinds.iter().find_map(|kind| message.strip_prefix(kind)?.split('`').next())
}

#[cfg(test)]
mod tests {
    use super::deserialize;
    use serde::Deserialize;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Outer {
        #[expect(dead_code, reason = "only its presence is tested")]
        prompt: String,
        #[expect(dead_code, reason = "only its type is tested")]
        inner: Inner,
    }

    #[derive(Debug, Deserialize)]
    struct Inner {
        #[expect(dead_code, reason = "only its type is tested")]
        beta: u32,
    }

    /// Run on serde's real errors, so that another wording in a later version of serde is noticed.
    #[test]
    fn missing_unknown_duplicate_and_mistyped_fields_are_named() {
        for (json, field) in [
            (r#"{"inner": {"beta": 1}}"#, Some("prompt")),
            (r#"{"prompt": "a", "inner": {}}"#, Some("inner.beta")),
            (r#"{"prompt": "a", "colour": 1}"#, Some("colour")),
            (r#"{"prompt": "a", "prompt": "b"}"#, Some("prompt")),
            (r#"{"prompt": "a", "inner": {"beta": "x"}}"#, Some("inner.beta")),
            ("[]", None),
            ("", None),
        ] {
            let mut input = serde_json::Deserializer::from_str(json);
            let problem = deserialize::<Outer, _>(&mut input).expect_err("the input is wrong");
            assert_eq!(problem.field.as_deref(), field, "{json}: {}", problem.message);
        }
    }
}
