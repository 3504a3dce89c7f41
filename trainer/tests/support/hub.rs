//! A stand-in of the hub on this machine, which answers over HTTP as the hub does.

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What the stand-in was asked, and how it is to behave.
#[derive(Default)]
pub(crate) struct Hub {
    /// By name; sets of data as `datasets/OWNER/NAME`.
    pub(crate) repositories: BTreeMap<&'static str, BTreeMap<String, Vec<u8>>>,
    /// Paths with the range that was asked.
    pub(crate) asked: Mutex<Vec<(String, String)>>,
    /// Break off the next large file in its middle.
    pub(crate) breaks: Mutex<bool>,
    /// Fall silent: at a path with this word, after so many bytes of the body. The connection stays open.
    pub(crate) silent: Mutex<Option<(&'static str, usize)>>,
}

/// Longer than any test waits.
const FOR_EVER: Duration = Duration::from_secs(600);

pub(crate) const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";
pub(crate) const TOKEN: &str = "a-token";

impl Hub {
    /// Starts to answer; the address.
    pub(crate) fn start(self) -> (Arc<Self>, String) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = format!("http://{}", listener.local_addr().expect("an address"));
        let hub = Arc::new(self);
        let answering = Arc::clone(&hub);
        // Ends with the process of the test.
        std::thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                let hub = Arc::clone(&answering);
                std::thread::spawn(move || while hub.answer(&connection).is_some() {});
            }
        });
        (hub, address)
    }

    /// One request; none where the connection is at its end.
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
        self.asked.lock().expect("a lock").push((path.clone(), range.clone()));
        let (status, headers, body, end) = self.reply(&path, &range, token);
        let mut out = connection;
        let length = body.len();
        let silent = self.silent.lock().expect("a lock").filter(|(word, _)| path.contains(word));
        if let Some((_, 0)) = silent {
            std::thread::sleep(FOR_EVER);
        }
        write!(out, "HTTP/1.1 {status}\r\nContent-Length: {length}\r\n{headers}\r\n").ok()?;
        if let Some((_, after)) = silent.filter(|(_, after)| *after < length) {
            out.write_all(&body[..after]).ok()?;
            std::thread::sleep(FOR_EVER);
        }
        out.write_all(&body[..end.min(length)]).ok()?;
        if end < length {
            connection.shutdown(std::net::Shutdown::Both).ok();
            return None;
        }
        Some(())
    }

    /// Status, headers, body, and after how much of it the connection breaks.
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
                // Large files lie elsewhere.
                let headers = format!(
                    "{commit}X-Linked-Etag: \"{sha}\"\r\nX-Linked-Size: {}\r\nLocation: /elsewhere/{sha}\r\nETag: \"x\"\r\n",
                    bytes.len()
                );
                let absolute = headers.replace("Location: /", &format!("Location: http://{}/", self.host()));
                return ("302 Found", absolute, vec![], 0);
            }
            return self.part(bytes, range, format!("{commit}ETag: \"{}\"\r\n", &sha[..40]));
        }
        nothing("404 Not Found")
    }

    fn host(&self) -> String {
        self.asked
            .lock()
            .expect("a lock")
            .iter()
            .find_map(|(path, _)| path.strip_prefix("host ").map(str::to_owned))
            .expect("a host")
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

    pub(crate) fn asked(&self) -> Vec<(String, String)> {
        std::mem::take(&mut *self.asked.lock().expect("a lock"))
    }
}
