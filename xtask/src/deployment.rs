//! A server and one worker on this machine, with a shared data folder.

use crate::background::Background;
use crate::http::Client;
use crate::process;
use crate::stop;
use crate::workspace::{Workspace, cargo};
use anyhow::{Context, Result, ensure};
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

/// How long the server may take to become ready, with a cold disk and the first migration.
const READY_WITHIN: Duration = Duration::from_secs(60);

/// The profile that the programs are compiled with.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Build {
    /// For production and measurements.
    Release,
    /// Arithmetic as fast as in a release, everything else compiled quickly: the first start of the demo.
    Demo,
}

impl Build {
    /// The name of the profile and of its folder.
    fn profile(self) -> &'static str {
        match self {
            Self::Release => "release",
            Self::Demo => "demo",
        }
    }
}

/// The running programs. Dropping it stops them.
pub(crate) struct Deployment {
    // Fields drop in this order: the worker stops first and can still report to the database and save its state.
    worker: Option<Background>,
    server: Background,
    build: Build,
    pub(crate) client: Client,
}

/// Builds the server and the trainer.
pub(crate) fn build(workspace: &Workspace, build: Build) -> Result<()> {
    build_with(workspace, build, &[])
}

/// The same with further packages.
pub(crate) fn build_with(workspace: &Workspace, build: Build, packages: &[&str]) -> Result<()> {
    let packages = ["server", "trainer"].iter().chain(packages).flat_map(|package| ["-p", package]);
    let mut command = cargo();
    command.current_dir(&workspace.root).args(["build", "--profile", build.profile()]).args(packages);
    process::run(&mut command)
}

impl Deployment {
    /// Starts the server with the data folder `data`, a SQLite database in it, and waits until it is ready.
    pub(crate) fn start(
        workspace: &Workspace,
        build: Build,
        data: &Path,
        port: u16,
        token: Option<&str>,
    ) -> Result<Self> {
        Self::start_on(&sqlite(data), workspace, build, data, port, token)
    }

    /// The same with a database by its URL.
    pub(crate) fn start_on(
        database: &str,
        workspace: &Workspace,
        build: Build,
        data: &Path,
        port: u16,
        token: Option<&str>,
    ) -> Result<Self> {
        let address = format!("127.0.0.1:{port}");
        ensure!(
            std::net::TcpStream::connect(&address).is_err(),
            "{address} is in use: stop the program that listens there, or choose another port with --port"
        );
        fs::create_dir_all(data).with_context(|| format!("creating {}", data.display()))?;
        let mut command = program(workspace, build, data, "diff-contrast-server");
        command
            .env("DATABASE_URL", database)
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
            build,
            client,
        };
        started.wait_until_ready()?;
        Ok(started)
    }

    /// Starts the worker, which claims jobs from the server's database.
    pub(crate) fn start_worker(&mut self, workspace: &Workspace, data: &Path) -> Result<()> {
        let mut command = program(workspace, self.build, data, "diff-contrast-trainer");
        self.worker = Some(Background::start("worker", command.arg("worker"), &data.join("worker.log"))?);
        Ok(())
    }

    /// Runs a command of the trainer on the server's database.
    pub(crate) fn trainer(&self, workspace: &Workspace, data: &Path, arguments: &[&str]) -> Result<()> {
        process::run(program(workspace, self.build, data, "diff-contrast-trainer").args(arguments))
    }

    /// Fails if the server or the worker has exited.
    pub(crate) fn check(&mut self) -> Result<()> {
        self.server.check()?;
        self.worker.as_mut().map_or(Ok(()), Background::check)
    }

    fn wait_until_ready(&mut self) -> Result<()> {
        let deadline = Instant::now() + READY_WITHIN;
        loop {
            self.server.check()?;
            let reply = self.client.get("/readyz");
            if reply.as_ref().is_ok_and(|reply| reply.status == 200) {
                return Ok(());
            }
            ensure!(
                Instant::now() < deadline,
                "the server was not ready within {} s: {}",
                READY_WITHIN.as_secs(),
                reply.map_or_else(|error| format!("{error:#}"), |reply| reply.text())
            );
            stop::pause(Duration::from_millis(100))?;
        }
    }
}

/// The URL of the SQLite database in a data folder.
pub(crate) fn sqlite(data: &Path) -> String {
    format!("sqlite://{}", data.join("diff-contrast.db").display())
}

/// A program with the folders it uses in its environment.
fn program(workspace: &Workspace, build: Build, data: &Path, name: &str) -> Command {
    let mut command = Command::new(workspace.target.join(build.profile()).join(name));
    command
        .current_dir(&workspace.root)
        .env("DATABASE_URL", sqlite(data))
        .env("ARTIFACTS", data.join("artifacts"))
        .env("CACHE", data.join("cache"))
        .env("MODELS", workspace.root.join("models"))
        .env("NO_COLOR", "1");
    command
}
