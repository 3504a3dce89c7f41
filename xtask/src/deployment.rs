//! A release server and one worker on this machine, over one data folder.

use crate::http::Client;
use crate::process::{self, Background};
use crate::workspace::{Workspace, cargo};
use anyhow::{Context, Result, ensure};
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

/// Cold disks and a first migration included.
const READY_WITHIN: Duration = Duration::from_secs(60);

/// Both, running. They are stopped when this is dropped: the worker first, so that it can still save and report.
pub(crate) struct Deployment {
    worker: Option<Background>,
    server: Background,
    /// How to talk to the server.
    pub(crate) client: Client,
}

/// Builds both programs.
pub(crate) fn build(workspace: &Workspace) -> Result<()> {
    process::run(cargo().current_dir(&workspace.root).args([
        "build",
        "--release",
        "-p",
        "server",
        "-p",
        "trainer",
    ]))
}

impl Deployment {
    /// Starts the server and waits until it is ready. It reads and writes `data`.
    pub(crate) fn start(workspace: &Workspace, data: &Path, port: u16, token: Option<&str>) -> Result<Self> {
        let address = format!("127.0.0.1:{port}");
        ensure!(
            std::net::TcpStream::connect(&address).is_err(),
            "somebody already listens on {address}: end it, or choose another with --port"
        );
        fs::create_dir_all(data).with_context(|| format!("creating {}", data.display()))?;
        let mut command = program(workspace, data, "diff-contrast-server");
        command
            .env("ADDRESS", &address)
            .env("SITE", workspace.target.join("site"))
            .env("STATIC", workspace.root.join("static"));
        if let Some(token) = token {
            command.env("ACCESS_TOKEN", token);
        }
        let client = Client::new(&format!("http://{address}"), token)?;
        let mut started = Self {
            worker: None,
            server: Background::start("server", &mut command, &data.join("server.log"))?,
            client,
        };
        started.wait_until_ready()?;
        Ok(started)
    }

    /// Starts the worker.
    pub(crate) fn start_worker(&mut self, workspace: &Workspace, data: &Path) -> Result<()> {
        let mut command = program(workspace, data, "diff-contrast-trainer");
        self.worker = Some(Background::start("worker", command.arg("worker"), &data.join("worker.log"))?);
        Ok(())
    }

    /// An error if one of them has ended by itself.
    pub(crate) fn check(&mut self) -> Result<()> {
        self.server.check()?;
        self.worker.as_mut().map_or(Ok(()), Background::check)
    }

    fn wait_until_ready(&mut self) -> Result<()> {
        let deadline = Instant::now() + READY_WITHIN;
        loop {
            self.server.check()?;
            let answer = self.client.get("/readyz");
            if answer.as_ref().is_ok_and(|reply| reply.status == 200) {
                return Ok(());
            }
            ensure!(
                Instant::now() < deadline,
                "the server was not ready within {} s: {}",
                READY_WITHIN.as_secs(),
                answer.map_or_else(|error| format!("{error:#}"), |reply| reply.text())
            );
            process::pause(Duration::from_millis(100))?;
        }
    }
}

/// One of our programs, told where everything lies.
fn program(workspace: &Workspace, data: &Path, name: &str) -> Command {
    let mut command = Command::new(workspace.target.join("release").join(name));
    command
        .current_dir(&workspace.root)
        .env("DATABASE_URL", format!("sqlite://{}", data.join("diff-contrast.db").display()))
        .env("ARTIFACTS", data.join("artifacts"))
        .env("CACHE", data.join("cache"))
        .env("MODELS", workspace.root.join("models"))
        .env("NO_COLOR", "1");
    command
}
