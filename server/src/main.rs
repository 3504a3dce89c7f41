//! `diff-contrast-server`: serves until SIGINT or SIGTERM, then lets running requests finish.

use anyhow::{Context, Result};
use clap::Parser;
use server::{AppState, Config, Connections, app, default_connections};
use std::io::{self, IsTerminal};
use std::net::SocketAddr;
use std::pin::pin;
use std::process::ExitCode;
use std::time::Duration;
use tokio::net::{TcpListener, TcpSocket};
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::timeout;
use tracing_subscriber::EnvFilter;

/// How long running requests may take to finish once the server stops. Together with `LAST_ANSWERS` and `CLOSING` it is
/// less than the ten seconds after which container runtimes kill.
const GRACE: Duration = Duration::from_secs(6);
/// Time to send a 503 to the requests that did not finish.
const LAST_ANSWERS: Duration = Duration::from_secs(2);
/// Connections that may wait to be accepted. A client that finds no room tries again after a second.
const BACKLOG: u32 = 4096;
/// Time to close the database.
const CLOSING: Duration = Duration::from_secs(1);

fn main() -> ExitCode {
    let filter = EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| EnvFilter::new("info,sqlx=warn,tower_http=info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .init();
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Printed here, because an error returned from main is printed in its debug form.
            eprintln!("diff-contrast-server: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let config = Config::parse();
    config.validate()?;
    let runtime = Runtime::new().context("starting the runtime")?;
    let ended = runtime.block_on(serve(&config));
    // Does not wait for work whose requests are answered.
    runtime.shutdown_background();
    ended
}

async fn serve(config: &Config) -> Result<()> {
    let mut stop = pin!(stop_signal()?);
    let state = tokio::select! {
        state = AppState::open(config) => state?,
        () = stop.as_mut() => return Ok(()),
    };
    tokio::spawn(state.clone().prepare());
    let listener = listen(config.listen).with_context(|| format!("listening on {}", config.listen))?;
    tracing::info!("listening on http://{}", listener.local_addr()?);
    let most = config.max_connections.map_or_else(default_connections, |most| most as usize);
    let mut connections = Connections::serve(listener, app(state.clone()), most);
    stop.await;
    tracing::info!("stopping");
    state.end_streams();
    connections.stop();
    if timeout(GRACE, connections.ended()).await.is_err() {
        state.abandon_requests();
        if timeout(LAST_ANSWERS, connections.ended()).await.is_err() {
            tracing::warn!("stopped with open connections");
        }
    }
    if timeout(CLOSING, state.close()).await.is_err() {
        tracing::warn!("stopped before the database was closed");
    }
    Ok(())
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // A restarted server need not wait until the connections of the previous one are forgotten.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Completes at SIGINT or SIGTERM. They are caught from the call on, also while nothing awaits them.
fn stop_signal() -> Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}
