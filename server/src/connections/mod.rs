//! Connections: how many there may be, how long each may keep the server waiting, and how they end when the server stops.

mod places;
mod requests;
mod socket;

use axum::Router;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use places::{Places, TakenPlace};
use rustix::process::{Resource, getrlimit};
use socket::Socket;
use std::convert::Infallible;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};

/// Time for the head of a request, counted from the previous response: a kept connection may be silent for as long.
const HEAD_TIME: Duration = Duration::from_secs(30);
/// Largest head of a request, and largest part of a body that is buffered, in bytes.
const BUFFER: usize = 64 * 1024;
/// Once the server stops, connections without a request are closed after this time: a request may be under way.
const LAST_REQUEST: Duration = Duration::from_secs(1);
/// Pause after the operating system refuses to accept a connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(20);
/// File descriptors that connections leave to the database, to files of models and images, and to logs.
const RESERVED_DESCRIPTORS: u64 = 128;
/// Most connections without a setting. Each takes a few kilobytes.
const MOST_CONNECTIONS: u64 = 16_384;

/// The connections that fit into the limit of file descriptors (`ulimit -n`), beside what the server itself opens.
#[must_use]
pub fn default_connections() -> usize {
    let descriptors = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let most = descriptors.saturating_sub(RESERVED_DESCRIPTORS).max(descriptors / 2);
    usize::try_from(most.clamp(1, MOST_CONNECTIONS)).unwrap_or(1)
}

/// All connections of a listening server.
#[derive(Debug)]
pub struct Connections {
    /// True once the server stops.
    stopping: watch::Sender<bool>,
    /// Ends when the last sender, which every connection holds, is dropped.
    open: mpsc::Receiver<Infallible>,
}

impl Connections {
    /// Accepts connections, at most `most` at a time, and answers their requests with `app`.
    #[must_use]
    pub fn serve(listener: TcpListener, app: Router, most: usize) -> Self {
        let (stopping, is_stopping) = watch::channel(false);
        let (opened, open) = mpsc::channel(1);
        // The state of the routes is filled in here, once, instead of once per connection.
        let app = app.with_state(());
        tokio::spawn(accept(listener, app, Places::new(most), is_stopping, opened));
        Self { stopping, open }
    }

    /// Accepts no more connections. Open ones end with the response to their current request.
    pub fn stop(&self) {
        self.stopping.send_replace(true);
    }

    /// Completes when every connection has ended, which takes a `stop`.
    pub async fn ended(&mut self) {
        // Nothing is ever sent.
        if let Some(never) = self.open.recv().await {
            match never {}
        }
    }
}

async fn accept(
    listener: TcpListener,
    app: Router,
    places: Arc<Places>,
    mut stopping: watch::Receiver<bool>,
    opened: mpsc::Sender<Infallible>,
) {
    let stop = stopping.clone();
    let begin = |stream: TcpStream, place: TakenPlace| {
        tokio::spawn(connection(stream, place, app.clone(), stop.clone(), opened.clone()));
    };
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stopping.wait_for(|stop| *stop) => break,
        };
        match accepted {
            Ok((stream, _)) => begin(stream, places.take().await),
            Err(error) if is_of_client(&error) => {}
            Err(error) => {
                tracing::warn!("cannot accept a connection: {error}");
                places.dismiss_one();
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    // Connections that wait to be accepted would be reset with the listener. Asked of the operating system itself, because
    // the runtime may not have been told of them yet.
    let Ok(listener) = listener.into_std() else { return };
    while let Ok((stream, _)) = listener.accept() {
        let stream = stream.set_nonblocking(true).and_then(|()| TcpStream::from_std(stream));
        if let Ok(stream) = stream {
            begin(stream, places.take().await);
        }
    }
}

/// Whether accepting failed because the client has left.
fn is_of_client(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

/// Serves one connection until it ends, is dismissed, or has no request when the server stops.
async fn connection(
    stream: TcpStream,
    taken: TakenPlace,
    app: Router,
    mut stopping: watch::Receiver<bool>,
    _open: mpsc::Sender<Infallible>,
) {
    let place = Arc::clone(&taken.place);
    // Small packets at once: the head and the body of a response are written separately.
    drop(stream.set_nodelay(true));
    let socket = TokioIo::new(Socket::new(stream, Arc::clone(&place)));
    let respond = {
        let (place, stopping) = (Arc::clone(&place), stopping.clone());
        service_fn(move |request| {
            requests::respond(app.clone(), Arc::clone(&place), stopping.clone(), request)
        })
    };
    let mut connection = pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIME)
            .max_buf_size(BUFFER)
            .serve_connection(socket, respond)
    );
    // hyper's own graceful shutdown would cut clients that have connected and whose request is under way.
    let silent = async {
        drop(stopping.wait_for(|stop| *stop).await);
        loop {
            tokio::time::sleep(LAST_REQUEST).await;
            if place.is_silent() {
                break;
            }
        }
    };
    tokio::select! {
        // A request that arrives together with the end of the time is served.
        biased;
        // Errors are of the client: it left, or what it sent is no HTTP.
        _ = connection.as_mut() => {}
        () = place.dismissed() => {}
        () = silent => {}
    }
}
