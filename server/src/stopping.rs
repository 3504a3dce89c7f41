//! The end of the server: requests that are still unanswered get a 503.

use crate::error::ApiError;
use crate::state::AppState;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tokio::sync::watch;

/// Whether the server still waits for the work of requests.
#[derive(Clone, Debug)]
pub(crate) struct Stopping(watch::Sender<bool>);

impl Stopping {
    pub(crate) fn new() -> Self {
        Self(watch::Sender::new(false))
    }

    /// From now on every request is answered with a 503.
    pub(crate) fn begin(&self) {
        self.0.send_replace(true);
    }

    /// Completes at `begin`.
    async fn begun(&self) {
        // An error means that the sender was dropped; `self` holds it.
        drop(self.0.subscribe().wait_for(|begun| *begun).await);
    }
}

/// Answers with a 503 once the server no longer waits. Dropping the handler cancels its work.
pub(crate) async fn answer(State(state): State<AppState>, request: Request, next: Next) -> Response {
    tokio::select! {
        biased;
        response = next.run(request) => response,
        () = state.stopping.begun() => ApiError::stopping().into_response(),
    }
}
