//! Access by invitation: a browser that has opened the link of an invitation may use one campaign's desk, and nothing else.

use crate::secret::hashed;
use crate::state::AppState;
use axum::http::HeaderMap;
use axum::http::header::COOKIE;
use domain::api::{campaign_desk_page, path};
use process::ambient;

const COOKIE_NAME: &str = "invitation";

/// The cookie of a browser that has opened an invitation's link. Its token is not readable by scripts.
pub(crate) fn cookie(token: &str) -> String {
    format!("{COOKIE_NAME}={token}; Path=/; Max-Age=31536000; HttpOnly; SameSite=Lax")
}

/// Whether an invitation opens this path to the sender of these headers: the link itself, files of pages, and the desk of its campaign.
pub(crate) async fn opens(state: &AppState, asked: &str, headers: &HeaderMap) -> bool {
    // The link says by its token whether it opens anything; files of pages hold no data.
    if asked.starts_with("/join/") {
        return true;
    }
    let cookies = headers.get_all(COOKIE).iter().filter_map(|header| header.to_str().ok());
    let mut tokens = cookies
        .flat_map(|header| header.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .filter(|(name, _)| *name == COOKIE_NAME);
    let Some((_, token)) = tokens.next() else { return false };
    // Without an answer of the database nothing is opened.
    let Ok(Some(campaign)) = state.store.invited_to(&hashed(token), ambient::now()).await else {
        return false;
    };
    let desk = path::CAMPAIGN_DESK.replace("{id}", &campaign.to_string());
    let page = campaign_desk_page(campaign);
    let is_below =
        |root: &str| asked == root || asked.strip_prefix(root).is_some_and(|rest| rest.starts_with('/'));
    is_below(&desk) || is_below(&page) || asked.starts_with("/static/") || asked.starts_with("/pkg/")
}
