//! Passes the requests of a connection on to the router, and records what they wait for.

use super::places::{BodyInProgress, Place, RequestInProgress};
use crate::error::ApiError;
use axum::Router;
use axum::body::{Body, Bytes, HttpBody};
use axum::http::{HeaderValue, Method, Request, Version, header};
use axum::response::{IntoResponse, Response};
use hyper::body::{Frame, Incoming, SizeHint};
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::sync::watch;
use tower::ServiceExt;

/// The response of the router; the last of the connection if the server is stopping. The request is in progress until the
/// response's body is dropped.
pub(super) async fn respond(
    app: Router,
    place: Arc<Place>,
    stopping: watch::Receiver<bool>,
    request: Request<Incoming>,
) -> Result<Response, Infallible> {
    let in_progress = place.begin_request();
    let mut response = match misframed(&request) {
        Some(error) => error.into_response(),
        None => {
            let request = request.map(|body| {
                let is_complete = body.is_end_stream();
                if is_complete {
                    Body::empty()
                } else {
                    Body::new(Watched { body: Body::new(body), guard: Some(place.begin_body()) })
                }
            });
            match app.oneshot(request).await {
                Ok(response) => response,
                Err(never) => match never {},
            }
        }
    };
    if *stopping.borrow() {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    Ok(response.map(|body| Body::new(Watched { body, guard: Some(in_progress) })))
}

/// The error of a request that HTTP itself forbids, or that only proxies serve.
fn misframed(request: &Request<Incoming>) -> Option<ApiError> {
    if request.method() == Method::CONNECT {
        return Some(ApiError::method_not_allowed("GET or POST; this server is not a proxy"));
    }
    let hosts = request.headers().get_all(header::HOST).iter().count();
    let is_wrong = hosts > 1 || (hosts == 0 && request.version() == Version::HTTP_11);
    is_wrong.then(|| {
        let message = format!("The request has {hosts} headers `Host`. Send exactly one.");
        ApiError::malformed(message, None)
    })
}

/// What a body holds until it is complete or dropped.
trait Guard: Send + Unpin + 'static {}
impl Guard for RequestInProgress {}
impl Guard for BodyInProgress {}

/// A body that holds a guard until it is complete or dropped.
struct Watched<G> {
    body: Body,
    guard: Option<G>,
}

impl<G: Guard> HttpBody for Watched<G> {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let outcome = Pin::new(&mut self.body).poll_frame(context);
        if matches!(outcome, Poll::Ready(None | Some(Err(_)))) || self.body.is_end_stream() {
            self.guard = None;
        }
        outcome
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
