//! The stream of events of a page.

use crate::pages::bundle::static_file;
use leptos::prelude::*;

/// Opens the stream at `address` after `cursor`, and says when its connection is lost. The elements of the page
/// with `data-part` become like those of the page at `source`, if there is one.
pub(crate) fn live_stream(address: String, cursor: String, source: Option<String>) -> impl IntoView {
    view! {
        <p class="live-lost" role="status" data-live=address data-cursor=cursor data-swap=source></p>
        <script type="module" src=static_file("live.js")></script>
    }
}
