//! `diff-contrast-server`: serves until SIGINT or SIGTERM, then lets running requests finish.

use anyhow::{Context, Result};
use clap::Parser;
use server::{AppState, Config, app};
use std::io::IsTerminal;
use std::process::ExitCode;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tracing_subscriber::EnvFilter;

/// How long running requests may take to finish once the server stops.
const GRACE: Duration = Duration::from_secs(10);

#[tokio::main]
async fn main() -> ExitCode {
    let filter = EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| EnvFilter::new("info,sqlx=warn,tower_http=info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .init();
    match serve().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Printed here, because an error returned from main is printed in its debug form.
            eprintln!("diff-contrast-server: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn serve() -> Result<()> {
    let config = Config::parse();
    config.validate()?;
    let state = AppState::open(&config).await?;
    let listener =
        TcpListener::bind(config.listen).await.with_context(|| format!("listening on {}", config.listen))?;
    tracing::info!("listening on http://{}", listener.local_addr()?);
    let (stop, stopping) = watch::channel(false);
    let stopped = async move {
        let mut stopping = stopping;
        // An error means that the sender was dropped, which happens only after it has sent.
        drop(stopping.wait_for(|stop| *stop).await);
    };
    let serving = axum::serve(listener, app(state.clone())).with_graceful_shutdown(stopped);
    let mut serving = tokio::spawn(serving.into_future());
    tokio::select! {
        ended = &mut serving => ended??,
        signal = stop_signal() => {
            signal?;
            tracing::info!("stopping");
            stop.send_replace(true);
            if tokio::time::timeout(GRACE, serving).await.is_err() {
                tracing::warn!("stopped with unfinished requests after {} s", GRACE.as_secs());
            }
        }
    }
    state.close().await;
    Ok(())
}

/// Waits for SIGINT or SIGTERM.
async fn stop_signal() -> Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        interrupted = tokio::signal::ctrl_c() => interrupted?,
        _ = terminate.recv() => {}
    }
    Ok(())
}
