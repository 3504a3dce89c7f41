//! Addresses that no route can have are refused before they reach a router, the file system or a page.

use crate::error::ApiError;
use axum::extract::Request;
use axum::http::{Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

/// Longest path in bytes. Prompts are in queries.
const LONGEST_PATH: usize = 4096;
/// Longest segment of a path in bytes: the longest name of a file.
const LONGEST_SEGMENT: usize = 255;

/// Refuses requests to a proxy, paths and queries that are not UTF-8, and paths that are no name of anything.
pub(crate) async fn refuse_unusable(request: Request, next: Next) -> Response {
    let (method, uri) = (request.method(), request.uri());
    match unusable(method, uri.path(), uri.query().unwrap_or_default()) {
        Some(error) => error.into_response(),
        None => next.run(request).await,
    }
}

fn unusable(method: &Method, path: &str, query: &str) -> Option<ApiError> {
    if method == Method::CONNECT {
        return Some(ApiError::method_not_allowed("GET or POST; this server is not a proxy"));
    }
    if path.len() > LONGEST_PATH {
        return Some(ApiError::unparsable(StatusCode::URI_TOO_LONG));
    }
    if !path.starts_with('/') {
        return Some(ApiError::not_found("address: a path begins with a slash; /docs lists all routes"));
    }
    let Some(decoded) = decoded(path) else {
        return Some(ApiError::malformed("The path is not UTF-8. Percent-encode it as UTF-8.", None));
    };
    if self::decoded(query).is_none() {
        return Some(ApiError::malformed("The query is not UTF-8. Percent-encode it as UTF-8.", None));
    }
    let is_name = |segment: &str| segment.len() <= LONGEST_SEGMENT && !segment.chars().any(char::is_control);
    let names_nothing = !decoded.split('/').all(is_name);
    names_nothing.then(|| {
        ApiError::not_found(
            "address: a name has at most 255 bytes and no control characters; /docs lists all routes",
        )
    })
}

/// The text behind percent-encoding; none if it is not UTF-8.
fn decoded(text: &str) -> Option<String> {
    let hex = |digit: u8| char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok());
    let bytes = text.as_bytes();
    let (mut decoded, mut at) = (Vec::with_capacity(bytes.len()), 0);
    while at < bytes.len() {
        let encoded = match &bytes[at..] {
            [b'%', high, low, ..] => hex(*high).zip(hex(*low)).map(|(high, low)| high * 16 + low),
            _ => None,
        };
        decoded.push(encoded.unwrap_or(bytes[at]));
        at += if encoded.is_some() { 3 } else { 1 };
    }
    String::from_utf8(decoded).ok()
}

#[cfg(test)]
mod tests {
    use super::unusable;
    use axum::http::Method;

    #[test]
    fn only_addresses_that_no_route_can_have_are_refused() {
        let status = |path: &str, query: &str| {
            unusable(&Method::GET, path, query).map(|error| error.status().as_u16())
        };
        for path in ["/", "/models", "/datasets/%E2%9C%93%20a", "/a%", "/a%2", "/a%zz", "/static/../x"] {
            assert_eq!(status(path, "prompt=100%&x=%E2%9C%93"), None, "{path}");
        }
        let long = format!("/static/{}", "a".repeat(256));
        let longer = "/a".repeat(2500);
        for (path, expected) in [
            ("/%FF", 400),
            ("/a%C3", 400),
            ("/%00", 404),
            ("/a%0Ab", 404),
            (&*long, 404),
            (&*longer, 414),
            ("*", 404),
            ("", 404),
        ] {
            assert_eq!(status(path, ""), Some(expected), "{path}");
        }
        assert_eq!(status("/generate", "prompt=%FF"), Some(400));
        let connect = unusable(&Method::CONNECT, "/", "").expect("an error");
        assert_eq!(connect.status().as_u16(), 405);
    }
}
