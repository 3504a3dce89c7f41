//! Polling in the browser.

use leptos::prelude::{Effect, document, set_timeout};
use leptos::task::spawn_local;
use std::ops::ControlFlow;
use std::time::Duration;

/// Calls `request` every `period` after the previous call has finished, until it breaks. Pauses while the page is hidden.
pub(crate) fn poll<Request, Pending>(period: Duration, request: Request)
where
    Request: Fn() -> Pending + Clone + 'static,
    Pending: Future<Output = ControlFlow<()>> + 'static,
{
    // Effects do not run on the server.
    Effect::new(move |_| schedule(period, request.clone()));
}

fn schedule<Request, Pending>(period: Duration, request: Request)
where
    Request: Fn() -> Pending + Clone + 'static,
    Pending: Future<Output = ControlFlow<()>> + 'static,
{
    set_timeout(
        move || {
            spawn_local(async move {
                if document().hidden() || request().await.is_continue() {
                    schedule(period, request);
                }
            });
        },
        period,
    );
}
