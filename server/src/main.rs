//! `diff-contrast-server`: listens until it is asked to stop, then lets what runs end.

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

/// How long requests at work may take to end once the server is asked to stop.
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
            // Not by returning it: that would bury the sentence under a backtrace.
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
        // An error means that the sender is gone, which happens after it has sent.
        drop(stopping.wait_for(|stop| *stop).await);
    };
    let serving = axum::serve(listener, app(state.clone())).with_graceful_shutdown(stopped);
    let mut serving = tokio::spawn(serving.into_future());
    tokio::select! {
        ended = &mut serving => ended??,
        asked = asked_to_stop() => {
            asked?;
            tracing::info!("stopping");
            stop.send_replace(true);
            if tokio::time::timeout(GRACE, serving).await.is_err() {
                tracing::warn!("requests still ran after {} s and were cut off", GRACE.as_secs());
            }
        }
    }
    state.close().await;
    Ok(())
}

async fn asked_to_stop() -> Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        interrupted = tokio::signal::ctrl_c() => interrupted?,
        _ = terminate.recv() => {}
    }
    Ok(())
}
