//! The server's program on a free port, and raw HTTP on its socket.

use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// A complete model, small enough for tests.
const MODEL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../crates/diffusion/tests/fixtures/model");
/// How long to wait for anything; generous, for a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A running server. Dropping it kills it.
pub(crate) struct Program {
    process: Child,
    pub(crate) address: SocketAddr,
    log: Arc<Mutex<String>>,
    _folder: TempDir,
}

impl Drop for Program {
    fn drop(&mut self) {
        // Errors are ignored: it may have ended.
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

impl Program {
    /// Starts the server with the tiny model. `descriptors` limits its open files.
    pub(crate) fn start(descriptors: u32, arguments: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a scratch folder");
        files::copy_folder(Path::new(MODEL), &folder.path().join("models/tiny")).expect("a copy");
        let program = env!("CARGO_BIN_EXE_diff-contrast-server");
        let mut process = Command::new("bash")
            .args(["-c", &format!("ulimit -n {descriptors}; exec \"$@\""), "bash", program])
            .args(["--listen", "127.0.0.1:0", "--default-model", "tiny", "--models", "models"])
            .args([
                "--database-url",
                "sqlite://test.db",
                "--artifacts",
                "artifacts",
                "--datasets",
                "datasets",
            ])
            .args(arguments)
            .current_dir(folder.path())
            .env("RUST_LOG", "info")
            .env_remove("ACCESS_TOKEN")
            .stderr(Stdio::piped())
            .spawn()
            .expect("the server");
        let mut lines = BufReader::new(process.stderr.take().expect("its log")).lines();
        let log = Arc::new(Mutex::new(String::new()));
        let address = loop {
            let line = lines.next().expect("the server ended").expect("a line");
            if let Some((_, address)) = line.split_once("listening on http://") {
                break address.trim().parse().expect("an address");
            }
        };
        let collected = Arc::clone(&log);
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                *collected.lock().unwrap_or_else(PoisonError::into_inner) += &(line + "\n");
            }
        });
        Self { process, address, log, _folder: folder }
    }

    /// What it has logged since it listens.
    pub(crate) fn log(&self) -> String {
        self.log.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).expect("a connection");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        stream
    }

    /// Sends the bytes on a connection of their own.
    pub(crate) fn send(&self, request: &[u8]) -> Reply {
        let mut stream = self.connect();
        stream.write_all(request).expect("a request");
        Reply::read(&mut stream).expect("a response")
    }

    /// A GET on a connection of its own.
    pub(crate) fn get(&self, path: &str) -> Reply {
        self.send(get(path).as_bytes())
    }

    /// A `POST /generate` on a connection of its own, without waiting for the response.
    pub(crate) fn begin_generating(&self, body: &Value) -> TcpStream {
        let (mut stream, body) = (self.connect(), body.to_string());
        let head = "POST /generate HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n";
        let request = format!("{head}Content-Length: {}\r\n\r\n{body}", body.len());
        stream.write_all(request.as_bytes()).expect("a request");
        stream
    }

    pub(crate) fn terminate(&self) {
        let id = self.process.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &id]).status().expect("kill").success());
    }

    /// Waits until the server has ended.
    pub(crate) fn ended(&mut self) -> ExitStatus {
        let began = Instant::now();
        loop {
            if let Some(status) = self.process.try_wait().expect("a status") {
                return status;
            }
            assert!(began.elapsed() < PATIENCE, "the server does not end: {}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// A figure of `/proc/PID/status` in kilobytes, or of processor time in hundredths of a second.
    pub(crate) fn resident_kilobytes(&self) -> u64 {
        let status =
            std::fs::read_to_string(format!("/proc/{}/status", self.process.id())).expect("a status");
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("its memory");
        line.split_whitespace().nth(1).and_then(|text| text.parse().ok()).expect("a number")
    }

    /// Processor time in hundredths of a second.
    pub(crate) fn processor_ticks(&self) -> u64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.process.id())).expect("its state");
        let fields: Vec<&str> = stat.rsplit(") ").next().expect("fields").split(' ').collect();
        [11, 12].iter().map(|&at| fields[at].parse::<u64>().expect("a number")).sum()
    }
}

/// The bytes of a GET.
pub(crate) fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n")
}

/// A response as it came over the socket.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Reply {
    /// None if the connection ends before a whole response has come.
    pub(crate) fn read(stream: &mut TcpStream) -> Option<Self> {
        let mut bytes = Vec::new();
        let mut buffer = [0; 16 * 1024];
        loop {
            if let Some(reply) = Self::parse(&bytes) {
                return Some(reply);
            }
            match stream.read(&mut buffer) {
                Ok(0) | Err(_) => return None,
                Ok(count) => bytes.extend_from_slice(&buffer[..count]),
            }
        }
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
        let head = String::from_utf8_lossy(&bytes[..end]).to_ascii_lowercase();
        let status = head.split(' ').nth(1)?.parse().ok()?;
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let body = &bytes[end + 4..];
        let length: usize = length.map_or(Some(body.len()), |text| text.parse().ok())?;
        (body.len() >= length).then(|| Self { status, head, body: body[..length].to_vec() })
    }

    /// The code of a JSON error.
    pub(crate) fn code(&self) -> String {
        assert!(self.head.contains("content-type: application/json"), "{self:?}");
        let body: Value = serde_json::from_slice(&self.body).expect("JSON");
        assert!(body["error"]["message"].as_str().is_some_and(|message| message.len() > 10), "{body}");
        body["error"]["code"].as_str().expect("a code").to_owned()
    }
}
