//! The stream of events of a page.

use crate::pages::bundle::static_file;
use leptos::prelude::*;

/// Opens the stream at `address` after `cursor`, and says when its connection is lost. With `swaps` the elements of the page
/// with `data-part` are kept up to date.
pub(crate) fn live_stream(address: String, cursor: String, swaps: bool) -> impl IntoView {
    view! {
        <p class="live-lost" role="status" data-live=address data-cursor=cursor data-swap=swaps.then_some("")></p>
        <script type="module" src=static_file("live.js")></script>
    }
}
