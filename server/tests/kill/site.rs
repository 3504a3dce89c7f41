//! The processes of a site: a server and a worker over one folder.

use crate::client::{Outcome, send};
use std::fs::{File, OpenOptions};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Time that a program has to start or to stop.
const PATIENCE: Duration = Duration::from_secs(120);

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Signal {
    Term,
    Kill,
}

/// A running program. Dropping it kills it, so that a test that fails leaves none behind.
#[derive(Debug)]
pub(crate) struct Program(pub(crate) Child);

impl Drop for Program {
    fn drop(&mut self) {
        // It may have ended already.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// The folder and address that the programs use.
#[derive(Clone, Debug)]
pub(crate) struct Site {
    pub(crate) folder: PathBuf,
    pub(crate) address: SocketAddr,
}

impl Site {
    pub(crate) fn new(folder: &Path) -> Self {
        let free = TcpListener::bind("127.0.0.1:0").expect("a port");
        Self { folder: folder.to_owned(), address: free.local_addr().expect("an address") }
    }

    fn path(&self, name: &str) -> String {
        self.folder.join(name).display().to_string()
    }

    /// Standard error of a program, over all its starts.
    fn log(&self, program: &str) -> File {
        let file = self.folder.join(format!("{program}.log"));
        OpenOptions::new().create(true).append(true).open(file).expect("a log")
    }

    pub(crate) fn log_text(&self, program: &str) -> String {
        std::fs::read_to_string(self.folder.join(format!("{program}.log"))).unwrap_or_default()
    }

    fn storage(&self, command: &mut Command) {
        let database = format!("sqlite://{}", self.path("test.db"));
        command
            .args(["--database-url", &database, "--artifacts", &self.path("artifacts")])
            .args(["--models", &self.path("models")])
            .env("RUST_LOG", "warn")
            .stdout(Stdio::null());
    }

    /// Starts the server and waits until it answers.
    pub(crate) fn server(&self) -> Program {
        let root = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
        let mut command = Command::new(env!("CARGO_BIN_EXE_diff-contrast-server"));
        self.storage(&mut command);
        command
            .args(["--listen", &self.address.to_string(), "--access-token", "", "--default-model", "tiny"])
            .args(["--datasets", &self.path("datasets"), "--site", &self.path("no-bundle")])
            .args(["--static", &format!("{root}/static")])
            .stderr(self.log("server"));
        let mut server = Program(command.spawn().expect("the server"));
        let began = Instant::now();
        while !matches!(send(self.address, "/livez", "", None), Outcome::Answered(reply) if reply.status == 200)
        {
            assert!(began.elapsed() < PATIENCE, "the server does not start: {}", self.log_text("server"));
            let ended = server.0.try_wait().expect("a status");
            assert!(ended.is_none(), "the server ended: {}", self.log_text("server"));
            std::thread::sleep(Duration::from_millis(20));
        }
        server
    }

    /// Starts a worker with a short lease, so that the job of a killed one is taken over soon.
    pub(crate) fn worker(&self, more: &[&str]) -> Program {
        let program =
            Path::new(env!("CARGO_BIN_EXE_diff-contrast-server")).with_file_name("diff-contrast-trainer");
        assert!(
            program.is_file(),
            "the trainer is not built: run `cargo xtask test`, or `cargo build -p trainer`"
        );
        let mut command = Command::new(program);
        command.arg("worker");
        self.storage(&mut command);
        command.args(["--cache", &self.path("cache"), "--lease", "3"]).args(more).stderr(self.log("worker"));
        Program(command.spawn().expect("the worker"))
    }
}

/// Ends a process and waits for it. After SIGTERM it must succeed.
pub(crate) fn end(mut program: Program, signal: Signal, log: impl Fn() -> String) {
    let process = &mut program.0;
    if signal == Signal::Kill {
        process.kill().expect("killed");
        process.wait().expect("a status");
        return;
    }
    let sent = Command::new("kill").arg(process.id().to_string()).status().expect("kill");
    assert!(sent.success(), "the process had ended before: {}", log());
    let began = Instant::now();
    let status = loop {
        if let Some(status) = process.try_wait().expect("a status") {
            break status;
        }
        assert!(began.elapsed() < PATIENCE, "SIGTERM did not end the process: {}", log());
        std::thread::sleep(Duration::from_millis(10));
    };
    assert!(status.success(), "{status}: {}", log());
}
