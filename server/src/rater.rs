//! The rater of a request: a random id in a cookie. It identifies a browser, so that no browser judges a pair twice; it
//! names no person.

use crate::error::ApiError;
use crate::state::AppState;
use axum::extract::FromRequestParts;
use axum::http::header::{COOKIE, SET_COOKIE};
use axum::http::request::Parts;
use axum::response::{AppendHeaders, IntoResponseParts, ResponseParts};
use domain::id::RaterId;
use process::ambient;

const COOKIE_NAME: &str = "rater";

/// The rater of the cookie, or a new one, whose row the first request that is no GET inserts. Returning it as part of the
/// response sets the cookie of a new rater.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rater {
    pub(crate) id: RaterId,
    is_new: bool,
}

impl FromRequestParts<AppState> for Rater {
    type Rejection = ApiError;
    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, ApiError> {
        let now = ambient::now();
        let known = parts
            .headers
            .get_all(COOKIE)
            .iter()
            .filter_map(|header| header.to_str().ok())
            .flat_map(|header| header.split(';'))
            .filter_map(|pair| pair.trim().split_once('='))
            .find(|(name, _)| *name == COOKIE_NAME)
            .and_then(|(_, id)| id.parse().ok());
        let rater = match known {
            Some(id) => Self { id, is_new: false },
            None => Self { id: RaterId::new(now, ambient::entropy()), is_new: true },
        };
        // A safe request leaves no row behind: crawlers that return no cookie would each time leave another one.
        if !parts.method.is_safe() {
            state.store.ensure_rater(rater.id, now).await?;
        }
        Ok(rater)
    }
}

impl IntoResponseParts for Rater {
    type Error = std::convert::Infallible;
    fn into_response_parts(self, response: ResponseParts) -> Result<ResponseParts, Self::Error> {
        let cookie = self.is_new.then(|| {
            (
                SET_COOKIE,
                format!("{COOKIE_NAME}={}; Path=/; Max-Age=31536000; HttpOnly; SameSite=Lax", self.id),
            )
        });
        match AppendHeaders(cookie).into_response_parts(response) {
            Ok(response) => Ok(response),
            Err(_) => unreachable!("a UUID and constant text form a valid header"),
        }
    }
}
