//! A mock of the Hugging Face hub: an HTTP server on this machine.

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// The mock's repositories, its log, and how it misbehaves.
#[derive(Default)]
pub(crate) struct Hub {
    /// Files by path, by name of the repository. Data sets are named `datasets/OWNER/NAME`.
    pub(crate) repositories: BTreeMap<&'static str, BTreeMap<String, Vec<u8>>>,
    /// The requested paths, each with the requested range.
    pub(crate) requests: Mutex<Vec<(String, String)>>,
    /// Closes the connection in the middle of the next large file.
    pub(crate) breaks: Mutex<bool>,
    /// Stalls in the response to a path that contains this word, after this many bytes of the body. The connection
    /// stays open.
    pub(crate) stalls: Mutex<Option<(&'static str, usize)>>,
    /// The server's own address, set by `start`.
    pub(crate) address: String,
}

/// Longer than any test waits.
const STALL: Duration = Duration::from_secs(600);

pub(crate) const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";
pub(crate) const TOKEN: &str = "a-token";

impl Hub {
    /// Starts the server; returns it with its address.
    pub(crate) fn start(mut self) -> (Arc<Self>, String) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = format!("http://{}", listener.local_addr().expect("an address"));
        self.address.clone_from(&address);
        let hub = Arc::new(self);
        let answering = Arc::clone(&hub);
        // The threads end with the test's process.
        std::thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                let hub = Arc::clone(&answering);
                std::thread::spawn(move || while hub.answer(&connection).is_some() {});
            }
        });
        (hub, address)
    }

    /// Answers one request; `None` when the connection ends.
    fn answer(&self, connection: &TcpStream) -> Option<()> {
        let mut lines = BufReader::new(connection).lines().map_while(Result::ok);
        let first = lines.next()?;
        let path = first.split(' ').nth(1)?.to_owned();
        let (mut range, mut token) = (String::new(), false);
        for line in lines.take_while(|line| !line.is_empty()) {
            let (name, value) = line.split_once(": ").unwrap_or((&line, ""));
            match name.to_ascii_lowercase().as_str() {
                "range" => range = value.to_owned(),
                "authorization" => token = value == format!("Bearer {TOKEN}"),
                _ => {}
            }
        }
        self.requests.lock().expect("a lock").push((path.clone(), range.clone()));
        let (status, headers, body, end) = self.reply(&path, &range, token);
        let mut out = connection;
        let length = body.len();
        let stall = self.stalls.lock().expect("a lock").filter(|(word, _)| path.contains(word));
        if let Some((_, 0)) = stall {
            std::thread::sleep(STALL);
        }
        write!(out, "HTTP/1.1 {status}\r\nContent-Length: {length}\r\n{headers}\r\n").ok()?;
        if let Some((_, after)) = stall.filter(|(_, after)| *after < length) {
            out.write_all(&body[..after]).ok()?;
            std::thread::sleep(STALL);
        }
        out.write_all(&body[..end.min(length)]).ok()?;
        if end < length {
            connection.shutdown(std::net::Shutdown::Both).ok();
            return None;
        }
        Some(())
    }

    /// Status, headers, body, and the number of bytes after which the connection is closed.
    fn reply(&self, path: &str, range: &str, token: bool) -> (&'static str, String, Vec<u8>, usize) {
        let nothing = |status| (status, String::new(), vec![], 0);
        if let Some(sha) = path.strip_prefix("/elsewhere/") {
            let all = self.repositories.values().flat_map(BTreeMap::values);
            let found = all.into_iter().find(|bytes| format!("{:x}", Sha256::digest(bytes)) == sha);
            return found
                .map_or_else(|| nothing("404 Not Found"), |bytes| self.part(bytes, range, String::new()));
        }
        if !token {
            return nothing("401 Unauthorized");
        }
        for (name, files) in &self.repositories {
            let kind = if name.starts_with("datasets/") { "" } else { "models/" };
            if let Some(revision) = path.strip_prefix(&format!("/api/{kind}{name}/revision/")) {
                if revision != "main" && revision != COMMIT {
                    return nothing("404 Not Found");
                }
                let siblings: Vec<Value> = files.keys().map(|name| json!({ "rfilename": name })).collect();
                let body = json!({ "sha": COMMIT, "siblings": siblings }).to_string().into_bytes();
                let length = body.len();
                return ("200 OK", "Content-Type: application/json\r\n".to_owned(), body, length);
            }
            let Some(file) = path.strip_prefix(&format!("/{name}/resolve/{COMMIT}/")) else { continue };
            let Some(bytes) = files.get(file) else { return nothing("404 Not Found") };
            let sha = format!("{:x}", Sha256::digest(bytes));
            let commit = format!("X-Repo-Commit: {COMMIT}\r\n");
            if [".safetensors", ".parquet"].iter().any(|ending| file.ends_with(ending)) {
                // The hub redirects requests for large files to a file store.
                let headers = format!(
                    "{commit}X-Linked-Etag: \"{sha}\"\r\nX-Linked-Size: {}\r\nLocation: {}/elsewhere/{sha}\r\nETag: \"x\"\r\n",
                    bytes.len(),
                    self.address
                );
                return ("302 Found", headers, vec![], 0);
            }
            return self.part(bytes, range, format!("{commit}ETag: \"{}\"\r\n", &sha[..40]));
        }
        nothing("404 Not Found")
    }

    fn part(&self, bytes: &[u8], range: &str, headers: String) -> (&'static str, String, Vec<u8>, usize) {
        let bounds = range.strip_prefix("bytes=").and_then(|range| range.split_once('-'));
        let Some((start, last)) = bounds else { return ("200 OK", headers, bytes.to_vec(), bytes.len()) };
        let start: usize = start.parse().expect("a number");
        let end = last.parse::<usize>().map_or(bytes.len(), |last| (last + 1).min(bytes.len()));
        let body = bytes[start..end].to_vec();
        let headers = format!("{headers}Content-Range: bytes {start}-{}/{}\r\n", end - 1, bytes.len());
        let whole = body.len();
        let breaks = whole > 40_000 && std::mem::take(&mut *self.breaks.lock().expect("a lock"));
        ("206 Partial Content", headers, body, if breaks { whole / 2 } else { whole })
    }

    /// The requests since the last call.
    pub(crate) fn take_requests(&self) -> Vec<(String, String)> {
        std::mem::take(&mut *self.requests.lock().expect("a lock"))
    }
}
